//! Fast transfers on both databases: a hot account, refusals among neighbours, and writers that meet.

use std::sync::Arc;

use chassis::claim::StoredAnswer;
use chassis::testing::TestDatabase;
use futures_util::future::join_all;

use super::{PreparedTransfer, Transfers, transfers};
use crate::auth::Bound;
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::transfer::TransferOrder;
use crate::ledger::verify;
use crate::operations::stage::{NOW, Stage, attempt};

const CLAIMS: &str = "SELECT COUNT(*) FROM claim WHERE answer_status = 201";
const TRANSFERS: &str = "SELECT COUNT(*) FROM transfer";

/// A transfer between the wallets of two customers, under a key and reference that are its name.
fn transfer(stage: &Stage, (from, to): (&str, &str), amount: i64, name: &str) -> PreparedTransfer {
    PreparedTransfer {
        order: TransferOrder {
            source: format!("ent_{from}"),
            destination: format!("ent_{to}"),
            money: Money::checked(amount, "EUR", "/money").unwrap(),
            category: None,
            client_reference: Some(name.to_owned()),
        },
        attempt: attempt(name),
        bound: Bound::default(),
        transfer_id: stage.platform.new_id("trf"),
        txn_id: stage.platform.new_id("txn"),
        event_id: stage.platform.new_id("evt"),
        now: NOW,
    }
}

async fn together(
    line: &Transfers,
    asks: Vec<PreparedTransfer>,
) -> Vec<Option<Result<StoredAnswer, Refusal>>> {
    let made = join_all(asks.into_iter().map(|ask| line.submit(Arc::new(ask)))).await;
    made.into_iter().map(Result::unwrap).collect()
}

fn words(made: &[Option<Result<StoredAnswer, Refusal>>]) -> Vec<&'static str> {
    let word = |made: &Option<Result<StoredAnswer, Refusal>>| match made {
        None => "alone",
        Some(Ok(_)) => "booked",
        Some(Err(refusal)) => refusal.code,
    };
    made.iter().map(word).collect()
}

async fn assert_sound(stage: &Stage) {
    let report = verify(&stage.db).await.unwrap();
    assert!(report.is_sound(), "{report}");
}

#[tokio::test]
async fn a_hot_account_pays_until_it_is_empty_and_in_order() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("hot", 100).await;
        stage.customer("ann", 0).await;
        let line = transfers(&stage.db);
        let asks = (0..12).map(|index| transfer(&stage, ("hot", "ann"), 10, &format!("t{index}"))).collect();
        let made = together(&line, asks).await;
        assert_eq!(words(&made)[..10], ["booked"; 10]);
        assert_eq!(words(&made)[10..], ["insufficient_funds"; 2]);
        assert_eq!((stage.balance("hot").await, stage.balance("ann").await), (0, 100));
        assert_eq!((stage.count(CLAIMS).await, stage.count(TRANSFERS).await), (10, 10));
        assert_eq!(stage.count("SELECT COUNT(*) FROM claim").await, 10, "a refusal leaves its key unused");
        assert_sound(&stage).await;
        // Money that came in meanwhile is there for what was refused before.
        together(&line, vec![transfer(&stage, ("ann", "hot"), 30, "back")]).await;
        assert_eq!(
            words(&together(&line, vec![transfer(&stage, ("hot", "ann"), 10, "t11")]).await),
            ["booked"]
        );
    }
}

#[tokio::test]
async fn refused_and_repeated_transfers_do_not_touch_their_neighbours() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 100).await;
        stage.customer("ben", 0).await;
        let line = transfers(&stage.db);
        together(&line, vec![transfer(&stage, ("ann", "ben"), 1, "first")]).await;
        let made = together(
            &line,
            vec![
                transfer(&stage, ("ann", "ben"), 1, "first"),
                PreparedTransfer {
                    attempt: attempt("other key"),
                    ..transfer(&stage, ("ann", "ben"), 1, "first")
                },
                transfer(&stage, ("ann", "nobody"), 1, "unknown"),
                transfer(&stage, ("ann", "ben"), 101, "much"),
                transfer(&stage, ("ann", "ben"), 2, "good"),
                PreparedTransfer {
                    attempt: attempt("twin key"),
                    ..transfer(&stage, ("ann", "ben"), 2, "good")
                },
            ],
        )
        .await;
        assert_eq!(words(&made), ["alone", "alone", "not_found", "insufficient_funds", "booked", "alone"]);
        let other = PreparedTransfer {
            attempt: attempt("other key"),
            ..transfer(&stage, ("ann", "ben"), 1, "first")
        };
        assert_eq!(words(&together(&line, vec![other]).await), ["client_reference_taken"]);
        assert_eq!((stage.balance("ann").await, stage.balance("ben").await), (97, 3));
        assert_eq!((stage.count(CLAIMS).await, stage.count(TRANSFERS).await), (2, 2));
        assert_sound(&stage).await;
    }
}

#[tokio::test]
async fn writers_that_meet_on_the_same_accounts_lose_no_money() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        for name in ["ann", "ben", "cid"] {
            stage.customer(name, 50).await;
        }
        // Each has a line of its own, as each node has.
        let lines = [transfers(&stage.db), transfers(&stage.db), transfers(&stage.db)];
        let routes = [("ann", "ben"), ("ben", "cid"), ("cid", "ann"), ("ben", "ann"), ("ann", "cid")];
        let submitted = (0..60).map(|index| {
            let ask = transfer(&stage, routes[index % routes.len()], 20, &format!("t{index}"));
            lines[index % 3].submit(Arc::new(ask))
        });
        let made: Vec<_> = join_all(submitted).await.into_iter().map(Result::unwrap).collect();
        let booked = words(&made).iter().filter(|word| **word == "booked").count();
        assert!(words(&made).iter().all(|word| ["booked", "insufficient_funds"].contains(word)));
        assert_eq!(stage.count(TRANSFERS).await, i64::try_from(booked).unwrap());
        let left = [stage.balance("ann").await, stage.balance("ben").await, stage.balance("cid").await];
        assert_eq!(left.iter().sum::<i64>(), 150, "{left:?}");
        assert!(left.iter().all(|balance| *balance >= 0), "{left:?}");
        assert_sound(&stage).await;
    }
}

/// Prints the figure that `docs/performance.md` keeps.
#[tokio::test]
async fn many_transfers_cost_few_statements_on_a_hot_account_as_on_spread_ones() {
    const TRANSFERS: usize = 64;
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        for index in 0..16 {
            stage.customer(&format!("c{index}"), 1_000).await;
        }
        for hot in [false, true] {
            let line = transfers(&stage.db);
            let asks = (0..TRANSFERS)
                .map(|index| {
                    let from = format!("c{}", if hot { 0 } else { index % 8 });
                    let to = format!("c{}", 8 + index % 8);
                    transfer(&stage, (&from, &to), 1, &format!("{hot}{index}"))
                })
                .collect();
            let before = stage.db.statements();
            let made = together(&line, asks).await;
            let statements = stage.db.statements() - before;
            assert_eq!(words(&made), vec!["booked"; TRANSFERS]);
            let engine = stage.db.engine();
            println!("{engine:?}: {statements} statements for {TRANSFERS} transfers at once, hot: {hot}");
            // One or two batches of ten statements each.
            assert!(statements <= 20, "{statements} statements for {TRANSFERS} transfers");
        }
    }
}
