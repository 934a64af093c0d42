//! Decides postings, holds and releases on loaded accounts, one after the other, and collects what has to be stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{Account, AccountId, Hold, NewHold, NewPosting, PostingRefusal, Side};

/// Accounts of several partners: (partner, account).
type AccountKey = (String, AccountId);
/// Holds of several partners: (partner, hold).
type HoldKey = (String, String);

/// One line as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The tenant.
    pub partner_id: String,
    /// Account.
    pub account_id: AccountId,
    /// 1, 2, 3, … within the account.
    pub seq: i64,
    /// Its transaction.
    pub txn_id: String,
    /// Side.
    pub side: Side,
    /// Minor units.
    pub amount: i64,
    /// The account's posted balance with this entry.
    pub balance_after: i64,
}

/// A hold that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedHold {
    /// The tenant.
    pub partner_id: String,
    /// The hold.
    pub hold_id: String,
    /// `posted` or `voided`.
    pub state: &'static str,
}

/// What has to be stored after a run of decisions.
#[derive(Debug, Default)]
pub struct Changes {
    /// Transactions to insert.
    pub postings: Vec<NewPosting>,
    /// Their lines.
    pub entries: Vec<Entry>,
    /// Holds to insert.
    pub holds: Vec<NewHold>,
    /// Holds to end.
    pub ended_holds: Vec<EndedHold>,
    /// Accounts to update: as they were loaded, and as they are now.
    pub accounts: Vec<(Account, Account)>,
}

/// Loaded accounts and holds, and the decisions made on them so far.
#[derive(Debug, Default)]
pub struct Book {
    loaded: BTreeMap<AccountKey, Account>,
    now: BTreeMap<AccountKey, Account>,
    holds: BTreeMap<HoldKey, Hold>,
    references: BTreeSet<(String, String)>,
    changes: Changes,
}

impl Book {
    /// A book of these accounts and holds.
    pub fn new(accounts: Vec<Account>, holds: Vec<Hold>) -> Self {
        let keyed = |account: Account| ((account.partner_id.clone(), account.account_id.clone()), account);
        let loaded: BTreeMap<AccountKey, Account> = accounts.into_iter().map(keyed).collect();
        let holds =
            holds.into_iter().map(|hold| ((hold.partner_id.clone(), hold.hold_id.clone()), hold)).collect();
        Self { now: loaded.clone(), loaded, holds, ..Self::default() }
    }

    /// Books a transaction, or nothing of it.
    ///
    /// # Errors
    /// Every [`PostingRefusal`]; a repeated reference only within this book.
    pub fn post(&mut self, posting: &NewPosting) -> Result<(), PostingRefusal> {
        check_balance(posting)?;
        let reference = (posting.partner_id.clone(), posting.reference.clone());
        if self.references.contains(&reference) {
            return Err(PostingRefusal::Duplicate);
        }
        let mut draft = Draft::of(self, &posting.partner_id);
        let ended =
            posting.takes_hold.as_ref().map(|hold_id| draft.take_hold(hold_id, posting)).transpose()?;
        let entries = posting
            .legs
            .iter()
            .map(|leg| draft.enter(posting, leg.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let accounts = draft.accounts;
        self.apply(accounts);
        self.references.insert(reference);
        self.changes.entries.extend(entries);
        if let Some(hold_id) = ended {
            self.end_hold(&posting.partner_id, hold_id, "posted");
        }
        self.changes.postings.push(posting.clone());
        Ok(())
    }

    /// Sets money aside.
    ///
    /// # Errors
    /// [`PostingRefusal`], except `Duplicate`, which only the store can tell.
    pub fn hold(&mut self, hold: &NewHold) -> Result<(), PostingRefusal> {
        if hold.amount <= 0 {
            return Err(PostingRefusal::Unbalanced);
        }
        let mut draft = Draft::of(self, &hold.partner_id);
        draft.reserve(&hold.account_id, hold.counter_account_id.as_ref(), &hold.currency, hold.amount)?;
        let accounts = draft.accounts;
        self.apply(accounts);
        let stored = Hold {
            partner_id: hold.partner_id.clone(),
            hold_id: hold.hold_id.clone(),
            account_id: hold.account_id.clone(),
            counter_account_id: hold.counter_account_id.clone(),
            amount: hold.amount,
            held: true,
        };
        self.holds.insert((hold.partner_id.clone(), hold.hold_id.clone()), stored);
        self.changes.holds.push(hold.clone());
        Ok(())
    }

    /// Gives a hold back.
    ///
    /// # Errors
    /// [`PostingRefusal::HoldEnded`] when there is none that still holds.
    pub fn release(&mut self, partner_id: &str, hold_id: &str) -> Result<(), PostingRefusal> {
        let mut draft = Draft::of(self, partner_id);
        draft.end(hold_id)?;
        let accounts = draft.accounts;
        self.apply(accounts);
        self.end_hold(partner_id, hold_id.to_owned(), "voided");
        Ok(())
    }

    /// Everything decided, ready to be stored. Accounts come in key order.
    pub fn finish(mut self) -> Changes {
        for (key, account) in self.now {
            if let Some(before) = self.loaded.remove(&key).filter(|before| *before != account) {
                self.changes.accounts.push((before, account));
            }
        }
        self.changes
    }

    fn apply(&mut self, accounts: Vec<Account>) {
        for account in accounts {
            self.now.insert((account.partner_id.clone(), account.account_id.clone()), account);
        }
    }

    fn end_hold(&mut self, partner_id: &str, hold_id: String, state: &'static str) {
        if let Some(hold) = self.holds.get_mut(&(partner_id.to_owned(), hold_id.clone())) {
            hold.held = false;
        }
        self.changes.ended_holds.push(EndedHold { partner_id: partner_id.to_owned(), hold_id, state });
    }
}

/// Accounts touched by one decision; thrown away when it is refused.
struct Draft<'a> {
    book: &'a Book,
    partner_id: &'a str,
    accounts: Vec<Account>,
}

impl<'a> Draft<'a> {
    fn of(book: &'a Book, partner_id: &'a str) -> Self {
        Self { book, partner_id, accounts: Vec::with_capacity(2) }
    }

    fn account(&mut self, id: &AccountId) -> Result<&mut Account, PostingRefusal> {
        let known = self.accounts.iter().position(|account| account.account_id == *id);
        let at = if let Some(at) = known {
            at
        } else {
            let found = self.book.now.get(&(self.partner_id.to_owned(), id.clone()));
            self.accounts.push(found.ok_or_else(|| PostingRefusal::UnknownAccount(id.clone()))?.clone());
            self.accounts.len() - 1
        };
        self.accounts.get_mut(at).ok_or_else(|| PostingRefusal::UnknownAccount(id.clone()))
    }

    /// Books one line; the floor holds after each of them.
    fn enter(&mut self, posting: &NewPosting, leg: super::Leg) -> Result<Entry, PostingRefusal> {
        let account = self.account(&leg.account_id)?;
        if account.currency != posting.currency {
            return Err(PostingRefusal::CurrencyMismatch(leg.account_id));
        }
        let grows = leg.side == account.normal_side;
        let posted = if grows {
            account.posted.checked_add(leg.amount)
        } else {
            account.posted.checked_sub(leg.amount)
        };
        account.posted = posted.ok_or(PostingRefusal::Overflow)?;
        account.last_seq += 1;
        if !grows && !account.keeps_its_floor() {
            return Err(PostingRefusal::InsufficientFunds(leg.account_id));
        }
        Ok(Entry {
            partner_id: posting.partner_id.clone(),
            seq: account.last_seq,
            balance_after: account.posted,
            account_id: leg.account_id,
            txn_id: posting.txn_id.clone(),
            side: leg.side,
            amount: leg.amount,
        })
    }

    fn reserve(
        &mut self,
        from: &AccountId,
        to: Option<&AccountId>,
        currency: &str,
        amount: i64,
    ) -> Result<(), PostingRefusal> {
        let account = self.account(from)?;
        if account.currency != currency {
            return Err(PostingRefusal::CurrencyMismatch(from.clone()));
        }
        account.pending_out = account.pending_out.checked_add(amount).ok_or(PostingRefusal::Overflow)?;
        if !account.keeps_its_floor() {
            return Err(PostingRefusal::InsufficientFunds(from.clone()));
        }
        let Some(to) = to else { return Ok(()) };
        let counter = self.account(to)?;
        if counter.currency != currency {
            return Err(PostingRefusal::CurrencyMismatch(to.clone()));
        }
        counter.pending_in = counter.pending_in.checked_add(amount).ok_or(PostingRefusal::Overflow)?;
        Ok(())
    }

    /// Undoes what a hold set aside.
    fn end(&mut self, hold_id: &str) -> Result<&'a Hold, PostingRefusal> {
        let key = (self.partner_id.to_owned(), hold_id.to_owned());
        let hold = self.book.holds.get(&key).filter(|hold| hold.held).ok_or(PostingRefusal::HoldEnded)?;
        let account = self.account(&hold.account_id)?;
        account.pending_out = account.pending_out.checked_sub(hold.amount).ok_or(PostingRefusal::Overflow)?;
        if let Some(counter) = &hold.counter_account_id {
            let counter = self.account(counter)?;
            counter.pending_in =
                counter.pending_in.checked_sub(hold.amount).ok_or(PostingRefusal::Overflow)?;
        }
        Ok(hold)
    }

    fn take_hold(&mut self, hold_id: &str, posting: &NewPosting) -> Result<String, PostingRefusal> {
        let hold = self.end(hold_id)?;
        let normal = self.account(&hold.account_id)?.normal_side;
        let taken: i64 = posting
            .legs
            .iter()
            .filter(|leg| leg.account_id == hold.account_id && leg.side != normal)
            .try_fold(0_i64, |sum, leg| sum.checked_add(leg.amount))
            .ok_or(PostingRefusal::Overflow)?;
        if taken > hold.amount {
            return Err(PostingRefusal::ExceedsHold);
        }
        Ok(hold_id.to_owned())
    }
}

/// Debits equal credits, every line is above zero, and there are two lines at least.
fn check_balance(posting: &NewPosting) -> Result<(), PostingRefusal> {
    let sum = posting
        .legs
        .iter()
        .map(|leg| match leg.side {
            Side::Debit => Some(leg.amount),
            Side::Credit => leg.amount.checked_neg(),
        })
        .try_fold(0_i64, |sum, amount| sum.checked_add(amount?))
        .ok_or(PostingRefusal::Overflow)?;
    let positive = posting.legs.iter().all(|leg| leg.amount > 0);
    if sum == 0 && positive && posting.legs.len() >= 2 { Ok(()) } else { Err(PostingRefusal::Unbalanced) }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
