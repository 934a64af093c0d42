//! Double entry in integers: accounts, postings and holds. [`Book`] decides in memory; `crate::ledger` loads and stores.
//!
//! An account's `posted` is positive on its normal side. A hold counts in `pending_out` at once, so `available` =
//! `posted - pending_out` is what can still be spent, and it never goes below the account's floor.

mod book;

use std::fmt;

use super::customer::words;

pub use book::{Book, Changes, EndedHold, Entry};

words! {
    /// Side of an entry, and the side an account grows on.
    Side {
        /// Assets and expenses grow here.
        Debit = "debit",
        /// Liabilities and income grow here.
        Credit = "credit",
    }
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Debit => Self::Credit,
            Self::Credit => Self::Debit,
        }
    }
}

/// Name of an account within one partner's ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

impl AccountId {
    /// The account of an entity.
    pub fn entity(entity_id: &str) -> Self {
        Self(format!("entity:{entity_id}"))
    }

    /// A system account of one currency.
    pub fn system(account: SystemAccount<'_>, currency: &str) -> Self {
        Self(match account {
            SystemAccount::GatewayClearing(gateway) => format!("gateway:{gateway}:clearing:{currency}"),
            SystemAccount::GatewayFees(gateway) => format!("gateway:{gateway}:fees:{currency}"),
            SystemAccount::FeeIncome => format!("fee_income:{currency}"),
            SystemAccount::Suspense => format!("suspense:{currency}"),
            SystemAccount::BankSettlement => format!("bank_settlement:{currency}"),
            SystemAccount::Issuance => format!("issuance:{currency}"),
            SystemAccount::ChargebackReceivable(customer_id) => {
                format!("chargeback_receivable:{customer_id}:{currency}")
            }
        })
    }

    /// An id as it was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For a system account: the side it grows on and its currency. `None` for an entity's account.
    ///
    /// This is what lets a posting create system accounts when they are first used.
    pub fn system_properties(&self) -> Option<(Side, &str)> {
        let parts: Vec<&str> = self.0.split(':').collect();
        match parts.as_slice() {
            ["gateway", _, "clearing" | "fees", currency]
            | ["bank_settlement", currency]
            | ["chargeback_receivable", _, currency] => Some((Side::Debit, currency)),
            ["fee_income" | "suspense" | "issuance", currency] => Some((Side::Credit, currency)),
            _ => None,
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Accounts that belong to no entity: one per partner and currency, without a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemAccount<'a> {
    /// Money a payment gateway owes us (asset). The name has no colon.
    GatewayClearing(&'a str),
    /// What a payment gateway charges us (expense).
    GatewayFees(&'a str),
    /// What we charge (income).
    FeeIncome,
    /// Money whose owner is not settled yet (liability).
    Suspense,
    /// Money at our bank (asset).
    BankSettlement,
    /// Value created for partners (liability).
    Issuance,
    /// What this customer owes us for payments that the bank took back (asset). The id has no colon.
    ChargebackReceivable(&'a str),
}

/// An account's running totals, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The tenant.
    pub partner_id: String,
    /// Its name.
    pub account_id: AccountId,
    /// ISO 4217.
    pub currency: String,
    /// The side it grows on.
    pub normal_side: Side,
    /// `available` never goes below it; `None`: no floor.
    pub min_balance: Option<i64>,
    /// Sum of its entries.
    pub posted: i64,
    /// Held for it by others.
    pub pending_in: i64,
    /// Held from it.
    pub pending_out: i64,
    /// `seq` of its newest entry.
    pub last_seq: i64,
}

impl Account {
    /// What can still be spent.
    pub fn available(&self) -> i64 {
        self.posted.saturating_sub(self.pending_out)
    }

    fn keeps_its_floor(&self) -> bool {
        self.min_balance.is_none_or(|floor| self.available() >= floor)
    }
}

/// One line of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Account.
    pub account_id: AccountId,
    /// Side.
    pub side: Side,
    /// Minor units, above zero.
    pub amount: i64,
}

impl Leg {
    /// A debit line.
    pub fn debit(account_id: AccountId, amount: i64) -> Self {
        Self { account_id, side: Side::Debit, amount }
    }

    /// A credit line.
    pub fn credit(account_id: AccountId, amount: i64) -> Self {
        Self { account_id, side: Side::Credit, amount }
    }
}

/// A transaction to book: two lines or more of one currency whose debits equal its credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPosting {
    /// The tenant.
    pub partner_id: String,
    /// `txn_…`
    pub txn_id: String,
    /// What it books. A reference is booked once.
    pub reference: String,
    /// Kind, for statements and reports.
    pub kind: &'static str,
    /// ISO 4217; every account must hold it.
    pub currency: String,
    /// The lines.
    pub legs: Vec<Leg>,
    /// A hold this transaction takes; what it does not use is given back.
    pub takes_hold: Option<String>,
    /// The transaction this one undoes.
    pub reverses: Option<String>,
}

/// Money to set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// The tenant.
    pub partner_id: String,
    /// `hld_…`
    pub hold_id: String,
    /// What it is for. A reference is held once.
    pub reference: String,
    /// The account the money is held from.
    pub account_id: AccountId,
    /// The account it is held for, when known.
    pub counter_account_id: Option<AccountId>,
    /// Minor units, above zero.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// A hold as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The tenant.
    pub partner_id: String,
    /// `hld_…`
    pub hold_id: String,
    /// The account the money is held from.
    pub account_id: AccountId,
    /// The account it is held for.
    pub counter_account_id: Option<AccountId>,
    /// Minor units.
    pub amount: i64,
    /// Whether it still holds.
    pub held: bool,
}

/// Why a posting or hold was not made. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostingRefusal {
    /// Debits and credits differ, a line is not above zero, or there is only one line.
    #[error("the posting does not balance")]
    Unbalanced,
    /// No such account.
    #[error("no account {0}")]
    UnknownAccount(AccountId),
    /// The account holds another currency.
    #[error("account {0} holds another currency")]
    CurrencyMismatch(AccountId),
    /// The account's available balance would fall below its floor.
    #[error("account {0} has insufficient funds")]
    InsufficientFunds(AccountId),
    /// A balance would leave the range of integers.
    #[error("the balance would overflow")]
    Overflow,
    /// No such hold, or it has ended.
    #[error("the hold has ended")]
    HoldEnded,
    /// The posting asks for more than was held.
    #[error("the posting is larger than its hold")]
    ExceedsHold,
    /// The reference was booked (or the transaction reversed) before.
    #[error("booked before")]
    Duplicate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_accounts_know_their_side_and_currency() {
        let cases = [
            (SystemAccount::GatewayClearing("sandbox"), Side::Debit),
            (SystemAccount::GatewayFees("sandbox"), Side::Debit),
            (SystemAccount::BankSettlement, Side::Debit),
            (SystemAccount::ChargebackReceivable("cus_1"), Side::Debit),
            (SystemAccount::FeeIncome, Side::Credit),
            (SystemAccount::Suspense, Side::Credit),
            (SystemAccount::Issuance, Side::Credit),
        ];
        for (account, side) in cases {
            assert_eq!(
                AccountId::system(account, "EUR").system_properties(),
                Some((side, "EUR")),
                "{account:?}"
            );
        }
        assert_eq!(AccountId::entity("ent_1").system_properties(), None);
    }
}
