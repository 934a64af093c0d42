//! A transaction that a partner logs to have it judged. It moves no money here.

use keys::UnixSeconds;

use super::customer::words;
use super::money::Money;
use crate::monitoring::Outcome;

words! {
    /// What kind of transaction it is.
    TransactionKind {
        /// Money comes in.
        Funding = "funding",
        /// Money goes out.
        Withdrawal = "withdrawal",
        /// Money goes to another user.
        Transfer = "transfer",
    }
}

/// A logged transaction with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionLog {
    /// The tenant.
    pub partner_id: String,
    /// `txl_…`
    pub log_id: String,
    /// Whose transaction it is.
    pub customer_id: String,
    /// The client that logged it.
    pub client_id: String,
    /// What kind it is.
    pub kind: TransactionKind,
    /// The partner's own id of it, unique among its logs.
    pub client_reference: String,
    /// How much.
    pub money: Money,
    /// What monitoring said.
    pub outcome: Outcome,
    /// Why, as a public code; `None` when accepted.
    pub reason_code: Option<String>,
    /// When it was judged.
    pub created_at: UnixSeconds,
}
