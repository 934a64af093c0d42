//! Amounts, balances and members that a caller must not set: N6, N7, N8, N10, N22.

use resource_api::domain::ledger::NewHold;
use resource_api::ledger;
use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{Call, Customer, World};

/// A transfer by the partner's backend, its body as text.
async fn transfer_text(world: &World, text: String) -> Call {
    let call = world.call_as("ta/backend", "POST", "/v1/transfers", Some(&json!({}))).await;
    call.with_body(text)
}

async fn transfer(world: &World, source: &str, destination: &str, amount: i64) -> crate::world::Reply {
    let body = World::transfer(source, destination, amount);
    world.send(world.call_as("ta/backend", "POST", "/v1/transfers", Some(&body)).await).await
}

async fn transfers_are_empty(world: &World) -> bool {
    world.get_as("ta/backend", "/v1/transfers").await["data"] == json!([])
}

async fn funded(world: &World, amount: i64) -> (Customer, Customer) {
    let (rich, poor) = (world.customer().await, world.customer().await);
    world.fund(&rich, amount).await;
    (rich, poor)
}

flows! {
    async fn an_amount_that_is_no_positive_integer_of_a_known_currency_is_refused(world: &mut World) {
        let (rich, poor) = funded(world, 10_000).await;
        let text = World::transfer(&rich.wallet, &poor.wallet, 100).to_string();
        let with = |from: &str, to: &str| {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            changed
        };
        for twin in ["1.5", "100.0", "1e2", "\"100\"", "null", "18446744073709551616", "+1", "0x64"] {
            let reply = world.send(transfer_text(world, with("\"amount\":100", &format!("\"amount\":{twin}"))).await).await;
            assert_eq!(reply.status, 400, "{twin}: {}", reply.text);
        }
        for (amount, code) in [("0", "amount_not_positive"), ("-1", "amount_not_positive"), ("9223372036854775807", "amount_too_large")] {
            let reply = world.send(transfer_text(world, with("\"amount\":100", &format!("\"amount\":{amount}"))).await).await;
            reply.refused(422, code);
            reply.points_at("/money/amount");
        }
        for currency in ["eur", "EURO", "XXX", "BTC", "", " EUR"] {
            let reply = world.send(transfer_text(world, with("\"EUR\"", &format!("\"{currency}\""))).await).await;
            reply.refused(422, "unknown_currency");
            reply.points_at("/money/currency");
        }
        for currency in ["JPY", "KWD", "USD"] {
            let reply = world.send(transfer_text(world, with("\"EUR\"", &format!("\"{currency}\""))).await).await;
            reply.refused(422, "currency_mismatch");
        }
        assert!(transfers_are_empty(world).await);
        assert_eq!(world.available(&rich).await, 10_000);
    }

    async fn a_minor_unit_is_the_currencys_own(world: &mut World) {
        let customer = world.customer().await;
        world.verified(&customer, 3).await;
        for (currency, amount) in [("JPY", 150), ("KWD", 1_234)] {
            let wallet = world.open_wallet("ta", &customer.customer_id, currency).await;
            let mut body = world.payment(&customer, amount, "tok_success");
            body["entity_id"] = json!(wallet);
            body["money"]["currency"] = json!(currency);
            let paid = world.send(world.order_call(&customer, &body).await).await.expect(201);
            assert_eq!(paid["state"], "completed", "{paid}");
            let read = world.get_as("ta/backend", &format!("/v1/entities/{wallet}")).await;
            assert_eq!(read.pointer("/balances/available"), Some(&json!(amount)));
        }
    }

    async fn parallel_transfers_never_overdraw(world: &mut World) {
        let (rich, poor) = funded(world, 1_000).await;
        let mut calls = Vec::new();
        for _ in 0..64 {
            let body = World::transfer(&rich.wallet, &poor.wallet, 300);
            calls.push(world.call_as("ta/backend", "POST", "/v1/transfers", Some(&body)).await);
        }
        let watched = world.race(calls);
        let balances = async {
            let mut lowest = i64::MAX;
            for _ in 0..20 {
                lowest = lowest.min(world.available(&rich).await);
            }
            lowest
        };
        let (replies, lowest) = futures_util::future::join(watched, balances).await;
        assert_eq!(with_status(&replies, 201), 3);
        for reply in replies.iter().filter(|reply| reply.status != 201) {
            reply.refused(422, "insufficient_funds");
        }
        assert!(lowest >= 100, "a read saw {lowest}");
        assert_eq!((world.available(&rich).await, world.available(&poor).await), (100, 900));
    }

    async fn crossing_transfers_end_and_lose_nothing(world: &mut World) {
        let (one, two) = (world.customer().await, world.customer().await);
        world.fund(&one, 5_000).await;
        world.fund(&two, 5_000).await;
        let mut calls = Vec::new();
        for index in 0..32 {
            let (from, to) = if index % 2 == 0 { (&one, &two) } else { (&two, &one) };
            let body = World::transfer(&from.wallet, &to.wallet, 10 + index);
            calls.push(world.call_as("ta/backend", "POST", "/v1/transfers", Some(&body)).await);
        }
        let replies = world.race(calls).await;
        assert_eq!(with_status(&replies, 201), 32);
        assert_eq!(world.available(&one).await + world.available(&two).await, 10_000);
    }

    async fn held_money_is_not_available(world: &mut World) {
        let (rich, poor) = funded(world, 5_000).await;
        let partner = rich.partner_id.clone();
        let account = ledger::entity_account(&rich.wallet);
        let hold = async |index: usize| {
            let new = NewHold {
                partner_id: partner.clone(),
                hold_id: format!("hld_{index}"),
                reference: format!("test:{index}"),
                account_id: account.clone(),
                counter_account_id: None,
                amount: 1_000,
                currency: "EUR".to_owned(),
            };
            let now = world.now();
            let held = world.api.app.db.write(move |tx| {
                let new = new.clone();
                Box::pin(async move { ledger::hold(tx, &[new], now).await })
            });
            held.await.expect("a verdict")[0].is_ok()
        };
        let held = futures_util::future::join_all((0..6).map(hold)).await;
        assert_eq!(held.iter().filter(|held| **held).count(), 5);
        assert_eq!(world.available(&rich).await, 0);
        transfer(world, &rich.wallet, &poor.wallet, 1).await.refused(422, "insufficient_funds");
        let read = world.get_as("ta/backend", &format!("/v1/entities/{}", rich.wallet)).await;
        assert_eq!(read.pointer("/balances/posted"), Some(&json!(5_000)), "{read}");
    }

    async fn a_transfer_to_oneself_or_to_a_stranger_books_nothing(world: &mut World) {
        let (rich, _) = funded(world, 5_000).await;
        let stranger = world.customer_of("tb").await;
        transfer(world, &rich.wallet, &rich.wallet, 100).await.refused(422, "same_entity");
        for foreign in [stranger.wallet.as_str(), "ent_unknown", ""] {
            let reply = transfer(world, &rich.wallet, foreign, 100).await;
            reply.refused(404, "not_found");
        }
        let unknown = transfer(world, "ent_unknown", &rich.wallet, 100).await;
        let foreign = transfer(world, &stranger.wallet, &rich.wallet, 100).await;
        assert_eq!((unknown.status, &unknown.body["code"], &unknown.body["detail"]),
            (foreign.status, &foreign.body["code"], &foreign.body["detail"]));
        foreign.refused(404, "not_found");
        assert!(transfers_are_empty(world).await);
    }

    async fn a_blocked_or_closed_wallet_takes_and_gives_nothing(world: &mut World) {
        let (rich, poor) = funded(world, 5_000).await;
        for (status, code) in [("blocked", "entity_blocked"), ("closed", "entity_closed")] {
            set_wallet(world, &poor, status).await;
            transfer(world, &rich.wallet, &poor.wallet, 100).await.refused(422, code);
            set_wallet(world, &poor, "activated").await;
            set_wallet(world, &rich, status).await;
            transfer(world, &rich.wallet, &poor.wallet, 100).await.refused(422, code);
            let paid = world.order(&rich, 100, "tok_success").await;
            paid.refused(422, code);
            set_wallet(world, &rich, "activated").await;
        }
        assert!(transfers_are_empty(world).await);
        assert_eq!(world.available(&rich).await, 5_000);
    }

    async fn members_that_only_we_may_set_are_refused(world: &mut World) {
        let customer = world.customer().await;
        let forbidden = ["balance", "balances", "status", "tenant_id", "partner_id", "role", "kyc_level", "id", "sub", "version"];
        let bodies: [(&str, Value); 4] = [
            ("/v1/customers", json!({ "external_id": world.unique("x"), "kind": "person" })),
            ("/v1/entities", json!({ "kind": "customer", "owner": customer.customer_id, "currency": "CHF" })),
            ("/v1/transfers", World::transfer(&customer.wallet, "ent_x", 1)),
            ("/v1/webhook-endpoints", json!({ "url": "http://127.0.0.1:9/hook" })),
        ];
        for (path, body) in bodies {
            for member in forbidden {
                let mut widened = body.clone();
                widened[member] = json!("1");
                let reply = world.send(world.call_as("ta/backend", "POST", path, Some(&widened)).await).await;
                assert_eq!(reply.status, 400, "{path} {member}: {}", reply.text);
            }
        }
        let users = format!("{}/v1/users", world.issuer);
        let token = world.token("ta/backend", "users:write").await;
        for member in ["status", "sub", "role"] {
            let mut body = json!({ "external_id": world.unique("x") });
            body[member] = json!("disabled");
            assert_eq!(world.send(Call::post(users.as_str(), &body).bearer(&token)).await.status, 400, "{member}");
        }
    }
}

/// Sets a wallet's status as staff would.
async fn set_wallet(world: &World, customer: &Customer, status: &'static str) {
    let (partner, wallet) = (customer.partner_id.clone(), customer.wallet.clone());
    let written = world.api.app.db.write(move |tx| {
        let (partner, wallet) = (partner.clone(), wallet.clone());
        Box::pin(async move {
            let update = "UPDATE entity SET status = $1 WHERE partner_id = $2 AND entity_id = $3";
            chassis::on!(tx, conn => sqlx::query(update).bind(status).bind(partner).bind(wallet)
                .execute(conn).await.map(drop))
            .map_err(chassis::while_doing("set a wallet"))
        })
    });
    written.await.expect("the status is set");
}
