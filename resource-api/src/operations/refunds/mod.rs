//! Refunds: money of an order goes back to the payer. And disputes: the payer's bank takes it back.
//!
//! ```text
//! Tx A  key claimed, order's totals, money held, refund `held`
//! Tx B0 refund `submitting` under a lease
//!       the gateway is called, in no transaction, under the refund's id
//! Tx C  refund, ledger, order, the answer to the request, events
//! ```
//!
//! The money is set aside before the gateway hears of it, so what was promised to the payer cannot be spent meanwhile;
//! and the order counts it as under way, so that all refunds together never exceed what was collected. What is not
//! known stays `unknown` and the money stays set aside: a refund is never declared failed because nothing was heard.

mod automatic;
mod disputes;
mod events;
mod execute;
mod open;
mod place;
mod read;
pub(crate) mod recovery;
mod resolve;
mod settle;
mod told;
mod view;

pub use automatic::{AutomaticIds, LateMoney, open_automatic};
pub use disputes::{DisputeIds, DisputeTold, dispute_lost, dispute_opened, dispute_won};
pub use execute::{Take, execute};
pub(crate) use place::place;
pub(crate) use read::{RefundQuery, find, list};
pub(crate) use resolve::{ResolveRefund, resolve};
pub use settle::SettleIds;
pub use told::{RefundTold, ToldVerdict, refund_told};
pub use view::RefundView;
