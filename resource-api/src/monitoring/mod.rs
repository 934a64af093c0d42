//! Transaction monitoring: every rule looks at every order, the severest outcome wins, and what was seen
//! is kept with the decision. Integer arithmetic only.
//!
//! Rules here are pure functions of [`Inputs`]; the windows behind them are read while the customer's row
//! is locked, so two orders at a limit's edge cannot both pass.

mod config;
mod rules;

pub use config::MonitoringConfig;
pub use rules::{Decision, Hit, Inputs, Outcome, Window, evaluate};
