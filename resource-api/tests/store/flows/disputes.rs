//! Disputes as a gateway tells them: each turn once, in any order, and the money where it belongs.

use chassis::testing::TestDatabase;
use resource_api::domain::money::Money;
use resource_api::operations::refunds::{
    DisputeIds, DisputeTold, ToldVerdict, dispute_lost, dispute_opened, dispute_won,
};
use serde_json::json;

use super::refunded::Paid;
use super::world::{Ask, World, order};

/// What a gateway can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Opened,
    Won,
    Lost,
}

/// Tells of a dispute.
async fn told(world: &World, paid: &Paid, (turn, id, amount): (Turn, &str, i64)) -> ToldVerdict {
    let told = DisputeTold {
        dispute_id: id.to_owned(),
        charge_id: paid.charge.clone(),
        money: Money { amount, currency: "EUR".parse().unwrap() },
        ids: DisputeIds::draw(&world.app.platform),
        now: world.app.platform.now(),
    };
    world
        .write(move |tx| {
            let told = told.clone();
            Box::pin(async move {
                match turn {
                    Turn::Opened => dispute_opened(tx, &told).await,
                    Turn::Won => dispute_won(tx, &told).await,
                    Turn::Lost => dispute_lost(tx, &told).await,
                }
            })
        })
        .await
}

/// Tells of a dispute; whether it was written down.
pub(crate) async fn turn(world: &World, paid: &Paid, telling: (Turn, &str, i64)) -> bool {
    told(world, paid, telling).await == ToldVerdict::Done
}

async fn state(world: &World, paid: &Paid) -> String {
    world.standing(paid).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contested_order_is_not_refunded_until_the_dispute_is_won() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        assert_eq!(world.refund(&paid, 200).await.status, 201);
        assert_eq!(told(&world, &paid, (Turn::Opened, "dp_1", 800)).await, ToldVerdict::Done);
        assert_eq!(told(&world, &paid, (Turn::Opened, "dp_1", 800)).await, ToldVerdict::Repeated);
        assert_eq!(state(&world, &paid).await, "disputed");
        let refused = world.refund(&paid, 100).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "not_refundable"));
        assert_eq!(told(&world, &paid, (Turn::Won, "dp_1", 800)).await, ToldVerdict::Done);
        assert_eq!(told(&world, &paid, (Turn::Won, "dp_1", 800)).await, ToldVerdict::Repeated);
        assert!(matches!(told(&world, &paid, (Turn::Lost, "dp_1", 800)).await, ToldVerdict::Unfit(_)));
        assert_eq!(state(&world, &paid).await, "partially_refunded");
        assert_eq!(world.spendable(&paid.wallet).await, 800, "nothing was booked");
        assert_eq!(world.refund(&paid, 800).await.status, 201);
        let events = world.events().await;
        let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        assert_eq!((count("dispute.opened"), count("dispute.won"), count("fiat_in.disputed")), (1, 1, 1));
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_dispute_is_paid_by_the_wallet_that_has_the_money() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        for turn in [Turn::Opened, Turn::Lost] {
            assert_eq!(told(&world, &paid, (turn, "dp_1", 1_000)).await, ToldVerdict::Done);
        }
        for turn in [Turn::Opened, Turn::Lost] {
            assert_eq!(told(&world, &paid, (turn, "dp_1", 1_000)).await, ToldVerdict::Repeated);
        }
        assert_eq!(state(&world, &paid).await, "charged_back");
        assert_eq!(world.spendable(&paid.wallet).await, 0);
        assert_eq!(world.posted("gateway:sandbox:clearing:EUR").await, 0);
        assert_eq!(world.refund(&paid, 1).await.code(), "not_refundable");
        let events = world.events().await;
        let lost = events.iter().find(|event| event["type"] == "dispute.lost").unwrap();
        assert_eq!(lost["data"]["fiat_in_state"], "charged_back");
        assert_eq!(lost["data"]["amount"], json!({"amount": 1_000, "currency": "EUR"}));
        assert_eq!(events.iter().filter(|event| event["type"] == "fiat_in.charged_back").count(), 1);
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_dispute_of_spent_money_is_owed_by_the_customer() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        let (_, other) = world.customer("bob").await;
        assert_eq!(world.insist(world.transfer_ask(&paid, &other, 700)).await.status, 201);
        // Its end is told before its beginning.
        assert_eq!(told(&world, &paid, (Turn::Lost, "dp_1", 1_000)).await, ToldVerdict::Done);
        assert_eq!(told(&world, &paid, (Turn::Opened, "dp_1", 1_000)).await, ToldVerdict::Repeated);
        assert_eq!(state(&world, &paid).await, "charged_back");
        assert_eq!(world.spendable(&paid.wallet).await, 300, "what is left stays the customer's");
        assert_eq!(world.posted(&format!("chargeback_receivable:{}:EUR", paid.customer)).await, 1_000);
        assert_eq!(world.posted("gateway:sandbox:clearing:EUR").await, 0);
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telling_that_does_not_fit_changes_nothing() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        let declined = order(&paid.wallet, 50, "tok_decline", "declined");
        let ask = Ask::post("/v1/fiat-ins", &declined).bearer(&world.one_time("alice", None));
        let reply = world.insist(ask).await.json();
        let failed = Paid { charge: reply["charge"]["id"].as_str().unwrap().to_owned(), ..paid.clone() };
        let nobodys = Paid { charge: "chg_nobody".to_owned(), ..paid.clone() };
        assert_eq!(world.refund(&paid, 300).await.status, 201);
        let tellings = [
            (&nobodys, (Turn::Opened, "dp_1", 10), "unknown_reference"),
            (&failed, (Turn::Opened, "dp_2", 10), "not_collected"),
            (&failed, (Turn::Lost, "dp_3", 10), "not_collected"),
            (&paid, (Turn::Opened, "dp_4", 1_001), "wrong_amount"),
            (&paid, (Turn::Lost, "dp_5", 701), "exceeds_collected"),
        ];
        for (paid, telling, code) in tellings {
            assert_eq!(told(&world, paid, telling).await, ToldVerdict::Unfit(code), "{telling:?}");
        }
        assert_eq!(world.standing(&paid).await, ("partially_refunded".to_owned(), 300, 0));
        // Two disputes of one charge: it is contested until both have ended.
        for id in ["dp_6", "dp_7"] {
            assert_eq!(told(&world, &paid, (Turn::Opened, id, 300)).await, ToldVerdict::Done);
        }
        assert!(matches!(told(&world, &paid, (Turn::Won, "dp_6", 299)).await, ToldVerdict::Unfit(_)));
        assert!(turn(&world, &paid, (Turn::Won, "dp_6", 300)).await);
        assert_eq!(state(&world, &paid).await, "disputed");
        assert!(turn(&world, &paid, (Turn::Won, "dp_7", 300)).await);
        assert_eq!(state(&world, &paid).await, "partially_refunded");
        assert_eq!(world.spendable(&paid.wallet).await, 700);
        world.assert_refunds_agree().await;
    }
}
