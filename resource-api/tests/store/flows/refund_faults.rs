//! What the gateway may do to a refund, and what a crash leaves of one: nothing is given back twice, nothing is
//! declared failed by silence, and the money stays set aside until it is known.

use chassis::testing::TestDatabase;
use resource_api::gateway::{GatewayConfig, HttpGateway, RefundAnswer, RefundGateway, RefundOrder};
use resource_api::operations::refunds::{RefundTold, SettleIds, ToldVerdict, refund_told};
use resource_api::sandbox::{EVERY_CHARGE, RefundStep};
use serde_json::{Value, json};

use super::refunded::Paid;
use super::world::{World, loopback, start_sandbox};

/// The gateway tells of a refund by itself.
async fn tell(world: &World, (paid, id, amount): (&Paid, &Value, i64), said: RefundAnswer) -> ToldVerdict {
    let order = RefundOrder {
        refund_id: id.as_str().unwrap().to_owned(),
        charge_id: paid.charge.clone(),
        money: keys::token::Money { amount, currency: "EUR".to_owned() },
    };
    let ids = SettleIds::draw(&world.app.platform);
    let told = RefundTold { order, said, ids, now: world.app.platform.now() };
    world
        .write(move |tx| {
            let told = told.clone();
            Box::pin(async move { refund_told(tx, &told).await })
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_refund_is_answered_202_held_and_found_out_later() {
    const SCRIPTS: [&[RefundStep]; 6] = [
        &[RefundStep::Hang, RefundStep::Succeed],
        &[RefundStep::SucceedThenDrop],
        &[RefundStep::SucceedThenServerError],
        &[RefundStep::SucceedThenHang],
        &[RefundStep::Pending, RefundStep::Succeed],
        &[RefundStep::Garbage, RefundStep::Drop, RefundStep::ServerError, RefundStep::Succeed],
    ];
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(2_000).await;
        for (index, script) in SCRIPTS.into_iter().enumerate() {
            let before = world.spendable(&paid.wallet).await;
            world.sandbox.script_refunds(&paid.charge, script.to_vec());
            let ask = world.refund_ask(&paid, &json!({"amount": 100, "reason": "x"}));
            let first = world.insist(ask.clone()).await;
            let told = first.json();
            assert_eq!((first.status, told["state"].as_str()), (202, Some("unknown")), "{}", first.text);
            assert!(first.headers.contains_key("retry-after") && first.headers.contains_key("location"));
            let done = i64::try_from(index).unwrap() * 100;
            let (state, refunded, held) = world.standing(&paid).await;
            assert_eq!((refunded, held), (done, 100), "{state}");
            assert_eq!(world.spendable(&paid.wallet).await, before - 100, "set aside");
            world.wait_for_refund(&paid, &told["id"], "succeeded").await;
            assert_eq!(world.standing(&paid).await, ("partially_refunded".to_owned(), done + 100, 0));
            assert_eq!(world.spendable(&paid.wallet).await, before - 100);
            let again = world.insist(ask.bearer(&world.client("backend"))).await;
            assert_eq!((again.status, &again.text), (202, &first.text), "the first answer stays the answer");
        }
        assert_eq!(world.sandbox.refunds().len(), SCRIPTS.len(), "each went back once");
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decline_gives_the_money_back_to_the_wallet() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        world.sandbox.script_refunds(EVERY_CHARGE, vec![RefundStep::Decline("instrument_closed".to_owned())]);
        let reply = world.refund(&paid, 400).await;
        let told = reply.json();
        assert_eq!((reply.status, told["state"].as_str()), (201, Some("failed")), "{}", reply.text);
        assert_eq!(told["decline_code"], "instrument_closed");
        assert_eq!(world.standing(&paid).await, ("completed".to_owned(), 0, 0));
        assert_eq!(world.spendable(&paid.wallet).await, 1_000);
        let late = RefundAnswer::Succeeded { provider_ref: "late".to_owned() };
        assert_eq!(
            tell(&world, (&paid, &told["id"], 400), late).await,
            ToldVerdict::Unfit("ended_otherwise")
        );
        assert_eq!(world.standing(&paid).await.1, 0, "a definite end is never overwritten");
        let events = world.events().await;
        assert!(
            events.iter().any(|event| event["type"] == "refund.failed"
                && event["data"]["decline_code"] == "instrument_closed")
        );
        world.sandbox.script_refunds(EVERY_CHARGE, Vec::new());
        assert_eq!(world.refund(&paid, 1_000).await.status, 201, "all of it is there again");
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_is_never_found_out_is_left_to_a_person_and_never_failed() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        world.sandbox.script_refunds(&paid.charge, vec![RefundStep::ServerError]);
        let told = world.refund(&paid, 400).await.json();
        world.clock.advance(86_401);
        world.wait_for_refund(&paid, &told["id"], "manual").await;
        assert_eq!(world.standing(&paid).await, ("completed".to_owned(), 0, 400));
        assert_eq!(world.spendable(&paid.wallet).await, 600);
        let events = world.events().await;
        assert_eq!(events.iter().filter(|event| event["type"] == "refund.manual").count(), 1);
        world.assert_refunds_agree().await;
        // The gateway may still tell what became of it.
        let said = RefundAnswer::Declined { code: "refund_declined".to_owned(), provider_ref: None };
        let wrong = tell(&world, (&paid, &told["id"], 399), said.clone()).await;
        assert_eq!(wrong, ToldVerdict::Unfit("wrong_amount"));
        let nobodys = tell(&world, (&paid, &json!("rfd_nobody"), 400), said.clone()).await;
        assert_eq!(nobodys, ToldVerdict::Unfit("unknown_reference"));
        for expected in [ToldVerdict::Done, ToldVerdict::Repeated] {
            assert_eq!(tell(&world, (&paid, &told["id"], 400), said.clone()).await, expected);
        }
        assert_eq!(world.standing(&paid).await, ("completed".to_owned(), 0, 0));
        assert_eq!(world.spendable(&paid.wallet).await, 1_000);
        world.assert_refunds_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_holder_died_at_any_point_is_settled_once() {
    // What a crash leaves: after A, after B0, and after the gateway paid but before C.
    const NEVER_SENT: &str =
        "UPDATE refund SET state = 'held', attempt = 0, lease_holder = NULL, due_at_ms = 0
        WHERE settled_at_s IS NULL";
    const LEASED: &str =
        "UPDATE refund SET state = 'submitting', attempt = 1, lease_holder = 'gone', due_at_ms = 0
        WHERE settled_at_s IS NULL";
    let left =
        [(NEVER_SENT, RefundStep::Drop), (LEASED, RefundStep::Drop), (LEASED, RefundStep::SucceedThenDrop)];
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        for (index, (sql, step)) in left.iter().enumerate() {
            world.sandbox.script_refunds(&paid.charge, vec![step.clone(), RefundStep::Succeed]);
            let ask = world.refund_ask(&paid, &json!({"amount": 100, "reason": "x"}));
            assert_eq!(world.insist(ask.clone()).await.status, 202);
            // The process died before it could record an answer.
            world
                .execute(
                    "UPDATE claim SET answer_status = NULL, answer_body = NULL WHERE resource_id IN
                        (SELECT refund_id FROM refund WHERE settled_at_s IS NULL)",
                )
                .await;
            world.execute(sql).await;
            let again = world.insist(ask.clone()).await;
            let told = again.json();
            assert_eq!((again.status, told["state"].as_str()), (201, Some("succeeded")), "{}", again.text);
            assert_eq!(world.insist(ask).await.text, again.text);
            let done = i64::try_from(index + 1).unwrap() * 100;
            assert_eq!(world.standing(&paid).await, ("partially_refunded".to_owned(), done, 0));
            assert_eq!(world.sandbox.refunds().len(), index + 1, "given back once");
        }
        world.assert_refunds_agree().await;
    }
}

#[tokio::test]
async fn the_adapter_tells_definite_ends_and_calls_everything_else_unknown() {
    let (sandbox, url) = start_sandbox().await;
    let mut config = GatewayConfig::at(url.parse().unwrap());
    config.deadline_ms = 300;
    let gateway = HttpGateway::new(loopback(), config);
    let order = |refund_id: &str, amount: i64| RefundOrder {
        refund_id: refund_id.to_owned(),
        charge_id: "chg_none".to_owned(),
        money: keys::token::Money { amount, currency: "EUR".to_owned() },
    };
    assert_eq!(gateway.find_refund(&order("rfd_1", 5)).await, None);
    let declined = gateway.refund(&order("rfd_1", 5)).await;
    assert!(
        matches!(&declined, RefundAnswer::Declined { code, .. } if code == "charge_not_refundable"),
        "{declined:?}"
    );
    assert_eq!(gateway.find_refund(&order("rfd_1", 5)).await, Some(declined));
    let other = gateway.refund(&order("rfd_1", 6)).await;
    assert!(matches!(other, RefundAnswer::Unknown(_)), "the same key with another amount");
    let steps = [
        RefundStep::Hang,
        RefundStep::Drop,
        RefundStep::ServerError,
        RefundStep::Pending,
        RefundStep::Garbage,
        RefundStep::Decline("try_again_later".to_owned()),
    ];
    for (index, step) in steps.into_iter().enumerate() {
        sandbox.script_refunds(EVERY_CHARGE, vec![step.clone()]);
        let said = gateway.refund(&order(&format!("rfd_x{index}"), 5)).await;
        assert!(matches!(said, RefundAnswer::Unknown(_)), "{step:?}: {said:?}");
    }
    let absent = HttpGateway::new(loopback(), GatewayConfig::at("http://127.0.0.1:9".parse().unwrap()));
    assert!(matches!(absent.refund(&order("rfd_9", 5)).await, RefundAnswer::Unknown(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_are_not_sound_when_refunds_do_not_agree_with_them() {
    const SPOILT: [(&str, &str); 4] = [
        ("UPDATE fiat_in SET refunded = refunded + 1", "UPDATE fiat_in SET refunded = refunded - 1"),
        ("UPDATE fiat_in SET refund_held = 5", "UPDATE fiat_in SET refund_held = 0"),
        ("UPDATE refund SET state = 'failed'", "UPDATE refund SET state = 'succeeded'"),
        ("UPDATE ledger_hold SET amount = amount + 1", "UPDATE ledger_hold SET amount = amount - 1"),
    ];
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let paid = world.paid(1_000).await;
        assert_eq!(world.refund(&paid, 400).await.status, 201);
        for (spoil, mend) in SPOILT {
            world.execute(spoil).await;
            let report = resource_api::ledger::verify(&world.app.db).await.unwrap();
            assert!(!report.is_sound(), "{spoil}");
            world.execute(mend).await;
        }
        world.assert_refunds_agree().await;
    }
}
