//! The payment gateway port: what the resource API asks of whoever moves the outside money.
//!
//! An answer is *definite* only when it is documented, readable and about this very charge; every other
//! one is [`Answer::Unknown`], and the recovery worker finds out. The charge id is the gateway's
//! idempotency key, so sending it again never charges twice; the calls that capture or void it have keys
//! derived from it. Each adapter lists its own definite declines.

mod config;
mod event;
mod http;
mod judge;
mod refund;
mod said;

use futures_util::future::BoxFuture;
use keys::token::Money;

pub use config::GatewayConfig;
pub use event::{Arrived, GatewayEvent, GatewayEventsConfig, NotGenuine};
pub use http::HttpGateway;
pub use refund::{RefundAnswer, RefundGateway, RefundOrder};
pub use said::Said;

use crate::domain::card::{Card, Instrument};
use crate::domain::charge::ChargeState;

/// One charge, as it is sent. Sent again it is the same in every member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeAsk {
    /// Our charge id: idempotency key and reference at the gateway.
    pub charge_id: String,
    /// What to collect.
    pub money: Money,
    /// The gateway's token of the instrument.
    pub source: String,
}

/// How final a decline is, in the vendor's own three classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclineCategory {
    /// May work later or with another instrument.
    Soft,
    /// Will not work with this instrument.
    Hard,
}

impl DeclineCategory {
    /// The stored and published word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

/// What became of a charge, as far as one call could tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The money was collected, all of it.
    Captured {
        /// The gateway's own id of the charge.
        provider_ref: String,
    },
    /// The money is reserved at the payer's bank; it is collected once we capture it.
    Authorized {
        /// The gateway's own id of the charge.
        provider_ref: String,
    },
    /// The gateway waits until the payer has proved to the bank who they are (3-D Secure).
    ActionRequired {
        /// The gateway's own id of the charge.
        provider_ref: String,
        /// Where the payer does that.
        redirect_url: String,
    },
    /// Definitely not collected, and this charge never will be.
    Declined {
        /// The gateway's code, one of the adapter's list of definite declines.
        code: String,
        /// How final it is for the instrument.
        category: DeclineCategory,
        /// The gateway's own id of the charge.
        provider_ref: Option<String>,
    },
    /// Given up before anything was collected, and never will be.
    Voided {
        /// The gateway's own id of the charge.
        provider_ref: Option<String>,
    },
    /// Anything else. The text is public and holds no data of the answer.
    Unknown(&'static str),
}

impl Answer {
    /// The state that a charge gets by this answer; `None` when nothing definite was said.
    pub fn leads_to(&self) -> Option<ChargeState> {
        match self {
            Self::Captured { .. } => Some(ChargeState::Captured),
            Self::Authorized { .. } => Some(ChargeState::Authorized),
            Self::ActionRequired { .. } => Some(ChargeState::RequiresAction),
            Self::Declined { .. } => Some(ChargeState::Declined),
            Self::Voided { .. } => Some(ChargeState::Voided),
            Self::Unknown(_) => None,
        }
    }

    /// One word for it: a state of a charge.
    pub fn word(&self) -> &'static str {
        self.leads_to().unwrap_or(ChargeState::Unknown).as_str()
    }

    /// The public reason of a decline or of not knowing.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Declined { code, .. } => Some(code),
            Self::Unknown(reason) => Some(reason),
            _ => None,
        }
    }

    /// The gateway's own id of the charge, where it said one.
    pub fn provider_ref(&self) -> Option<&str> {
        match self {
            Self::Captured { provider_ref }
            | Self::Authorized { provider_ref }
            | Self::ActionRequired { provider_ref, .. } => Some(provider_ref),
            Self::Declined { provider_ref, .. } | Self::Voided { provider_ref } => provider_ref.as_deref(),
            Self::Unknown(_) => None,
        }
    }
}

/// What a probe by our own reference found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The gateway knows the charge and said this of it.
    Charge(Answer),
    /// The gateway says it does not know the charge. Soon after a timeout that proves nothing.
    Nothing,
}

/// Why a card could not be turned into a token. Nothing was stored anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokeniseRefusal {
    /// The gateway will not take this card; the code is public.
    Refused(&'static str),
    /// This gateway has no tokenisation: card bodies cannot be taken.
    NotOffered,
    /// No readable answer; asking again later is safe.
    Unavailable(&'static str),
}

/// A payment gateway. Implementations hold no state of ours and take no transaction.
pub trait PaymentGateway: RefundGateway {
    /// Short name of the provider: part of ledger account codes and charge rows.
    fn provider(&self) -> &'static str;

    /// Turns a card into an instrument in memory.
    fn tokenise<'a>(&'a self, card: &'a Card) -> BoxFuture<'a, Result<Instrument, TokeniseRefusal>>;

    /// Sends a charge, the first time or again.
    fn charge<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Answer>;

    /// Collects what was authorized, the first time or again.
    fn capture<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Answer>;

    /// Gives a charge up that is not collected yet, the first time or again.
    fn void<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Answer>;

    /// Looks for a charge by our own id. The money is given to be compared.
    fn find<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Found>;

    /// Verifies and reads an event that the gateway sent by itself.
    ///
    /// # Errors
    /// [`NotGenuine`]: it is not shown to come from the gateway, and nothing of it may be kept.
    fn parse_event(&self, arrived: &Arrived<'_>) -> Result<GatewayEvent, NotGenuine>;
}
