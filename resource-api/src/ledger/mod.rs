//! The ledger: double entry in integer minor units, immutable entries, holds that count at once.
//!
//! Posting is a function on the *open* transaction, so that an order, its token use, its entries and its event are
//! one commit. Whatever the number of postings, a call is a fixed number of multi-row statements:
//!
//! 1. load (on `PostgreSQL`: lock, in id order) every account named, creating system accounts on first use;
//! 2. decide all postings in order in memory ([`Book`](crate::domain::ledger::Book));
//! 3. insert transactions and entries, update accounts, each update guarded by the version that was loaded.
//!
//! [`verify()`](verify()) proves afterwards that sums, sequences and floors hold.

mod accounts;
mod posting;
mod store;
mod verify;

pub use accounts::{NewAccount, find_accounts, open_entity_account};
pub use posting::{Reversal, find_txn, hold, post, release, reverse};
pub use verify::{Report, verify, verify_in};

use crate::domain::ledger::{AccountId, SystemAccount};

/// The account of an entity.
pub fn entity_account(entity_id: &str) -> AccountId {
    AccountId::entity(entity_id)
}

/// A system account of one currency (gateway clearing, fee income, suspense, …). It needs no preparation: the first
/// posting that names it creates it.
pub fn system_account(account: SystemAccount<'_>, currency: &str) -> AccountId {
    AccountId::system(account, currency)
}
