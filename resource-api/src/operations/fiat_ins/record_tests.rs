//! Transaction A on both databases: what is recorded together is judged one after the other, and a refusal leaves
//! nothing although its neighbours stay.

use std::sync::Arc;

use chassis::testing::TestDatabase;
use chassis::{Outcome as Ending, SeededEntropy};
use futures_util::future::join_all;
use keys::seal::{MasterKey, MasterKeys};

use super::super::place::{FiatInAsk, bound};
use super::{Ids, Made, Orders, Recorded, Recording, orders, record};
use crate::auth::Attempt;
use crate::crypto::vault::{SealedPii, Vault};
use crate::domain::card::Instrument;
use crate::domain::fiat_in::{ChargeState, FiatInState, Origin};
use crate::domain::money::Money;
use crate::domain::pii::{Pii, PiiField};
use crate::monitoring::MonitoringConfig;
use crate::operations::stage::{Stage, attempt, attempt_with_token};
use crate::store::charges::{Lease, keep_charge};

const CLAIMS: &str = "SELECT COUNT(*) FROM claim";
const ORDERS: &str = "SELECT COUNT(*) FROM fiat_in";
const TAKEN: &str =
    "SELECT COUNT(*) FROM charge WHERE state = 'submitting' AND attempt = 1 AND lease_holder = 'lse_1'";

/// An order of the customer `sub` into a wallet, under a key and reference that are its name.
fn order(stage: &Stage, sub: &str, entity_id: &str, name: &str) -> Recording {
    let ask = FiatInAsk {
        entity_id: entity_id.to_owned(),
        money: Money::checked(700, "EUR", "/money").unwrap(),
        instrument: Instrument {
            token: "tok_success".to_owned(),
            brand: None,
            last4: None,
            fingerprint: None,
            country: None,
        },
        client_reference: name.to_owned(),
        customer: None,
        pii: None,
        device: Origin::default(),
    };
    Recording {
        attempt: attempt(name),
        bound: bound(&ask),
        ask,
        sub: sub.to_owned(),
        sealed: None,
        ids: Ids::draw(&stage.platform),
        limits: Arc::new(MonitoringConfig::default()),
        provider: "sandbox",
        holder: "lse_1".to_owned(),
        due_at_ms: 5_000,
    }
}

/// Submits all at once: they wait for one another's transaction, and so are recorded together.
async fn together(orders: &Orders, asks: Vec<Recording>) -> Vec<Option<Made>> {
    let made = join_all(asks.into_iter().map(|ask| orders.submit(Arc::new(ask)))).await;
    made.into_iter().map(Result::unwrap).collect()
}

async fn alone(stage: &Stage, ask: Recording) -> Made {
    let ask = Arc::new(ask);
    let unit = stage.db.write_or_undo(move |tx| {
        let ask = Arc::clone(&ask);
        Box::pin(async move { record(tx, &ask).await })
    });
    unit.await.unwrap()
}

/// In a word: what became of an order.
fn word(made: Option<&Made>) -> String {
    match made {
        None => "alone".to_owned(),
        Some(Err(refusal)) => refusal.code.to_owned(),
        Some(Ok(Recorded::Charged(order))) => order.state.as_str().to_owned(),
        Some(Ok(Recorded::Running { .. })) => "running".to_owned(),
        Some(Ok(Recorded::Answered(answer))) => {
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            body["state"].as_str().unwrap_or_default().to_owned()
        }
    }
}

fn words(made: &[Option<Made>]) -> Vec<String> {
    made.iter().map(|made| word(made.as_ref())).collect()
}

#[tokio::test]
async fn orders_of_one_customer_in_one_batch_see_each_other() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 0).await;
        stage.customer("ben", 0).await;
        let orders = orders(&stage.db);
        let mut asks: Vec<Recording> =
            (0..17).map(|index| order(&stage, "ann", "ent_ann", &format!("a{index}"))).collect();
        asks.push(order(&stage, "ben", "ent_ben", "b0"));
        let said = words(&together(&orders, asks).await);
        // VEL-1: from the sixth of an hour on a person looks, the sixteenth of a day is refused.
        assert_eq!(said[..5], ["processing"; 5]);
        assert_eq!(said[5..15], ["in_review"; 10]);
        assert_eq!(said[15..], ["refused", "refused", "processing"]);
        assert_eq!((stage.count(ORDERS).await, stage.count(TAKEN).await), (18, 6));
    }
}

#[tokio::test]
async fn batches_of_several_writers_do_not_pass_a_limit_together() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 0).await;
        stage.customer("ben", 0).await;
        // Each has a line of its own, as each node has.
        let lines = [orders(&stage.db), orders(&stage.db), orders(&stage.db)];
        let submitted = (0..24).map(|index| {
            let sub = if index % 2 == 0 { "ann" } else { "ben" };
            let ask = order(&stage, sub, &format!("ent_{sub}"), &format!("o{index}"));
            lines[index % 3].submit(Arc::new(ask))
        });
        let made: Vec<_> = join_all(submitted).await.into_iter().map(Result::unwrap).collect();
        let said = words(&made);
        assert_eq!(said.iter().filter(|state| *state == "processing").count(), 10, "{said:?}");
        assert_eq!(said.iter().filter(|state| *state == "in_review").count(), 14, "{said:?}");
    }
}

#[tokio::test]
async fn a_refusal_leaves_nothing_although_its_neighbours_stay() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 0).await;
        stage.customer("ben", 0).await;
        let orders = orders(&stage.db);
        together(&orders, vec![order(&stage, "ann", "ent_ann", "used")]).await;
        let foreign = Recording {
            attempt: attempt_with_token("jti-1", "ann", "ent_ben"),
            ..order(&stage, "ann", "ent_ben", "foreign")
        };
        let asks = vec![
            order(&stage, "ann", "ent_ann", "good"),
            foreign,
            order(&stage, "ann", "ent_none", "unknown"),
            order(&stage, "nobody", "ent_ann", "stranger"),
            Recording { attempt: attempt("again"), ..order(&stage, "ben", "ent_ben", "used") },
            order(&stage, "ben", "ent_ben", "fine"),
        ];
        let made = together(&orders, asks).await;
        assert_eq!(
            words(&made),
            ["processing", "not_found", "not_found", "not_found", "client_reference_taken", "processing"]
        );
        let Some(Err(taken)) = &made[4] else { panic!("{made:?}") };
        assert!(taken.existing_id.as_ref().is_some_and(|id| id.starts_with("fin_")));
        assert_eq!((stage.count(CLAIMS).await, stage.count(ORDERS).await), (3, 3));
        assert_eq!(stage.count("SELECT COUNT(*) FROM customer").await, 2, "a stranger is not registered");
        // Token and keys are unused: the same requests, now without a fault, go through.
        let again = vec![
            Recording {
                attempt: attempt_with_token("jti-1", "ben", "ent_ben"),
                ..order(&stage, "ben", "ent_ben", "foreign")
            },
            order(&stage, "ann", "ent_ann", "unknown"),
        ];
        assert_eq!(words(&together(&orders, again).await), ["processing", "processing"]);
    }
}

#[tokio::test]
async fn what_is_not_plain_is_left_alone_and_decided_by_the_same_rule() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 0).await;
        let orders = orders(&stage.db);
        let with_token = |jti: &str, wallet: &str| -> Attempt { attempt_with_token(jti, "ann", wallet) };
        let repeat = || order(&stage, "ann", "ent_ann", "once");
        let mismatched = || Recording {
            attempt: with_token("jti-2", "ent_other"),
            ..order(&stage, "ann", "ent_ann", "mismatched")
        };
        let twin = || Recording { attempt: attempt("twin"), ..order(&stage, "ann", "ent_ann", "once") };
        let made = together(&orders, vec![repeat(), repeat(), mismatched(), twin()]).await;
        assert_eq!(words(&made), ["processing", "alone", "alone", "alone"]);
        assert_eq!(stage.count(CLAIMS).await, 1, "nothing was written for those left alone");
        assert_eq!(words(&together(&orders, vec![repeat()]).await), ["alone"], "a repeat of an earlier one");

        assert_eq!(word(Some(&alone(&stage, repeat()).await)), "running");
        assert_eq!(word(Some(&alone(&stage, twin()).await)), "client_reference_taken");
        let spent = alone(&stage, mismatched()).await;
        let Ok(Recorded::Answered(answer)) = &spent else { panic!("{spent:?}") };
        assert_eq!(answer.status, 403);
        assert_eq!(
            stage.count(CLAIMS).await,
            2,
            "the token for something else is spent, the twin's key is not"
        );
    }
}

/// Personal data as an order carries it.
fn sealed(sub: &str, name: &str) -> SealedPii {
    let vault = Vault::new(MasterKeys::new(MasterKey::new([7; 32]), Vec::new()));
    let pii = Pii::from_fields([(PiiField::GivenName, name.to_owned())].into());
    vault.seal("acme", sub, &pii, &SeededEntropy::new(1)).unwrap()
}

#[tokio::test]
async fn personal_data_of_several_customers_is_stored_together_and_of_one_in_turn() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        let orders = orders(&stage.db);
        for sub in ["ann", "ben", "cid"] {
            stage.customer(sub, 0).await;
        }
        let with = |sub: &str, given: &str, name: &str| Recording {
            sealed: Some(sealed(sub, given)),
            ..order(&stage, sub, &format!("ent_{sub}"), name)
        };
        let asks = vec![
            with("ann", "Ann", "a1"),
            with("ben", "Ben", "b1"),
            with("ann", "Anna", "a2"),
            order(&stage, "cid", "ent_cid", "c1"),
            with("cid", "Cid", "c2"),
        ];
        let said = words(&together(&orders, asks).await);
        assert_eq!(said, ["processing", "processing", "alone", "processing", "alone"]);
        let versions = "SELECT COUNT(*) FROM customer WHERE pii_version = 1 AND kyc_status = 'processing'";
        let audits = "SELECT COUNT(*) FROM audit_event WHERE action = 'customer.pii_written'";
        let jobs = "SELECT COUNT(*) FROM kyc_job WHERE NOT identity_changed";
        assert_eq!(stage.count(versions).await, 2);
        assert_eq!((stage.count(audits).await, stage.count(jobs).await), (2, 2));

        // Equal data changes nothing; another name is another identity.
        let said = words(&together(&orders, vec![with("ann", "Ann", "a3"), with("ben", "Bo", "b2")]).await);
        assert_eq!(said, ["processing", "processing"]);
        assert_eq!((stage.count(versions).await, stage.count(audits).await), (1, 3));
        assert_eq!(stage.count("SELECT COUNT(*) FROM kyc_job WHERE identity_changed").await, 1);
    }
}

#[tokio::test]
async fn only_its_holder_lengthens_the_lease_of_a_charge_that_is_being_sent() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 0).await;
        let made = alone(&stage, order(&stage, "ann", "ent_ann", "o")).await;
        let Ok(Recorded::Charged(order)) = made else { panic!("{made:?}") };
        let charge_id = order.charge.unwrap().charge_id;
        let keep = |holder: &'static str| {
            let charge_id = charge_id.clone();
            let unit = stage.db.write(move |tx| {
                let charge_id = charge_id.clone();
                let lease = Lease { holder, now_ms: 4_000, until_ms: 9_000 };
                Box::pin(async move { keep_charge(tx, &charge_id, lease).await })
            });
            async { unit.await.unwrap() }
        };
        assert!(keep("lse_1").await);
        assert!(!keep("lse_2").await);
        assert_eq!(stage.count("SELECT due_at_ms FROM charge").await, 9_000);
    }
}

#[tokio::test]
async fn an_order_recorded_alone_is_the_same_as_in_a_batch() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 0).await;
        let made = alone(&stage, order(&stage, "ann", "ent_ann", "o")).await;
        let Ok(Recorded::Charged(order)) = made else { panic!("{made:?}") };
        let charge = order.charge.unwrap();
        assert_eq!((order.state, charge.state), (FiatInState::Processing, ChargeState::Submitting));
        assert_eq!(stage.count(TAKEN).await, 1);
    }
}

#[tokio::test]
async fn a_unit_that_was_overtaken_refuses_the_second_of_two_equal_references() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 0).await;
        stage.customer("ben", 0).await;
        let lines = [orders(&stage.db), orders(&stage.db)];
        for round in 0..8 {
            let ask = |sub: &str| Recording {
                attempt: attempt(&format!("{sub}{round}")),
                ..order(&stage, sub, &format!("ent_{sub}"), &format!("same{round}"))
            };
            let made =
                join_all([lines[0].submit(Arc::new(ask("ann"))), lines[1].submit(Arc::new(ask("ben")))]);
            let made: Vec<_> = made.await.into_iter().map(Result::unwrap).collect();
            let refused = words(&made).iter().filter(|word| *word == "client_reference_taken").count();
            assert_eq!(refused, 1, "{made:?}");
        }
        assert_eq!((stage.count(CLAIMS).await, stage.count(ORDERS).await), (8, 8));
    }
}

/// Prints the figure that `docs/performance.md` keeps.
#[tokio::test]
async fn many_orders_cost_few_statements() {
    const ORDERS: usize = 64;
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        let names: Vec<String> = (0..ORDERS).map(|index| format!("c{index}")).collect();
        for name in &names {
            stage.customer(name, 0).await;
        }
        let orders = orders(&stage.db);
        let asks = names.iter().map(|name| order(&stage, name, &format!("ent_{name}"), name)).collect();
        let before = stage.db.statements();
        let made = together(&orders, asks).await;
        let statements = stage.db.statements() - before;
        assert_eq!(words(&made), vec!["processing"; ORDERS]);
        println!("{:?}: {statements} statements for {ORDERS} orders recorded at once", stage.db.engine());
        // One or two batches of nine statements each.
        assert!(statements <= 18, "{statements} statements for {ORDERS} orders");
    }
}

#[tokio::test]
async fn an_undone_order_alone_leaves_nothing() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.customer("ann", 0).await;
        let ask = Arc::new(order(&stage, "ann", "ent_none", "o"));
        let unit = stage.db.write_or_undo(move |tx| {
            let ask = Arc::clone(&ask);
            Box::pin(async move {
                let ended = record(tx, &ask).await?;
                assert!(matches!(ended, Ending::Undo(Err(_))));
                Ok(ended)
            })
        });
        assert_eq!(unit.await.unwrap().unwrap_err().code, "not_found");
        assert_eq!(stage.count(CLAIMS).await, 0);
    }
}
