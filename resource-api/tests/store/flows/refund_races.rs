//! N9: refunds at once, and refunds against whatever else wants the same money.

use chassis::testing::TestDatabase;
use futures_util::future::{join, join_all};
use serde_json::json;

use super::disputes::{Turn, turn};
use super::refunded::Paid;
use super::world::{Ask, Reply, World};

fn with_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

/// Sends it again while the answer is "try again", as a client would.
async fn insist(world: &World, ask: Ask) -> Reply {
    for _ in 0..5 {
        let reply = world.call(ask.clone()).await;
        if reply.status != 503 {
            return reply;
        }
    }
    world.call(ask).await
}

#[tokio::test(flavor = "multi_thread")]
async fn n9_of_50_parts_at_once_only_as_many_go_back_as_fit() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        // More in the wallet than the order brought: it is the order that limits.
        world.paid_again((&paid.customer, &paid.wallet), 5_000).await;
        let asks = (0..50).map(|_| world.refund_ask(&paid, &json!({"amount": 90, "reason": "x"})));
        let replies = join_all(asks.map(|ask| insist(&world, ask))).await;
        assert_eq!(
            (with_status(&replies, 201), with_status(&replies, 422)),
            (11, 39),
            "{:?}",
            replies[0].text
        );
        for refused in replies.iter().filter(|reply| reply.status == 422) {
            assert_eq!(refused.code(), "amount_exceeds_refundable");
        }
        assert_eq!(world.standing(&paid).await, ("partially_refunded".to_owned(), 990, 0));
        assert_eq!(world.spendable(&paid.wallet).await, 5_010);
        assert_eq!(world.sandbox.refunds().iter().map(|refund| refund.amount).sum::<i64>(), 990);
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n9_of_50_full_refunds_at_once_one_goes_back() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        world.paid_again((&paid.customer, &paid.wallet), 5_000).await;
        let asks = (0..50).map(|_| world.refund_ask(&paid, &json!({"reason": "x"})));
        let replies = join_all(asks.map(|ask| insist(&world, ask))).await;
        assert_eq!((with_status(&replies, 201), with_status(&replies, 422)), (1, 49));
        assert_eq!(world.standing(&paid).await, ("refunded".to_owned(), 1_000, 0));
        assert_eq!((world.spendable(&paid.wallet).await, world.sandbox.refunds().len()), (5_000, 1));
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n4_one_key_50_times_is_one_refund_and_one_answer() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        let ask = world.refund_ask(&paid, &json!({"amount": 10, "reason": "x"}));
        let replies = join_all((0..50).map(|_| insist(&world, ask.clone()))).await;
        assert_eq!(replies[0].status, 201, "{}", replies[0].text);
        assert!(replies.iter().all(|reply| (reply.status, &reply.text) == (201, &replies[0].text)));
        assert_eq!(world.standing(&paid).await, ("partially_refunded".to_owned(), 10, 0));
        assert_eq!(world.sandbox.refunds().len(), 1);
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n9_a_refund_and_transfers_that_spend_the_wallet_never_spend_the_same_money() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        let (_, other) = world.customer("bob").await;
        let spend =
            json!({"source": paid.wallet, "destination": other, "money": {"amount": 300, "currency": "EUR"}});
        let transfers = (0..8).map(|number| {
            let ask = Ask::post("/v1/transfers", &spend).bearer(&world.client("backend"));
            insist(&world, ask.key(&format!("spend-{number}")))
        });
        let refunds =
            (0..4).map(|_| insist(&world, world.refund_ask(&paid, &json!({"amount": 250, "reason": "x"}))));
        let (spent, returned) = join(join_all(transfers), join_all(refunds)).await;
        let spent = 300 * i64::try_from(with_status(&spent, 201)).unwrap();
        for refused in returned.iter().filter(|reply| reply.status != 201) {
            assert_eq!((refused.status, refused.code().as_str()), (422, "insufficient_funds"));
        }
        let returned = 250 * i64::try_from(with_status(&returned, 201)).unwrap();
        let left = world.spendable(&paid.wallet).await;
        assert_eq!(left, 1_000 - spent - returned);
        assert!((0..250).contains(&left), "{left}");
        assert_eq!(world.spendable(&other).await, spent);
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n9_a_refund_and_a_dispute_at_once_end_in_one_story() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (customer, wallet) = world.customer("alice").await;
        for round in 0..6 {
            let paid: Paid = world.paid_again((&customer, &wallet), 1_000).await;
            let id = format!("dp_{round}");
            let (refund, opened) =
                join(world.refund(&paid, 400), turn(&world, &paid, (Turn::Opened, &id, 600))).await;
            let (state, refunded, held) = world.standing(&paid).await;
            assert!(opened, "a dispute is never missed");
            assert_eq!((state.as_str(), held), ("disputed", 0));
            match refund.status {
                201 => assert_eq!(refunded, 400),
                status => assert_eq!((status, refund.code().as_str(), refunded), (409, "not_refundable", 0)),
            }
            let (won, lost) =
                join(turn(&world, &paid, (Turn::Won, &id, 600)), turn(&world, &paid, (Turn::Lost, &id, 600)))
                    .await;
            assert!(won != lost, "one end of a dispute counts");
            let expected = match (lost, refunded) {
                (true, _) => "charged_back",
                (false, 0) => "completed",
                (false, _) => "partially_refunded",
            };
            assert_eq!(world.standing(&paid).await.0, expected);
        }
        world.assert_refunds_agree().await;
    }
}
