//! Refunds end to end: in parts, refused, repeated, read; and refunds of money that came too late.

use chassis::testing::TestDatabase;
use futures_util::future::join_all;
use resource_api::domain::ledger::{AccountId, Leg, NewPosting, SystemAccount};
use resource_api::domain::money::Money;
use resource_api::ledger;
use resource_api::operations::refunds::{AutomaticIds, LateMoney, Take, execute, open_automatic};
use resource_api::sandbox::{RefundStep, Step};
use serde_json::{Value, json};

use super::refunded::Paid;
use super::world::{Ask, World, order};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_back_in_parts_until_nothing_is_left() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        let first = world.refund(&paid, 300).await;
        let told = first.json();
        assert_eq!((first.status, told["state"].as_str()), (201, Some("succeeded")), "{}", first.text);
        assert_eq!(told["money"], json!({"amount": 300, "currency": "EUR"}));
        assert_eq!((&told["kind"], &told["requested_by"]), (&json!("requested"), &json!("backend")));
        assert_eq!(world.standing(&paid).await, ("partially_refunded".to_owned(), 300, 0));
        world.clock.advance(1);
        let rest = world.insist(world.refund_ask(&paid, &json!({ "reason": "the rest" }))).await;
        assert_eq!((rest.status, &rest.json()["money"]["amount"]), (201, &json!(700)), "{}", rest.text);
        assert_eq!(world.standing(&paid).await, ("refunded".to_owned(), 1_000, 0));
        assert_eq!(world.spendable(&paid.wallet).await, 0);
        for amount in [1, 1_000] {
            let more = world.refund(&paid, amount).await;
            assert_eq!((more.status, more.code().as_str()), (422, "amount_exceeds_refundable"));
            assert!(more.json()["detail"].as_str().unwrap().starts_with("0 minor units"), "{}", more.text);
        }
        let list = world.read(&paid.path()).await;
        let ids: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|refund| &refund["id"]).collect();
        assert_eq!(ids, [&rest.json()["id"], &told["id"]]);
        let location = first.headers["location"].to_str().unwrap();
        assert_eq!(world.read(location).await, told);
        let events = world.events().await;
        let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        for (kind, times) in [
            ("refund.created", 2),
            ("refund.succeeded", 2),
            ("fiat_in.partially_refunded", 1),
            ("fiat_in.refunded", 1),
        ] {
            assert_eq!(kinds.iter().filter(|known| **known == kind).count(), times, "{kind} in {kinds:?}");
        }
        assert!(!json!(events).to_string().contains("the rest"), "a caller's words are in no event");
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_refund_leaves_nothing_and_its_key_unused() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        let nothing = Paid { fiat_in: "fin_nobody".to_owned(), ..paid.clone() };
        let asked = |body: Value| world.refund_ask(&paid, &body);
        let cases = [
            (world.refund_ask(&nothing, &json!({"reason": "x"})), 404, "not_found"),
            (asked(json!({"amount": 1_001, "reason": "x"})), 422, "amount_exceeds_refundable"),
            (asked(json!({"amount": i64::MAX, "reason": "x"})), 422, "amount_exceeds_refundable"),
            (asked(json!({"amount": 0, "reason": "x"})), 422, "amount_not_positive"),
            (asked(json!({"amount": -5, "reason": "x"})), 422, "amount_not_positive"),
            (asked(json!({"amount": 5, "reason": "  "})), 422, "reason_required"),
            (asked(json!({"amount": 5})), 400, ""),
            (asked(json!({"amount": "5", "reason": "x"})), 400, ""),
            (asked(json!({"amount": 5.5, "reason": "x"})), 400, ""),
            (asked(json!({"amount": 5, "reason": "x", "state": "succeeded"})), 400, ""),
        ];
        for (ask, status, code) in cases {
            let reply = world.insist(ask.clone()).await;
            assert_eq!(reply.status, status, "{}: {}", ask.body, reply.text);
            assert!(code.is_empty() || reply.code() == code, "{}: {}", ask.body, reply.text);
        }
        let other = world.insist(asked(json!({"reason": "x"})).bearer(&world.client("other"))).await;
        assert_eq!((other.status, other.code().as_str()), (404, "not_found"));
        let user = world.insist(asked(json!({"reason": "x"})).bearer(&world.user("alice"))).await;
        assert_eq!((user.status, user.code().as_str()), (403, "wrong_token_kind"));
        assert_eq!(world.standing(&paid).await, ("completed".to_owned(), 0, 0));
        let ask = asked(json!({"amount": 1_001, "reason": "x"}));
        assert_eq!(world.insist(ask.clone()).await.status, 422);
        let right = ask.raw(&json!({"amount": 1_000, "reason": "x"}).to_string());
        assert_eq!(world.insist(right).await.status, 201, "the key was unused");
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_money_that_is_there_goes_back() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        let (_, other) = world.customer("bob").await;
        assert_eq!(world.insist(world.transfer_ask(&paid, &other, 600)).await.status, 201);
        let ask = world.refund_ask(&paid, &json!({"amount": 500, "reason": "x"}));
        let refused = world.insist(ask.clone()).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "insufficient_funds"),
            "{}",
            refused.text
        );
        assert_eq!(world.standing(&paid).await, ("completed".to_owned(), 0, 0));
        assert_eq!(world.spendable(&paid.wallet).await, 400);
        world.paid_again((&paid.customer, &paid.wallet), 100).await;
        assert_eq!(world.insist(ask).await.status, 201, "the key was unused");
        assert_eq!(world.spendable(&paid.wallet).await, 0);
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_not_paid_in_and_a_wallet_that_is_blocked_are_not_refunded() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        for (token, state) in [("tok_decline", "failed"), ("tok_hang", "processing")] {
            world.sandbox.script("tok_hang", vec![Step::ServerError]);
            let body = order(&paid.wallet, 100, token, token);
            let placed = Ask::post("/v1/fiat-ins", &body).bearer(&world.one_time("alice", None));
            let placed = world.insist(placed).await.json();
            assert_eq!(placed["state"], state);
            let open = Paid { fiat_in: placed["id"].as_str().unwrap().to_owned(), ..paid.clone() };
            let refused = world.refund(&open, 100).await;
            assert_eq!((refused.status, refused.code().as_str()), (409, "not_refundable"), "{state}");
        }
        world.execute("UPDATE entity SET status = 'blocked'").await;
        let refused = world.refund(&paid, 100).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "entity_blocked"));
        world.execute("UPDATE entity SET status = 'activated'").await;
        world.execute("UPDATE customer SET status = 'restricted'").await;
        assert_eq!(world.refund(&paid, 100).await.status, 201, "it is the partner who gives it back");
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_are_repeated_read_and_listed_by_their_own_partner_only() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        let ask = world.refund_ask(&paid, &json!({"amount": 10, "reason": "x"}));
        let first = world.insist(ask.clone()).await;
        assert_eq!(world.insist(ask.clone()).await.text, first.text);
        let changed = ask.raw(&json!({"amount": 11, "reason": "x"}).to_string());
        assert_eq!(world.insist(changed).await.code(), "idempotency_key_reused");
        world.clock.advance(1);
        join_all((0..3).map(|_| world.refund(&paid, 20))).await;
        let page = world.read(&format!("{}?limit=3", paid.path())).await;
        assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (3, &json!(true)));
        let next = format!("{}?limit=3&cursor={}", paid.path(), page["next_cursor"].as_str().unwrap());
        let last = world.read(&next).await;
        assert_eq!((&last["data"][0]["id"], &last["has_more"]), (&first.json()["id"], &json!(false)));
        let one = format!("{}/{}", paid.path(), first.json()["id"].as_str().unwrap());
        for path in [one.as_str(), &paid.path()] {
            for token in [world.client("other"), world.user("alice")] {
                let status = world.insist(Ask::get(path).bearer(&token)).await.status;
                assert!([403, 404].contains(&status), "{path}: {status}");
            }
        }
        let elsewhere = one.replace(&paid.fiat_in, "fin_other");
        assert_eq!(world.insist(Ask::get(&elsewhere).bearer(&world.client("backend"))).await.status, 404);
    }
}

/// An order that was cancelled while its charge was on its way, and whose charge succeeded all the same: its money
/// is in the suspense account.
async fn late(world: &World, amount: i64) -> Paid {
    let (customer, wallet) = world.customer("alice").await;
    world.sandbox.script("tok_late", vec![Step::CaptureThenDrop]);
    let body = order(&wallet, amount, "tok_late", "late");
    let told =
        world.insist(Ask::post("/v1/fiat-ins", &body).bearer(&world.one_time("alice", None))).await.json();
    world.execute("UPDATE charge SET state = 'captured', settled_at_s = 1").await;
    world.execute("UPDATE fiat_in SET state = 'cancelled'").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Paid { fiat_in: text(&told["id"]), charge: text(&told["charge"]["id"]), wallet, customer }
}

/// Books the late money and opens its refund, as one commit; whether it was opened now.
async fn open_late(world: &World, paid: &Paid, (amount, booked): (i64, bool)) -> (AutomaticIds, bool) {
    let ids = AutomaticIds::draw(&world.app.platform);
    let (paid, drawn, now) = (paid.clone(), ids.clone(), world.app.platform.now());
    let opened = world
        .write(move |tx| {
            let (paid, ids) = (paid.clone(), drawn.clone());
            Box::pin(async move {
                let system = |account| AccountId::system(account, "EUR");
                let posting = NewPosting {
                    partner_id: "acme".to_owned(),
                    txn_id: "txn_late".to_owned(),
                    reference: format!("charge:{}:late", paid.charge),
                    kind: "late_capture",
                    currency: "EUR".to_owned(),
                    legs: vec![
                        Leg::debit(system(SystemAccount::GatewayClearing("sandbox")), amount),
                        Leg::credit(system(SystemAccount::Suspense), amount),
                    ],
                    takes_hold: None,
                    reverses: None,
                };
                if booked {
                    ledger::post(tx, &[posting], now).await?.remove(0).unwrap();
                }
                let late = LateMoney {
                    fiat_in_id: &paid.fiat_in,
                    charge_id: &paid.charge,
                    provider: "sandbox",
                    money: Money { amount, currency: "EUR".parse().unwrap() },
                    reason: "captured_after_cancellation",
                    due_at_ms: now.plus(10).0 * 1_000,
                    now,
                };
                open_automatic(tx, late, &ids).await
            })
        })
        .await;
    (ids, opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_came_too_late_goes_back_once_and_by_itself() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = late(&world, 700).await;
        let (ids, opened) = open_late(&world, &paid, (700, true)).await;
        assert!(opened);
        assert!(!open_late(&world, &paid, (700, false)).await.1, "a charge has one automatic refund");
        assert_eq!(world.standing(&paid).await, ("cancelled".to_owned(), 0, 700));
        assert_eq!(world.posted("suspense:EUR").await, 700);
        let told = execute(&world.app, &ids.refund_id, Take::Held).await.unwrap().unwrap();
        assert_eq!(told.status, 201, "{}", told.body);
        assert_eq!(world.standing(&paid).await, ("cancelled".to_owned(), 700, 0));
        assert_eq!(
            (world.posted("suspense:EUR").await, world.posted("gateway:sandbox:clearing:EUR").await),
            (0, 0)
        );
        let told = world.read(&format!("{}/{}", paid.path(), ids.refund_id)).await;
        assert_eq!((&told["kind"], &told["requested_by"]), (&json!("automatic"), &Value::Null));
        assert_eq!(world.refund(&paid, 1).await.code(), "not_refundable");
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_is_sent_back_by_the_worker_also_when_the_gateway_is_silent_first() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = late(&world, 700).await;
        world.sandbox.script_refunds(&paid.charge, vec![RefundStep::Pending, RefundStep::SucceedThenDrop]);
        let (ids, _) = open_late(&world, &paid, (700, true)).await;
        world.wait_for_refund(&paid, &json!(ids.refund_id), "succeeded").await;
        assert_eq!(world.posted("suspense:EUR").await, 0);
        assert_eq!(world.sandbox.refunds().len(), 1);
        world.assert_refunds_agree().await;
    }
}
