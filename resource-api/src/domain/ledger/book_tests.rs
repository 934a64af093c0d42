//! Rules of the book, by example.

use super::super::{Leg, SystemAccount};
use super::*;

fn wallet(id: &str, posted: i64) -> Account {
    Account {
        partner_id: "p".to_owned(),
        account_id: AccountId::entity(id),
        currency: "EUR".to_owned(),
        normal_side: Side::Credit,
        min_balance: Some(0),
        posted,
        pending_in: 0,
        pending_out: 0,
        last_seq: 7,
    }
}

fn clearing() -> Account {
    let account_id = AccountId::system(SystemAccount::GatewayClearing("g"), "EUR");
    Account { account_id, normal_side: Side::Debit, min_balance: None, ..wallet("", 0) }
}

fn pay(reference: &str, from: &str, to: &str, amount: i64) -> NewPosting {
    NewPosting {
        partner_id: "p".to_owned(),
        txn_id: format!("txn_{reference}"),
        reference: reference.to_owned(),
        kind: "transfer",
        currency: "EUR".to_owned(),
        legs: vec![Leg::debit(AccountId::entity(from), amount), Leg::credit(AccountId::entity(to), amount)],
        takes_hold: None,
        reverses: None,
    }
}

fn set_aside(id: &str, from: &str, amount: i64) -> NewHold {
    NewHold {
        partner_id: "p".to_owned(),
        hold_id: id.to_owned(),
        reference: id.to_owned(),
        account_id: AccountId::entity(from),
        counter_account_id: None,
        amount,
        currency: "EUR".to_owned(),
    }
}

#[test]
fn a_transfer_moves_money_and_numbers_its_entries() {
    let mut book = Book::new(vec![wallet("a", 100), wallet("b", 5)], vec![]);
    book.post(&pay("1", "a", "b", 60)).unwrap();
    let changes = book.finish();
    let after: Vec<i64> = changes.accounts.iter().map(|(_, account)| account.posted).collect();
    assert_eq!(after, [40, 65]);
    let entries: Vec<(i64, i64)> =
        changes.entries.iter().map(|entry| (entry.seq, entry.balance_after)).collect();
    assert_eq!(entries, [(8, 40), (8, 65)]);
}

#[test]
fn a_refused_posting_leaves_nothing() {
    let mut book = Book::new(vec![wallet("a", 100), wallet("b", 0)], vec![]);
    assert_eq!(
        book.post(&pay("1", "a", "b", 101)),
        Err(PostingRefusal::InsufficientFunds(AccountId::entity("a")))
    );
    assert_eq!(
        book.post(&pay("2", "a", "x", 1)),
        Err(PostingRefusal::UnknownAccount(AccountId::entity("x")))
    );
    let changes = book.finish();
    assert!(changes.accounts.is_empty() && changes.entries.is_empty() && changes.postings.is_empty());
}

#[test]
fn decisions_see_the_ones_before_them() {
    let mut book = Book::new(vec![wallet("a", 100), wallet("b", 0)], vec![]);
    book.post(&pay("1", "a", "b", 70)).unwrap();
    assert!(book.post(&pay("2", "a", "b", 70)).is_err());
    book.post(&pay("3", "b", "a", 10)).unwrap();
    book.post(&pay("4", "a", "b", 40)).unwrap();
    assert_eq!(book.post(&pay("4", "a", "b", 0)), Err(PostingRefusal::Unbalanced));
    assert_eq!(book.post(&pay("3", "b", "a", 10)), Err(PostingRefusal::Duplicate));
    assert_eq!(book.finish().accounts[0].1.posted, 0);
}

#[test]
fn held_money_is_not_available() {
    let mut book = Book::new(vec![wallet("a", 5_000), wallet("b", 0)], vec![]);
    for n in 1..=5 {
        book.hold(&set_aside(&format!("h{n}"), "a", 1_000)).unwrap();
    }
    assert!(book.hold(&set_aside("h6", "a", 1_000)).is_err());
    assert!(book.post(&pay("1", "a", "b", 1)).is_err());
    book.release("p", "h1").unwrap();
    assert_eq!(book.release("p", "h1"), Err(PostingRefusal::HoldEnded));
    book.post(&pay("2", "a", "b", 1_000)).unwrap();
}

#[test]
fn a_posting_may_take_less_than_its_hold_but_not_more() {
    let mut book = Book::new(vec![wallet("a", 100), wallet("b", 0)], vec![]);
    book.hold(&set_aside("h", "a", 100)).unwrap();
    let more = NewPosting { takes_hold: Some("h".to_owned()), ..pay("1", "a", "b", 101) };
    assert_eq!(book.post(&more), Err(PostingRefusal::ExceedsHold));
    let less = NewPosting { takes_hold: Some("h".to_owned()), ..pay("2", "a", "b", 80) };
    book.post(&less).unwrap();
    assert_eq!(book.post(&NewPosting { reference: "3".to_owned(), ..less }), Err(PostingRefusal::HoldEnded));
    let changes = book.finish();
    let account = &changes.accounts[0].1;
    assert_eq!((account.posted, account.pending_out), (20, 0));
    assert_eq!(changes.ended_holds[0].state, "posted");
}

#[test]
fn accounts_without_a_floor_go_below_zero_and_sides_decide_the_sign() {
    let mut book = Book::new(vec![wallet("a", 100), clearing()], vec![]);
    let system = AccountId::system(SystemAccount::GatewayClearing("g"), "EUR");
    let legs = vec![Leg::debit(AccountId::entity("a"), 30), Leg::credit(system, 30)];
    book.post(&NewPosting { legs, ..pay("refund", "a", "a", 1) }).unwrap();
    let changes = book.finish();
    let posted: Vec<i64> = changes.accounts.iter().map(|(_, account)| account.posted).collect();
    assert_eq!(posted, [70, -30]);
}

#[test]
fn what_does_not_balance_or_overflows_is_refused() {
    let mut book = Book::new(vec![wallet("a", i64::MAX), wallet("b", 0)], vec![]);
    let a = || AccountId::entity("a");
    let b = || AccountId::entity("b");
    let cases = [
        (vec![Leg::debit(b(), 1), Leg::credit(a(), 2)], PostingRefusal::Unbalanced),
        (vec![Leg::debit(b(), -1), Leg::credit(a(), -1)], PostingRefusal::Unbalanced),
        (vec![], PostingRefusal::Unbalanced),
        (vec![Leg::credit(a(), 1), Leg::debit(b(), 1)], PostingRefusal::Overflow),
    ];
    for (legs, refusal) in cases {
        assert_eq!(book.post(&NewPosting { legs, ..pay("1", "a", "b", 1) }), Err(refusal));
    }
    let yen = NewPosting { currency: "JPY".to_owned(), ..pay("2", "a", "b", 1) };
    assert_eq!(book.post(&yen), Err(PostingRefusal::CurrencyMismatch(a())));
}
