//! Postings, holds, releases and reversals on the open transaction.

use std::collections::BTreeSet;

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::{accounts, store};
use crate::domain::ledger::{AccountId, Book, Changes, Leg, NewHold, NewPosting, PostingRefusal, Side};
use crate::store::rows::word;

/// Accounts of several partners, without repeats and in id order.
type Wanted = BTreeSet<(String, AccountId)>;

/// Books postings in order, each completely or not at all, and answers one verdict each.
///
/// Every account named is loaded (and on `PostgreSQL` locked) first, so a posting sees what the ones before it did,
/// in this call or in another transaction. A reference that was booked before gives `Duplicate`.
pub async fn post(
    tx: &mut Tx,
    postings: &[NewPosting],
    now: UnixSeconds,
) -> Result<Vec<Result<(), PostingRefusal>>, Fault> {
    if postings.is_empty() {
        return Ok(Vec::new());
    }
    let mut verdicts = vec![Err(PostingRefusal::Duplicate); postings.len()];
    let mut open: Vec<usize> = (0..postings.len()).collect();
    loop {
        let round: Vec<&NewPosting> = open.iter().filter_map(|at| postings.get(*at)).collect();
        let (decided, duplicates) = post_round(tx, &round, now).await?;
        for (at, verdict) in open.iter().zip(decided) {
            if let Some(slot) = verdicts.get_mut(*at) {
                *slot = verdict;
            }
        }
        if duplicates.is_empty() {
            return Ok(verdicts);
        }
        // Something in this round was booked before, so nothing of the round was written. What was booked before is
        // out; the others are decided anew without it.
        let known =
            |at: &usize| postings.get(*at).is_some_and(|posting| duplicates.contains(&posting.txn_id));
        for at in open.iter().filter(|at| known(at)) {
            if let Some(slot) = verdicts.get_mut(*at) {
                *slot = Err(PostingRefusal::Duplicate);
            }
        }
        open.retain(|at| !known(at));
        if open.is_empty() {
            return Ok(verdicts);
        }
    }
}

type Round = (Vec<Result<(), PostingRefusal>>, BTreeSet<String>);

/// Decides and writes; or writes nothing and names the transactions that were booked before.
async fn post_round(tx: &mut Tx, postings: &[&NewPosting], now: UnixSeconds) -> Result<Round, Fault> {
    let mut book = load(tx, accounts_of(postings), &holds_of(postings), now).await?;
    let mut verdicts: Vec<_> = postings.iter().map(|posting| book.post(posting)).collect();
    let changes = book.finish();
    name_booked_before(tx, postings, &mut verdicts).await?;
    if changes.postings.is_empty() {
        return Ok((verdicts, BTreeSet::new()));
    }
    let inserted: BTreeSet<String> =
        store::insert_txns(tx, &changes.postings, now).await?.into_iter().collect();
    if inserted.len() == changes.postings.len() {
        write(tx, &changes, now).await?;
        return Ok((verdicts, BTreeSet::new()));
    }
    let (taken_back, duplicates): (Vec<&NewPosting>, Vec<&NewPosting>) =
        changes.postings.iter().partition(|posting| inserted.contains(&posting.txn_id));
    if !taken_back.is_empty() {
        let rows: Vec<(&str, &str)> =
            taken_back.iter().map(|posting| (posting.partner_id.as_str(), posting.txn_id.as_str())).collect();
        store::delete_empty_txns(tx, &rows).await?;
    }
    Ok((verdicts, duplicates.into_iter().map(|posting| posting.txn_id.clone()).collect()))
}

/// A refused posting may have been booked long ago, when there were funds: then that is the verdict.
async fn name_booked_before(
    tx: &mut Tx,
    postings: &[&NewPosting],
    verdicts: &mut [Result<(), PostingRefusal>],
) -> Result<(), Fault> {
    let refused: Vec<(&str, &str)> = postings
        .iter()
        .zip(verdicts.iter())
        .filter(|(_, verdict)| verdict.is_err())
        .map(|(posting, _)| (posting.partner_id.as_str(), posting.reference.as_str()))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let booked = store::find_references(tx, &refused).await?;
    for (posting, verdict) in postings.iter().zip(verdicts) {
        let known = |(partner_id, reference): &(String, String)| {
            *partner_id == posting.partner_id && *reference == posting.reference
        };
        if verdict.is_err() && booked.iter().any(known) {
            *verdict = Err(PostingRefusal::Duplicate);
        }
    }
    Ok(())
}

/// Sets money aside, each hold completely or not at all, and answers one verdict each.
///
/// A reference that was held before (also if that hold has ended) gives `Duplicate`.
pub async fn hold(
    tx: &mut Tx,
    holds: &[NewHold],
    now: UnixSeconds,
) -> Result<Vec<Result<(), PostingRefusal>>, Fault> {
    let mut verdicts = Vec::with_capacity(holds.len());
    for hold in holds {
        let mut wanted = Wanted::from([(hold.partner_id.clone(), hold.account_id.clone())]);
        wanted.extend(hold.counter_account_id.clone().map(|id| (hold.partner_id.clone(), id)));
        let mut book = load(tx, wanted, &[], now).await?;
        let verdict = book.hold(hold);
        let changes = book.finish();
        verdicts.push(if verdict.is_err() {
            verdict
        } else if store::insert_holds(tx, &changes.holds, now).await?.is_empty() {
            Err(PostingRefusal::Duplicate)
        } else {
            write(tx, &changes, now).await?;
            Ok(())
        });
    }
    Ok(verdicts)
}

/// Gives a hold back.
///
/// # Errors
/// A fault; within `Ok`, [`PostingRefusal::HoldEnded`] when there is none that still holds.
pub async fn release(
    tx: &mut Tx,
    partner_id: &str,
    hold_id: &str,
    now: UnixSeconds,
) -> Result<Result<(), PostingRefusal>, Fault> {
    let wanted = [(partner_id.to_owned(), hold_id.to_owned())];
    let mut book = load(tx, Wanted::new(), &wanted, now).await?;
    if let Err(refusal) = book.release(partner_id, hold_id) {
        return Ok(Err(refusal));
    }
    write(tx, &book.finish(), now).await?;
    Ok(Ok(()))
}

/// A transaction to undo another.
#[derive(Debug, Clone, Copy)]
pub struct Reversal<'a> {
    /// The tenant.
    pub partner_id: &'a str,
    /// The transaction to undo.
    pub txn_id: &'a str,
    /// `txn_…` of the new transaction.
    pub new_txn_id: &'a str,
    /// What the new transaction books.
    pub reference: &'a str,
}

/// Books the opposite of a transaction, once. Floors hold: money that is gone cannot be taken back here.
///
/// # Errors
/// A fault; within `Ok`, `Duplicate` when it was reversed before, `Unbalanced` when there is no such transaction, and
/// whatever [`post`] refuses.
pub async fn reverse(
    tx: &mut Tx,
    ask: Reversal<'_>,
    now: UnixSeconds,
) -> Result<Result<(), PostingRefusal>, Fault> {
    if store::is_reversed(tx, ask.partner_id, ask.txn_id).await? {
        return Ok(Err(PostingRefusal::Duplicate));
    }
    let legs = find_txn(tx, ask.partner_id, ask.txn_id).await?;
    let Some((_, currency)) = legs.first().cloned() else { return Ok(Err(PostingRefusal::Unbalanced)) };
    let opposite = |(leg, _): (Leg, String)| Leg { side: leg.side.opposite(), ..leg };
    let posting = NewPosting {
        partner_id: ask.partner_id.to_owned(),
        txn_id: ask.new_txn_id.to_owned(),
        reference: ask.reference.to_owned(),
        kind: "reversal",
        currency,
        legs: legs.into_iter().map(opposite).collect(),
        takes_hold: None,
        reverses: Some(ask.txn_id.to_owned()),
    };
    let verdict = post(tx, &[posting], now).await?.pop();
    Ok(verdict.unwrap_or(Err(PostingRefusal::Unbalanced)))
}

struct LegRow {
    account_id: String,
    side: String,
    amount: i64,
    currency: String,
}

row!(LegRow { account_id, side, amount, currency });

const FIND_TXN: &str = "SELECT ledger_entry.account_id, side, amount, currency
    FROM ledger_entry
    JOIN ledger_account ON ledger_account.partner_id = ledger_entry.partner_id
        AND ledger_account.account_id = ledger_entry.account_id
    WHERE ledger_entry.partner_id = $1 AND txn_id = $2
    ORDER BY ledger_entry.account_id, seq";

/// The lines of a transaction with their currency; empty when there is none.
pub async fn find_txn(tx: &mut Tx, partner_id: &str, txn_id: &str) -> Result<Vec<(Leg, String)>, Fault> {
    let rows: Vec<LegRow> =
        on!(tx, conn => sqlx::query_as(FIND_TXN).bind(partner_id).bind(txn_id).fetch_all(conn).await)
            .map_err(while_doing("find a ledger transaction"))?;
    rows.into_iter()
        .map(|row| {
            let side: Side = word(&row.side, "ledger_entry.side")?;
            Ok((
                Leg { account_id: AccountId::stored(row.account_id), side, amount: row.amount },
                row.currency,
            ))
        })
        .collect()
}

/// Loads the accounts of everything asked for, also those that holds stand on.
///
/// Holds are read before their accounts are locked and judged after: a hold changes only under its account's lock, so
/// they are read again once the locks are held.
async fn load(
    tx: &mut Tx,
    mut wanted: Wanted,
    holds: &[(String, String)],
    now: UnixSeconds,
) -> Result<Book, Fault> {
    for hold in store::find_holds(tx, holds).await? {
        wanted.extend(hold.counter_account_id.map(|id| (hold.partner_id.clone(), id)));
        wanted.insert((hold.partner_id, hold.account_id));
    }
    let wanted: Vec<(String, AccountId)> = wanted.into_iter().collect();
    let accounts = accounts::lock(tx, &wanted, now).await?;
    let holds = store::find_holds(tx, holds).await?;
    Ok(Book::new(accounts, holds))
}

fn accounts_of(postings: &[&NewPosting]) -> Wanted {
    let of_one = |posting: &&NewPosting| {
        let partner_id = posting.partner_id.clone();
        let legs: Vec<_> =
            posting.legs.iter().map(|leg| (partner_id.clone(), leg.account_id.clone())).collect();
        legs
    };
    postings.iter().flat_map(of_one).collect()
}

fn holds_of(postings: &[&NewPosting]) -> Vec<(String, String)> {
    postings
        .iter()
        .filter_map(|posting| Some((posting.partner_id.clone(), posting.takes_hold.clone()?)))
        .collect()
}

/// Writes everything but the transaction and hold rows, which were inserted to find out about duplicates.
async fn write(tx: &mut Tx, changes: &Changes, now: UnixSeconds) -> Result<(), Fault> {
    if !changes.entries.is_empty() {
        store::insert_entries(tx, &changes.entries, now).await?;
    }
    if !changes.ended_holds.is_empty() {
        store::end_holds(tx, &changes.ended_holds, now).await?;
    }
    if !changes.accounts.is_empty() {
        store::update_accounts(tx, &changes.accounts).await?;
    }
    Ok(())
}
