//! Who may act, as the payments API knows it from the authorization server: soon, and never on old news.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::world::{Call, Customer, World, eventually};

/// Within this a change at the authorization server counts at the payments API.
const SOON: Duration = Duration::from_secs(1);

async fn set_client(world: &World, client: &str, verb: &str) {
    let token = world.token("platform/admin", "platform:admin clients:write").await;
    let url = format!("{}/v1/clients/{}/{verb}", world.issuer, world.client(client).client_id);
    world.send(Call::post(url, &json!({})).bearer(&token)).await.expect(200);
}

async fn set_partner(world: &World, client: &str, verb: &str) {
    let token = world.token("platform/admin", "platform:admin partners:write").await;
    let url = format!("{}/v1/partners/{}/{verb}", world.issuer, world.client(client).partner_id);
    world.send(Call::post(url, &json!({})).bearer(&token)).await.expect(200);
}

/// Sends the call until it has this status, and asserts that it was soon.
async fn soon(world: &World, what: &str, call: &Call, status: u16) {
    let began = Instant::now();
    eventually(what, || async { (world.send(call.clone()).await.status == status).then_some(()) }).await;
    assert!(began.elapsed() <= SOON, "{what}: only after {:?}", began.elapsed());
}

async fn wallet_call(world: &World, client: &str, customer: &Customer) -> Call {
    world.call_as(client, "GET", &format!("/v1/entities/{}", customer.wallet), None).await
}

flows! {
    async fn a_disabled_client_is_refused_within_a_second_and_taken_again_when_enabled(world: &mut World) {
        let customer = world.customer().await;
        let (call, other) = (wallet_call(world, "ta/second", &customer).await, wallet_call(world, "ta/backend", &customer).await);
        world.send(call.clone()).await.expect(200);
        set_client(world, "ta/second", "disable").await;
        let denied = world.ask_token(world.client("ta/second"), &[("scope", "entities:read")]).await;
        assert_eq!((denied.status, &denied.body["error"]), (401, &json!("invalid_client")), "{}", denied.text);
        soon(world, "the refusal of a disabled client", &call, 401).await;
        world.send(other).await.expect(200);
        set_client(world, "ta/second", "enable").await;
        soon(world, "the return of an enabled client", &call, 200).await;
    }

    async fn a_disabled_partner_is_refused_within_a_second(world: &mut World) {
        let (customer, own) = (world.customer_of("tb").await, world.customer().await);
        let call = wallet_call(world, "tb/backend", &customer).await;
        world.send(call.clone()).await.expect(200);
        set_partner(world, "tb/backend", "disable").await;
        soon(world, "the refusal of a disabled partner", &call, 401).await;
        world.send(wallet_call(world, "ta/backend", &own).await).await.expect(200);
    }

    async fn a_disabled_user_gets_no_token_and_no_answer_by_an_older_one(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        let (spent, unspent) = (world.open_token(&customer).await, world.open_token(&customer).await);
        let body = world.payment(&customer, 1_000, "tok_success");
        let first = world.pay(&spent, &body).await;
        assert_eq!(first.status, 201, "{}", first.text);
        world.set_user(&customer, "disable").await;
        let asked = json!({
            "external_id": customer.external_id, "method": "POST", "url": format!("{}/v1/fiat-ins", world.resource),
        });
        world.ask_user_token("ta/signed", &asked).await.refused(403, "user_disabled");
        // The answer of the spent token is not given out either while the user is disabled.
        soon(world, "the refusal of a disabled user", &world.pay_call(&spent, &body), 401).await;
        let mut another = body.clone();
        another["client_reference"] = json!(world.unique("order"));
        world.pay(&unspent, &another).await.refused(401, "invalid_token");
        assert_eq!((world.available(&customer).await, world.order_ids("ta").await.len()), (1_000, 1));
        world.order(&other, 500, "tok_success").await.expect(201);
        world.set_user(&customer, "enable").await;
        soon(world, "the return of the answer", &world.pay_call(&spent, &body), 201).await;
        assert_eq!(world.pay(&spent, &body).await.same(), first.same());
        world.pay(&unspent, &another).await.expect(201);
    }

    async fn a_disabled_issuer_of_tokens_voids_them(world: &mut World) {
        let customer = world.customer().await;
        let token = world.open_token(&customer).await;
        let body = world.payment(&customer, 1_000, "tok_success");
        set_client(world, "ta/signed", "disable").await;
        let status = Call::get(format!("{}/v1/fiat-ins", world.resource)).bearer(&token);
        soon(world, "the refusal of its tokens", &status, 401).await;
        world.pay(&token, &body).await.refused(401, "invalid_token");
        assert!(world.sandbox.charges().is_empty());
    }

    async fn on_old_news_no_money_moves_and_reads_go_on(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        world.fund(&customer, 5_000).await;
        let token = world.open_token(&customer).await;
        let body = world.payment(&customer, 1_000, "tok_success");
        let backend = world.token_for_api("ta/backend").await;
        let moved = Call::post(format!("{}/v1/transfers", world.resource), &World::transfer(&customer.wallet, &other.wallet, 1));
        let moved = moved.bearer(&backend);
        let read = Call::get(format!("{}/v1/entities/{}", world.resource, customer.wallet)).bearer(&backend);
        let stopped = Instant::now();
        world.stop_authz().await;
        world.send(moved.clone().key("while-it-is-fresh")).await.expect(201);
        let stale = || async {
            let reply = world.send(world.pay_call(&token, &json!({ "spoiled": true }))).await;
            (reply.status == 503).then_some(reply)
        };
        let refused = eventually("the refusal on old news", stale).await;
        assert!(stopped.elapsed() >= Duration::from_secs(8), "too soon: {:?}", stopped.elapsed());
        refused.refused(503, "directory_stale");
        assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
        assert_eq!(refused.body["retryable"], true);
        world.pay(&token, &body).await.refused(503, "directory_stale");
        world.send(moved.key("when-it-is-stale")).await.refused(503, "directory_stale");
        let wallet = world.send(read).await.expect(200);
        assert_eq!(wallet.pointer("/balances/available"), Some(&json!(4_999)), "{wallet}");
    }
}
