//! Tokens bound to a key (RFC 9449), from the token endpoint to the booked payment: rows I2 to I5 of the security
//! checklist, and one-time tokens bound to a device's key.

use keys::SigningKey;
use keys::dpop::NewProof;
use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{Call, Customer, Reply, World};

pub(crate) fn device() -> SigningKey {
    SigningKey::es256_from_seed([42; 32]).expect("a key")
}

/// The call with a proof by `key`; the token goes under the scheme DPoP.
pub(crate) fn proved(world: &World, call: Call, token: &str, key: &SigningKey, nonce: Option<&str>) -> Call {
    let jti = world.unique("proof");
    let (method, uri) = (call.method, call.url.clone());
    let new = NewProof { method, uri: &uri, jti: &jti, iat: world.now(), access_token: Some(token), nonce };
    call.header("authorization", &format!("DPoP {token}")).header("dpop", &new.sign(key).expect("a proof"))
}

/// A one-time token for one fiat-in of 10.00, bound to the device's key, and the body that fits it.
async fn device_token(world: &World, customer: &Customer) -> (String, Value) {
    let asked = json!({
        "external_id": customer.external_id, "method": "POST", "url": format!("{}/v1/fiat-ins", world.resource),
        "money": { "amount": 1_000, "currency": "EUR" }, "entity_id": customer.wallet,
        "dpop_jkt": device().public_jwk().thumbprint(),
    });
    let granted = world.ask_user_token("ta/signed", &asked).await.expect(201);
    assert_eq!(granted["token_type"], "DPoP");
    let token = granted["access_token"].as_str().expect("access_token").to_owned();
    (token, world.payment(customer, 1_000, "tok_success"))
}

fn payment(world: &World, body: &Value) -> Call {
    Call::post(format!("{}/v1/fiat-ins", world.resource), body)
}

/// The device pays with its bound token, with a fresh proof each time.
async fn pay(world: &World, token: &str, body: &Value) -> Reply {
    world.send(proved(world, payment(world, body), token, &device(), None)).await
}

#[track_caller]
fn unproved(reply: &Reply, code: &str) {
    reply.refused(401, code);
    let challenge = reply.header("www-authenticate");
    assert!(challenge.starts_with(&format!("DPoP error=\"{code}\"")), "{challenge}");
    assert!(challenge.contains("algs=\"ES256 ") && challenge.contains("resource_metadata="), "{challenge}");
    if code == "use_dpop_nonce" {
        assert!(!reply.header("dpop-nonce").is_empty());
    }
}

/// A client token for the payments API, bound to the device's key.
pub(crate) async fn bound_client_token(world: &World, scope: &str) -> String {
    let client = world.client("ta/backend");
    let url = format!("{}/oauth2/token", world.issuer);
    let (jti, secret) = (world.unique("proof"), client.secret.as_ref().expect("a secret"));
    let new =
        NewProof { method: "POST", uri: &url, jti: &jti, iat: world.now(), access_token: None, nonce: None };
    let form = [("grant_type", "client_credentials"), ("scope", scope)];
    let pair = format!("{}:{secret}", client.client_id);
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
    let call = Call::form(url.as_str(), &form)
        .header("authorization", &format!("Basic {basic}"))
        .header("dpop", &new.sign(&device()).expect("a proof"));
    let granted = world.send(call.clone()).await.expect(200);
    assert_eq!(granted["token_type"], "DPoP");
    assert_eq!(world.send(call).await.body["error"], "invalid_dpop_proof", "a proof gets one token");
    granted["access_token"].as_str().expect("access_token").to_owned()
}

flows! {
    async fn a_device_pays_with_a_token_that_only_its_own_key_can_use(world: &mut World) {
        let customer = world.customer().await;
        let (token, body) = device_token(world, &customer).await;
        let thief = SigningKey::es256_from_seed([43; 32]).expect("a key");
        unproved(&world.pay(&token, &body).await, "invalid_token");
        unproved(&world.send(payment(world, &body).header("authorization", &format!("DPoP {token}"))).await, "invalid_dpop_proof");
        unproved(&world.send(proved(world, payment(world, &body), &token, &thief, None)).await, "invalid_token");
        let elsewhere = proved(world, payment(world, &body).to(format!("{}/v1/transfers", world.resource)), &token, &device(), None);
        unproved(&world.send(elsewhere.to(format!("{}/v1/fiat-ins", world.resource))).await, "invalid_dpop_proof");
        let paid = pay(world, &token, &body).await;
        assert_eq!((paid.status, &paid.body["state"]), (201, &json!("completed")), "{}", paid.text);
        assert_eq!(world.available(&customer).await, 1_000);
    }

    async fn a_lost_answer_can_be_asked_for_with_a_fresh_proof_and_not_with_the_old_one(world: &mut World) {
        let customer = world.customer().await;
        let (token, body) = device_token(world, &customer).await;
        let call = proved(world, payment(world, &body), &token, &device(), None);
        let paid = world.send(call.clone()).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
        unproved(&world.send(call).await, "invalid_dpop_proof");
        assert_eq!(pay(world, &token, &body).await.same(), paid.same());
        world.clock.advance(3_600);
        assert_eq!(pay(world, &token, &body).await.same(), paid.same(), "after it expired too");
        unproved(&world.pay(&token, &body).await, "invalid_token");
        let other = world.payment(&customer, 999, "tok_success");
        let reused = pay(world, &token, &other).await;
        reused.refused(401, "token_already_used");
        assert!(reused.header("www-authenticate").starts_with("DPoP "), "{}", reused.header("www-authenticate"));
        assert_eq!(world.available(&customer).await, 1_000);
    }

    async fn a_proof_of_a_write_counts_once_on_every_node_and_after_a_restart(world: &mut World) {
        let other = world.another_api().await;
        let customer = world.customer().await;
        let (token, body) = device_token(world, &customer).await;
        let call = proved(world, payment(world, &body), &token, &device(), None);
        let both = (0..16).map(|index| if index % 2 == 0 { call.clone() } else { call.clone().via(other.address) });
        let replies = world.race(both.collect()).await;
        assert_eq!((with_status(&replies, 201), with_status(&replies, 401)), (1, 15));
        other.stop().await;
        world.restart_api().await;
        unproved(&world.send(call).await, "invalid_dpop_proof");
        assert_eq!(world.available(&customer).await, 1_000);
    }

    async fn a_bound_client_token_reads_with_the_nonce_of_any_node(world: &mut World) {
        let other = world.another_api().await;
        let customer = world.customer().await;
        let token = bound_client_token(world, "entities:read").await;
        let wallet = Call::get(format!("{}/v1/entities/{}?a=b", world.resource, customer.wallet));
        let with = |nonce: Option<&str>| proved(world, wallet.clone(), &token, &device(), nonce);
        unproved(&world.send(wallet.clone().bearer(&token)).await, "invalid_token");
        let challenge = world.send(with(None)).await;
        unproved(&challenge, "use_dpop_nonce");
        let nonce = challenge.header("dpop-nonce").to_owned();
        let found = with(Some(&nonce));
        assert_eq!(world.send(found.clone()).await.expect(200)["id"], json!(customer.wallet));
        unproved(&world.send(found).await, "invalid_dpop_proof");
        let there = with(Some(&nonce)).via(other.address);
        assert_eq!(world.send(there).await.expect(200)["id"], json!(customer.wallet));
        world.clock.advance(121);
        unproved(&world.send(with(Some(&nonce))).await, "use_dpop_nonce");
        other.stop().await;
    }
}
