//! N9: refunds at once, and refunds against whatever else wants the same money.

use chassis::testing::TestDatabase;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::disputes::{Turn, turn};
use super::refunded::Paid;
use super::world::{Reply, World};

fn with_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

/// Refunds at once, one for each body; how many were accepted and how many refused for this reason, all having ended.
/// On a busy machine an end may be written only by the worker, so 202 is an acceptance too.
async fn race(world: &World, paid: &Paid, (body, times, code): (Value, usize, &str)) -> (usize, usize) {
    let asks = (0..times).map(|_| world.refund_ask(paid, &body));
    let replies = join_all(asks.map(|ask| world.insist(ask))).await;
    for refused in replies.iter().filter(|reply| reply.status >= 400) {
        assert_eq!((refused.status, refused.code().as_str()), (422, code), "{}", refused.text);
    }
    world.wait_for_all_refunds(paid).await;
    (with_status(&replies, 201) + with_status(&replies, 202), with_status(&replies, 422))
}

#[tokio::test(flavor = "multi_thread")]
async fn n9_of_50_parts_at_once_only_as_many_go_back_as_fit() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        // More in the wallet than the order brought: it is the order that limits.
        world.paid_again((&paid.customer, &paid.wallet), 5_000).await;
        let parts = (json!({"amount": 90, "reason": "x"}), 50, "amount_exceeds_refundable");
        assert_eq!(race(&world, &paid, parts).await, (11, 39));
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
        let all = (json!({"reason": "x"}), 50, "amount_exceeds_refundable");
        assert_eq!(race(&world, &paid, all).await, (1, 49));
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
        let replies = join_all((0..50).map(|_| world.insist(ask.clone()))).await;
        assert!([201, 202].contains(&replies[0].status), "{}", replies[0].text);
        let same = |reply: &Reply| (reply.status, &reply.text) == (replies[0].status, &replies[0].text);
        assert!(replies.iter().all(same));
        world.wait_for_all_refunds(&paid).await;
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
        let transfers = (0..8).map(|_| world.insist(world.transfer_ask(&paid, &other, 300)));
        let parts = (json!({"amount": 250, "reason": "x"}), 4, "insufficient_funds");
        let (spent, (returned, _)) = join(join_all(transfers), race(&world, &paid, parts)).await;
        let spent = 300 * i64::try_from(with_status(&spent, 201)).unwrap();
        let returned = 250 * i64::try_from(returned).unwrap();
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
        for round in 0..5 {
            let paid: Paid = world.paid_again((&customer, &wallet), 1_000).await;
            let id = format!("dp_{round}");
            let (refund, opened) =
                join(world.refund(&paid, 400), turn(&world, &paid, (Turn::Opened, &id, 600))).await;
            world.wait_for_all_refunds(&paid).await;
            let (state, refunded, held) = world.standing(&paid).await;
            assert!(opened, "a dispute is never missed");
            assert_eq!((state.as_str(), held), ("disputed", 0));
            match refund.status {
                201 | 202 => assert_eq!(refunded, 400),
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
