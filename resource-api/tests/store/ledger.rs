//! The ledger: posting, holds, reversal, races, and what `verify` finds.

use chassis::testing::TestDatabase;
use chassis::{Db, Outcome, on, sqlx, while_doing};
use resource_api::domain::ledger::{
    Account, AccountId, Leg, NewHold, NewPosting, PostingRefusal, SystemAccount,
};
use resource_api::ledger::{self, Reversal};

use crate::{NOW, opened, unit};

pub(crate) fn wallet(name: &str) -> AccountId {
    ledger::entity_account(name)
}

pub(crate) fn clearing() -> AccountId {
    ledger::system_account(SystemAccount::GatewayClearing("sandbox"), "EUR")
}

pub(crate) async fn open_wallets(db: &Db, partner_id: &str, names: &[&str]) {
    for name in names {
        let (partner_id, name) = (partner_id.to_owned(), (*name).to_owned());
        unit!(db, [partner_id, name], tx => ledger::open_entity_account(tx, &partner_id, &name, "EUR", NOW).await);
    }
}

pub(crate) fn posting(
    partner_id: &str,
    reference: &str,
    debit: AccountId,
    credit: AccountId,
    amount: i64,
) -> NewPosting {
    NewPosting {
        partner_id: partner_id.to_owned(),
        txn_id: format!("txn_{partner_id}_{reference}"),
        reference: reference.to_owned(),
        kind: "test",
        currency: "EUR".to_owned(),
        legs: vec![Leg::debit(debit, amount), Leg::credit(credit, amount)],
        takes_hold: None,
        reverses: None,
    }
}

pub(crate) async fn post(db: &Db, postings: Vec<NewPosting>) -> Vec<Result<(), PostingRefusal>> {
    unit!(db, [postings], tx => ledger::post(tx, &postings, NOW).await)
}

pub(crate) async fn account(db: &Db, partner_id: &str, id: AccountId) -> Account {
    let wanted = [(partner_id.to_owned(), id)];
    unit!(db, [wanted], tx => ledger::find_accounts(tx, &wanted).await).remove(0)
}

async fn assert_sound(db: &Db) {
    let report = ledger::verify(db).await.unwrap();
    assert!(report.is_sound(), "{report}");
}

#[tokio::test]
async fn the_first_posting_creates_the_system_account_it_names() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        open_wallets(&db, "p", &["a"]).await;
        assert_eq!(post(&db, vec![posting("p", "1", clearing(), wallet("a"), 500)]).await, [Ok(())]);
        assert_eq!(account(&db, "p", clearing()).await.posted, 500);
        assert_eq!(account(&db, "p", wallet("a")).await.posted, 500);
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn a_batch_is_decided_in_order_and_costs_a_fixed_number_of_statements() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        open_wallets(&db, "p", &["a", "b", "c"]).await;
        assert_eq!(post(&db, vec![posting("p", "in", clearing(), wallet("a"), 100)]).await, [Ok(())]);
        let before = db.statements();
        let verdicts = post(
            &db,
            vec![
                posting("p", "1", wallet("a"), wallet("b"), 70),
                posting("p", "2", wallet("b"), wallet("c"), 60),
                posting("p", "3", wallet("c"), wallet("a"), 10),
            ],
        )
        .await;
        assert_eq!(verdicts, [Ok(()), Ok(()), Ok(())]);
        assert_eq!(db.statements() - before, 4);
        let verdicts = post(
            &db,
            vec![
                posting("p", "4", wallet("a"), wallet("b"), 41),
                posting("p", "5", wallet("a"), wallet("b"), 40),
            ],
        )
        .await;
        assert_eq!(verdicts, [Err(PostingRefusal::InsufficientFunds(wallet("a"))), Ok(())]);
        let left: Vec<i64> = [
            account(&db, "p", wallet("a")).await,
            account(&db, "p", wallet("b")).await,
            account(&db, "p", wallet("c")).await,
        ]
        .iter()
        .map(|account| account.posted)
        .collect();
        assert_eq!(left, [0, 50, 50]);
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn a_reference_is_booked_once_also_within_a_batch() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        open_wallets(&db, "p", &["a", "b"]).await;
        post(&db, vec![posting("p", "in", clearing(), wallet("a"), 100)]).await;
        let again =
            NewPosting { txn_id: "txn_x".to_owned(), ..posting("p", "in", clearing(), wallet("a"), 100) };
        let verdicts = post(
            &db,
            vec![
                posting("p", "1", wallet("a"), wallet("b"), 60),
                again,
                NewPosting { txn_id: "txn_y".to_owned(), ..posting("p", "1", wallet("a"), wallet("b"), 10) },
                // Would pass only if the repeated credit counted.
                posting("p", "2", wallet("a"), wallet("b"), 60),
            ],
        )
        .await;
        assert_eq!(
            verdicts,
            [
                Ok(()),
                Err(PostingRefusal::Duplicate),
                Err(PostingRefusal::Duplicate),
                Err(PostingRefusal::InsufficientFunds(wallet("a"))),
            ]
        );
        assert_eq!(account(&db, "p", wallet("a")).await.posted, 40);
        // What was booked long ago is a duplicate even when there are no funds for it today.
        let late =
            NewPosting { txn_id: "txn_z".to_owned(), ..posting("p", "1", wallet("a"), wallet("b"), 60) };
        assert_eq!(post(&db, vec![late]).await, [Err(PostingRefusal::Duplicate)]);
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn holds_count_at_once_and_end_once() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        open_wallets(&db, "p", &["a", "b"]).await;
        post(&db, vec![posting("p", "in", clearing(), wallet("a"), 100)]).await;
        let hold = |id: &str, amount: i64| NewHold {
            partner_id: "p".to_owned(),
            hold_id: id.to_owned(),
            reference: format!("order {id}"),
            account_id: wallet("a"),
            counter_account_id: Some(wallet("b")),
            amount,
            currency: "EUR".to_owned(),
        };
        let holds = vec![hold("h1", 60), hold("h2", 50), hold("h3", 40)];
        let verdicts = unit!(db, [holds], tx => ledger::hold(tx, &holds, NOW).await);
        assert_eq!(verdicts, [Ok(()), Err(PostingRefusal::InsufficientFunds(wallet("a"))), Ok(())]);
        let twin = vec![NewHold { hold_id: "h4".to_owned(), amount: 0, ..hold("h1", 1) }, hold("h3", 0)];
        assert!(unit!(db, [twin], tx => ledger::hold(tx, &twin, NOW).await).iter().all(Result::is_err));
        assert_eq!(account(&db, "p", wallet("b")).await.pending_in, 100);
        assert_sound(&db).await;
        let taken = NewPosting {
            takes_hold: Some("h1".to_owned()),
            ..posting("p", "1", wallet("a"), wallet("b"), 45)
        };
        assert_eq!(post(&db, vec![taken.clone()]).await, [Ok(())]);
        let again = NewPosting { reference: "2".to_owned(), txn_id: "txn_2".to_owned(), ..taken };
        assert_eq!(post(&db, vec![again]).await, [Err(PostingRefusal::HoldEnded)]);
        assert_eq!(unit!(db, [], tx => ledger::release(tx, "p", "h3", NOW).await), Ok(()));
        for gone in ["h3", "h1", "none"] {
            let verdict = unit!(db, [], tx => ledger::release(tx, "p", gone, NOW).await);
            assert_eq!(verdict, Err(PostingRefusal::HoldEnded), "{gone}");
        }
        let left = account(&db, "p", wallet("a")).await;
        assert_eq!((left.posted, left.pending_out, left.available()), (55, 0, 55));
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn a_transaction_is_reversed_once_and_never_below_a_floor() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        open_wallets(&db, "p", &["a", "b"]).await;
        post(&db, vec![posting("p", "in", clearing(), wallet("a"), 100)]).await;
        post(&db, vec![posting("p", "1", wallet("a"), wallet("b"), 30)]).await;
        let reverse = |txn_id: &'static str, number: u8| {
            let db = db.clone();
            async move {
                unit!(db, [], tx => {
                    let (new_txn_id, reference) = (format!("txn_r{number}"), format!("reversal {number}"));
                    let ask = Reversal { partner_id: "p", txn_id, new_txn_id: &new_txn_id, reference: &reference };
                    ledger::reverse(tx, ask, NOW).await
                })
            }
        };
        assert_eq!(reverse("txn_p_in", 1).await, Err(PostingRefusal::InsufficientFunds(wallet("a"))));
        assert_eq!(reverse("txn_p_1", 2).await, Ok(()));
        assert_eq!(reverse("txn_p_1", 3).await, Err(PostingRefusal::Duplicate));
        assert_eq!(reverse("txn_none", 4).await, Err(PostingRefusal::Unbalanced));
        assert_eq!(account(&db, "p", wallet("a")).await.posted, 100);
        assert_sound(&db).await;
    }
}

/// Sixty-four transfers of half the balance at once, through two doors to one database: two may win.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_postings_never_overdraw() {
    for database in TestDatabase::both().await {
        let first = opened(&database).await;
        let second = database.open().await;
        open_wallets(&first, "p", &["a", "b"]).await;
        post(&first, vec![posting("p", "in", clearing(), wallet("a"), 1_000)]).await;
        let tasks: Vec<_> = (0..64)
            .map(|number| {
                let db = if number % 2 == 0 { first.clone() } else { second.clone() };
                // Half of them the other way round in their legs, to provoke a deadlock.
                let mut one = posting("p", &format!("n{number}"), wallet("a"), wallet("b"), 500);
                if number % 3 == 0 {
                    one.legs.reverse();
                }
                tokio::spawn(async move { post(&db, vec![one]).await.remove(0) })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            won += usize::from(task.await.unwrap().is_ok());
        }
        assert_eq!(won, 2, "{:?}", database.engine());
        assert_eq!(account(&first, "p", wallet("a")).await.posted, 0);
        assert_sound(&first).await;
    }
}

#[tokio::test]
async fn what_is_undone_leaves_no_entry() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        open_wallets(&db, "p", &["a"]).await;
        db.write_or_undo(|tx| {
            Box::pin(async move {
                let one = posting("p", "1", clearing(), wallet("a"), 5);
                ledger::post(tx, &[one], NOW).await.map(|_| Outcome::Undo(()))
            })
        })
        .await
        .unwrap();
        let report = ledger::verify(&db).await.unwrap();
        assert_eq!((report.accounts, report.transactions, report.entries), (1, 0, 0));
        assert_eq!(post(&db, vec![posting("p", "1", clearing(), wallet("a"), 5)]).await, [Ok(())]);
    }
}

#[tokio::test]
async fn verify_names_what_somebody_changed_behind_the_ledgers_back() {
    const TAMPERINGS: &[(&str, &str)] = &[
        ("UPDATE ledger_entry SET amount = amount + 1 WHERE seq = 1 AND account_id = 'entity:a'", "differ"),
        (
            "UPDATE ledger_entry SET balance_after = 7 WHERE seq = 1 AND account_id = 'entity:a'",
            "balance_after",
        ),
        ("UPDATE ledger_entry SET seq = 9 WHERE account_id = 'entity:b'", "gap"),
        ("UPDATE ledger_account SET posted = posted + 1 WHERE account_id = 'entity:b'", "sum to zero"),
        ("UPDATE ledger_account SET pending_out = 1 WHERE account_id = 'entity:b'", "held money"),
        ("DELETE FROM ledger_txn WHERE reference = '1'", "no transaction"),
        ("DELETE FROM ledger_entry WHERE account_id = 'entity:b'", "fewer than two"),
        ("INSERT INTO ledger_txn VALUES ('p', 'txn_9', '9', 'test', NULL, 0)", "no entries"),
    ];
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        open_wallets(&db, "p", &["a", "b"]).await;
        post(&db, vec![posting("p", "in", clearing(), wallet("a"), 100)]).await;
        post(&db, vec![posting("p", "1", wallet("a"), wallet("b"), 30)]).await;
        assert_sound(&db).await;
        for (sql, finding) in TAMPERINGS {
            let report = db
                .write_or_undo(move |tx| {
                    Box::pin(async move {
                        on!(&mut *tx, conn => sqlx::query(*sql).execute(conn).await.map(drop))
                            .map_err(while_doing("tamper"))?;
                        ledger::verify_in(tx).await.map(Outcome::Undo)
                    })
                })
                .await
                .unwrap();
            assert!(report.problems.iter().any(|problem| problem.contains(finding)), "{sql}: {report}");
        }
        assert_sound(&db).await;
    }
}
