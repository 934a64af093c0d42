//! Webhooks in the vendor's envelope, opened as the vendor's own receiver opens them.

use keys::jwe::DecryptionKey;
use keys::{Algorithm, PublicJwk};
use serde_json::{Value, json};

use super::{CLIENT, refused};
use crate::world::{Call, Event, PII_CANARIES, Receiver, World, eventually};

fn decoded(part: &str) -> Vec<u8> {
    keys::b64::decode(part).expect("base64url")
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&decoded(token.split('.').next().expect("a header"))).expect("JSON")
}

impl World {
    /// A receiver that PTI's backend has set as its main webhook.
    async fn pti_receiver(&self) -> Receiver {
        let receiver = self.unregistered_receiver().await;
        let path = format!("/clients/{}", self.client(CLIENT).client_id);
        let body = json!({ "name": "PTI", "mainWebhook": { "url": receiver.url } });
        let client = self.pti_put(&path, &body).await.expect(200);
        assert_eq!(client["mainWebhook"]["url"], receiver.url.as_str());
        receiver
    }

    async fn published_keys(&self) -> Vec<Value> {
        let set = self.send(Call::get(format!("{}/.well-known/jwks.json", self.resource))).await.expect(200);
        set["keys"].as_array().expect("keys").clone()
    }

    /// Decrypts with the partner's key, pins the algorithms, verifies with the key that `kid` names in our key set.
    async fn opened(&self, delivery: &Event) -> Value {
        let own = self.client(CLIENT).pti_key.clone().expect("an RSA key");
        let outer = header(&delivery.text);
        let expected = json!({
            "alg": "RSA-OAEP-256", "enc": "A256CBC-HS512", "cty": "JWT", "kid": own.public_jwk().thumbprint(),
        });
        assert_eq!(outer, expected);
        let signed = DecryptionKey::new(&own).expect("a key").open(&delivery.text).expect("it opens");
        let signed = String::from_utf8(signed).expect("text");
        let inner = header(&signed);
        assert_eq!(inner["alg"], "RS512", "{inner}");
        assert_eq!(inner["jku"], format!("{}/.well-known/jwks.json", self.resource));
        let keys = self.published_keys().await;
        let jwk = keys.iter().find(|jwk| jwk["kid"] == inner["kid"]).expect("the key is published");
        let key = PublicJwk::try_from(jwk).expect("a key").verifying_key();
        let (input, signature) = signed.rsplit_once('.').expect("a JWS");
        key.verify(Algorithm::Rs512, input.as_bytes(), &decoded(signature)).expect("the signature holds");
        let (_, payload) = input.split_once('.').expect("a JWS");
        serde_json::from_slice(&decoded(payload)).expect("JSON")
    }

    /// Waits for a message that `wanted` accepts.
    async fn message(
        &self,
        receiver: &Receiver,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> (Event, Value) {
        eventually(what, || async {
            for delivery in receiver.all() {
                let message = self.opened(&delivery).await;
                if wanted(&message) {
                    return Some((delivery, message));
                }
            }
            None
        })
        .await
    }
}

flows! {
    async fn webhooks_come_encrypted_to_the_partner_and_signed_by_us_without_personal_data(world: &mut World) {
        let receiver = world.pti_receiver().await;
        let user = world.pti_user().await;
        let order = user.order(world, "20.5");
        let id = serde_json::from_str::<Value>(&order).expect("JSON")["id"].clone();
        world.send(world.pti(Call::post_text(user.funding(world), order))).await.expect(201);
        let of = |kind: &'static str, status: &'static str| {
            let user_id = user.id.clone();
            move |message: &Value| {
                message["resourceType"] == kind && message["status"] == status && message["userId"] == user_id.as_str()
            }
        };
        world.message(&receiver, "USER", of("USER", "ACTIVE")).await;
        let (_, kyc) = world.message(&receiver, "USER_ASSESSMENT", of("USER_ASSESSMENT", "ACCEPTED")).await;
        assert_eq!(kyc["tier"], 1);
        let (_, verdict) = world.message(&receiver, "the verdict", of("TRANSACTION_MONITORING", "ACCEPT")).await;
        assert_eq!((&verdict["requestId"], &verdict["transactionType"]), (&id, &json!("DEPOSIT")));
        let (delivery, settled) = world.message(&receiver, "the payment", of("TRANSACTION_STATUS", "SETTLED")).await;
        assert_eq!((&settled["requestId"], &settled["amount"], &settled["currency"]), (&id, &json!("20.50"), &json!("EUR")));
        assert_eq!(settled["eventId"], delivery.id.as_str());
        assert_eq!(settled["clientId"], world.client(CLIENT).client_id.as_str());
        for delivery in receiver.all() {
            let text = world.opened(&delivery).await.to_string();
            assert!(PII_CANARIES.iter().all(|canary| !text.contains(canary)), "{text}");
            assert!(!text.contains("4242") && !text.contains("99887766"), "{text}");
        }
    }

    async fn a_repeated_delivery_is_encrypted_anew_and_keeps_its_event(world: &mut World) {
        let receiver = world.pti_receiver().await;
        receiver.fail_next(1);
        world.pti_user().await;
        let first = eventually("a delivery", || async { receiver.all().into_iter().next() }).await;
        let again = eventually("the same again", || async {
            world.clock.advance(6);
            receiver.all().into_iter().skip(1).find(|delivery| delivery.id == first.id)
        });
        let again = again.await;
        assert_ne!(first.text, again.text);
        assert_eq!(world.opened(&first).await, world.opened(&again).await);
    }

    async fn the_platforms_rsa_key_is_made_once_and_only_when_a_partner_needs_it(world: &mut World) {
        let rsa = |keys: &[Value]| keys.iter().filter(|key| key["kty"] == "RSA").cloned().collect::<Vec<_>>();
        assert!(rsa(&world.published_keys().await).is_empty());
        let body = json!({ "url": "http://127.0.0.1:9/x", "format": "pti" });
        let call = world.call_as("ta/backend", "POST", "/v1/webhook-endpoints", Some(&body)).await;
        world.send(call).await.refused(422, "encryption_key_required");
        let unknown = json!({ "url": "http://127.0.0.1:9/x", "format": "xml" });
        let call = world.call_as("ta/backend", "POST", "/v1/webhook-endpoints", Some(&unknown)).await;
        world.send(call).await.refused(422, "format_unknown");
        assert!(rsa(&world.published_keys().await).is_empty());
        let receivers = [world.pti_receiver().await, world.pti_receiver().await];
        let made = rsa(&world.published_keys().await);
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!(made[0]["alg"], "RS512");
        world.pti_user().await;
        world.message(&receivers[1], "USER", |message| message["resourceType"] == "USER").await;
        assert!(receivers[0].all().is_empty(), "the second address took the first one's place");
        assert_eq!(rsa(&world.published_keys().await), made);
        let other = world.client("ta/backend").client_id.clone();
        refused(&world.pti_get(&format!("/clients/{other}")).await, 404, "NOT_FOUND");
        let own = format!("/clients/{}", world.client(CLIENT).client_id);
        let private = json!({ "mainWebhook": { "url": "https://10.0.0.1/x" } });
        refused(&world.pti_put(&own, &private).await, 400, "TARGET_NOT_ALLOWED");
    }

    async fn an_endpoint_says_its_format_and_a_standard_one_beside_it_is_unchanged(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let list = world.get_as("ta/backend", "/v1/webhook-endpoints").await;
        assert_eq!(list["data"][0]["format"], "standard");
        world.customer().await;
        let event = receiver.wait_for("customer.created", |event| event["type"] == "customer.created").await;
        assert!(event.is_signed_by(&receiver.public_key));
    }
}
