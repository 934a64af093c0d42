//! Signed requests (RFC 9421): each counts once, in its time, for exactly what it covers — at both services.

use keys::http_signature::digest::check_content_digest;
use keys::http_signature::{Message, SignatureInput, Subject, TAG_RESPONSE};
use keys::{Algorithm, PublicJwk, b64};
use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{Call, Customer, Reply, World};

const CLIENT: &str = "ta/signed";

/// An unsigned call for a user token, complete but for the signature.
async fn for_user_token(world: &World, customer: &Customer) -> Call {
    let asked = json!({
        "external_id": customer.external_id, "method": "POST", "url": format!("{}/v1/fiat-ins", world.resource),
    });
    let token = world.token(CLIENT, "user_tokens:write").await;
    Call::post(format!("{}/v1/user-tokens", world.issuer), &asked).bearer(&token)
}

/// Whether a reply is what the service said to this call, by its published keys.
fn proves(jwks: &Value, call: &Call, reply: &Reply) -> bool {
    let (label, input) = SignatureInput::parse(reply.header("signature-input")).expect("Signature-Input");
    assert_eq!((&*label, input.text("nonce"), input.text("tag")), ("proof", Some("n1"), Some(TAG_RESPONSE)));
    let keys = jwks["keys"].as_array().expect("keys").iter();
    let mut key = keys.filter(|key| key["kid"].as_str() == input.text("keyid")).map(PublicJwk::try_from);
    let key = key.next_back().expect("a published key").expect("a JWK").verifying_key();
    let signature = reply.header("signature").strip_prefix("proof=:").and_then(|rest| rest.strip_suffix(':'));
    let signature = b64::decode_standard(signature.expect("one signature")).expect("base64");
    let url = url::Url::parse(&call.url).expect("a URL");
    let request = Message {
        method: call.method,
        authority: url.authority(),
        path: url.path(),
        query: url.query(),
        headers: &call.headers,
        body: &call.body,
    };
    let subject =
        Subject::Response { status: reply.status, headers: &reply.headers, request: Some(&request) };
    let base = input.base(&subject).expect("every component is there");
    key.verify(Algorithm::Es256, base.as_bytes(), &signature).is_ok()
        && check_content_digest(&reply.headers, reply.text.as_bytes()).is_ok()
}

/// An unsigned call to read a wallet.
async fn for_wallet(world: &World, customer: &Customer) -> Call {
    let token = world.token(CLIENT, "entities:read").await;
    Call::get(format!("{}/v1/entities/{}", world.resource, customer.wallet)).bearer(&token)
}

fn sign(world: &World, call: Call) -> Call {
    call.signed_by(world.client(CLIENT), world)
}

flows! {
    async fn a_signed_request_counts_once(world: &mut World) {
        let customer = world.customer().await;
        for (call, status) in [(for_user_token(world, &customer).await, 201), (for_wallet(world, &customer).await, 200)] {
            let signed = sign(world, call);
            assert_eq!(world.send(signed.clone()).await.status, status);
            world.send(signed.clone()).await.refused(401, "signature_replayed");
            world.clock.advance(30);
            world.send(signed).await.refused(401, "signature_replayed");
        }
    }

    async fn of_one_signed_request_sent_many_times_at_once_one_counts(world: &mut World) {
        let customer = world.customer().await;
        for (call, status) in [(for_user_token(world, &customer).await, 201), (for_wallet(world, &customer).await, 200)] {
            let replies = world.race(vec![sign(world, call); 32]).await;
            assert_eq!((with_status(&replies, status), with_status(&replies, 401)), (1, 31));
        }
    }

    async fn a_restart_remembers_signatures(world: &mut World) {
        let customer = world.customer().await;
        let signed = sign(world, for_wallet(world, &customer).await);
        assert_eq!(world.send(signed.clone()).await.status, 200);
        world.restart_api().await;
        world.send(signed).await.refused(401, "signature_replayed");
    }

    async fn a_signature_is_young_and_not_from_the_future(world: &mut World) {
        let customer = world.customer().await;
        for call in [for_user_token(world, &customer).await, for_wallet(world, &customer).await] {
            let (old, older) = (sign(world, call.clone()), sign(world, call.clone()));
            world.clock.advance(60);
            assert!(world.send(old).await.status < 300);
            world.clock.advance(1);
            assert_eq!(world.send(older).await.status, 401);
            let (ahead, further) = {
                world.clock.advance(10);
                let ahead = sign(world, call.clone());
                world.clock.advance(1);
                (ahead, sign(world, call.clone()))
            };
            world.clock.advance(-11);
            assert!(world.send(ahead).await.status < 300);
            assert_eq!(world.send(further).await.status, 401);
        }
    }

    async fn whatever_the_signature_covers_cannot_be_changed(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        let fresh = sign(world, for_user_token(world, &customer).await);
        let another_token = world.token("ta/narrow", "user_tokens:write").await;
        let mut stripped = fresh.clone();
        stripped.headers.remove("content-digest");
        let mut unsigned = fresh.clone();
        unsigned.headers.remove("signature");
        let mut doubled = fresh.clone();
        let first = doubled.headers["signature"].clone();
        doubled.headers.append("signature", first);
        let spoiled: [(&str, Call); 9] = [
            ("body", fresh.clone().with_body(for_user_token(world, &other).await.body)),
            ("authorization", fresh.clone().bearer(&another_token)),
            ("path", fresh.clone().to(format!("{}/v1/user-tokens/", world.issuer))),
            ("query", fresh.clone().to(format!("{}/v1/user-tokens?a=1", world.issuer))),
            ("uncovered key", fresh.clone().key("added")),
            ("uncovered dpop", fresh.clone().header("dpop", "added")),
            ("digest", stripped),
            ("signature", unsigned),
            ("two signatures", doubled),
        ];
        for (what, call) in spoiled {
            let reply = world.send(call).await;
            assert!(matches!(reply.status, 401 | 404), "{what}: {}", reply.text);
            assert!(reply.body["error_id"].is_string(), "{what}: {}", reply.text);
        }
        assert_eq!(world.send(fresh).await.status, 201, "refusals spend no nonce of a good signature");
    }

    async fn only_the_clients_own_key_signs_for_it(world: &mut World) {
        let customer = world.customer().await;
        for call in [for_user_token(world, &customer).await, for_wallet(world, &customer).await] {
            for foreign in ["tb/signed", "ta/narrow"] {
                let reply = world.send(call.clone().signed_by(world.client(foreign), world)).await;
                assert_eq!(reply.status, 401, "{foreign}: {}", reply.text);
            }
            assert_eq!(world.send(call).await.status, 401, "unsigned");
        }
    }

    async fn the_token_endpoint_wants_the_signature_and_each_assertion_once(world: &mut World) {
        let client = world.client(CLIENT);
        let url = format!("{}/oauth2/token", world.issuer);
        let form = |assertion: &str| {
            let fields = [
                ("grant_type", "client_credentials"), ("scope", "entities:read"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", assertion),
            ];
            Call::form(url.as_str(), &fields)
        };
        let (one, two) = (world.assertion(client), world.assertion(client));
        let unsigned = world.send(form(&one)).await;
        assert_eq!((unsigned.status, &unsigned.body["error"]), (401, &json!("invalid_client")), "{}", unsigned.text);
        let signed = form(&two).signed_by(client, world);
        world.send(signed.clone()).await.expect(200);
        assert_eq!(world.send(signed).await.status, 401, "the whole request again");
        let again = form(&two).signed_by(client, world);
        assert_eq!(world.send(again).await.status, 401, "the assertion under a new signature");
        let third = world.assertion(client);
        let calls = (0..16).map(|_| form(&third).signed_by(client, world)).collect();
        let replies = world.race(calls).await;
        // Who fails often waits before it may fail again.
        let refused = with_status(&replies, 401) + with_status(&replies, 429);
        assert_eq!((with_status(&replies, 200), refused), (1, 15));
    }

    async fn j7_an_answer_is_signed_for_whoever_asks_and_bound_to_its_request(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        let accept = r#"proof=("@status" "content-digest" "signature";req);created;nonce="n1""#;
        let unasked = sign(world, for_wallet(world, &customer).await);
        assert!(!world.send(unasked).await.headers.contains_key("signature"));
        let asked = |call: Call| sign(world, call.header("accept-signature", accept));
        let call = asked(for_wallet(world, &customer).await);
        let reply = world.send(call.clone()).await;
        let jwks = world.send(Call::get(format!("{}/.well-known/jwks.json", world.resource))).await.expect(200);
        assert!(proves(&jwks, &call, &reply), "{:?}", reply.headers);
        let refusal = world.send(call.clone()).await;
        refusal.refused(401, "signature_replayed");
        assert!(proves(&jwks, &call, &refusal), "a refusal is an answer too");

        let elsewhere = asked(for_wallet(world, &other).await);
        assert!(!proves(&jwks, &elsewhere, &reply), "the answer to another request");
        assert!(!proves(&jwks, &asked(for_wallet(world, &customer).await), &reply), "of the same kind, too");
        assert!(!proves(&jwks, &call, &Reply { status: 201, ..reply.clone() }));
        let changed = reply.text.replace(&customer.wallet, &other.wallet);
        assert!(!proves(&jwks, &call, &Reply { text: changed, ..reply.clone() }));
    }

    async fn a_withdrawn_key_no_longer_signs(world: &mut World) {
        let customer = world.customer().await;
        let call = for_wallet(world, &customer).await;
        world.send(sign(world, call.clone())).await.expect(200);
        let client = world.client(CLIENT);
        let admin = world.token("platform/admin", "platform:admin clients:write").await;
        let url = format!("{}/v1/clients/{}/disable", world.issuer, client.client_id);
        world.send(Call::post(url, &json!({})).bearer(&admin)).await.expect(200);
        let gone = || async { (world.send(sign(world, call.clone())).await.status == 401).then_some(()) };
        crate::world::eventually("the refusal", gone).await;
        let reply = world.ask_token(client, &[("scope", "entities:read")]).await;
        assert_eq!((reply.status, &reply.body["error"]), (401, &Value::from("invalid_client")), "{}", reply.text);
    }
}

/// Only `PostgreSQL` is shared by several nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_the_memory_of_signatures() {
    let world = World::on(chassis::db::Engine::Postgres).await;
    let other = world.another_api().await;
    let customer = world.customer().await;
    let signed = sign(&world, for_wallet(&world, &customer).await);
    let calls = (0..32).map(|index| {
        let call = signed.clone();
        if index % 2 == 0 { call } else { call.via(other.address) }
    });
    let replies = world.race(calls.collect()).await;
    assert_eq!((with_status(&replies, 200), with_status(&replies, 401)), (1, 31));
    other.stop().await;
    world.end().await;
}
