//! PTI's own client, unchanged: its paths, headers and shapes, all on the front door.

mod resources;
mod webhooks;

use keys::pti_jws;
use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{Call, PII_CANARIES, Reply, World};

const CLIENT: &str = "pti/backend";

/// A user as the vendor's client writes it.
fn person(id: &str) -> Value {
    json!({
        "type": "PERSON", "id": id,
        "name": { "firstName": PII_CANARIES[0], "lastName": PII_CANARIES[1] }, "dateOfBirth": PII_CANARIES[2],
        "emails": [{ "address": PII_CANARIES[3], "default": true }],
        "phones": [{ "number": "+49 152 99887766", "type": "MOBILE" }],
        "addresses": [{
            "streetAddress": PII_CANARIES[5], "city": PII_CANARIES[6], "postalCode": PII_CANARIES[7],
            "country": { "code": "DE" },
        }],
    })
}

fn card(number: &str) -> Value {
    json!({ "type": "CREDIT_CARD", "number": number, "cvv": "737", "expirationMonth": 12, "expirationYear": 2030 })
}

/// A user with a wallet, by the paths of the vendor.
struct User {
    id: String,
    wallet: String,
}

impl User {
    fn funding(&self, world: &World) -> String {
        format!("{}/users/{}/wallets/fiat/{}/funding", world.door, self.id, self.wallet)
    }

    fn order(&self, world: &World, amount: &str) -> String {
        let order = json!({
            "id": world.unique("order"), "amount": "AMOUNT", "initiator": person(&self.id),
            "sourceMethod": { "currency": "EUR", "paymentInformation": card("4242424242424242") },
        });
        order.to_string().replace("\"AMOUNT\"", amount)
    }
}

impl World {
    /// A call of PTI's backend, signed as its signer does. The signature knows no nonce and whole seconds only: two
    /// equal requests within one second would be one signature, which counts once, unless each has an
    /// `x-pti-request-id` of its own.
    fn pti(&self, call: Call) -> Call {
        self.clock.advance(1);
        call.signed_by(self.client(CLIENT), self)
    }

    async fn pti_post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.pti(Call::post(format!("{}{path}", self.door), body))).await
    }

    async fn pti_put(&self, path: &str, body: &Value) -> Reply {
        self.send(self.pti(Call::put(format!("{}{path}", self.door), body))).await
    }

    async fn pti_delete(&self, path: &str) -> Reply {
        self.send(self.pti(Call::new("DELETE", format!("{}{path}", self.door)))).await
    }

    async fn pti_get(&self, path: &str) -> Reply {
        self.send(self.pti(Call::get(format!("{}{path}", self.door)))).await
    }

    async fn pti_user(&self) -> User {
        let id = self.unique("u");
        self.pti_post("/users", &person(&id)).await.expect(201);
        let wallet = json!({ "type": "FIAT_WALLET", "name": "main", "currency": "EUR" });
        let wallet = self.pti_post(&format!("/users/{id}/wallets"), &wallet).await.expect(201);
        User { id, wallet: wallet["id"].as_str().expect("an id").to_owned() }
    }

    async fn pti_token(&self, url: &str) -> String {
        let granted = self.pti_post("/auth/userToken", &json!({ "url": url })).await.expect(200);
        granted["accessToken"].as_str().expect("a token").to_owned()
    }

    async fn pti_balance(&self, user: &User) -> f64 {
        let wallet = self.pti_get(&format!("/users/{}/wallets/{}", user.id, user.wallet)).await.expect(200);
        wallet["balance"].as_f64().expect("a balance")
    }
}

/// Asserts a refusal in the vendor's shape.
#[track_caller]
fn refused(reply: &Reply, status: u16, kind: &str) {
    assert_eq!((reply.status, &reply.body["code"]), (status, &json!(status)), "{}", reply.text);
    assert_eq!(reply.body["type"].as_str().unwrap_or_default().to_uppercase(), kind, "{}", reply.text);
    assert!(reply.body["message"].is_string() && reply.body["error_id"].is_string(), "{}", reply.text);
}

flows! {
    async fn its_client_registers_a_user_and_funds_a_wallet_with_a_user_token(world: &mut World) {
        let user = world.pti_user().await;
        let funding = user.funding(world);
        let granted = world.pti_post("/auth/userToken", &json!({ "url": funding })).await.expect(200);
        assert_eq!((&granted["expiresIn"], &granted["tokenType"]), (&json!("300"), &json!("JWT")), "{granted}");
        let token = granted["accessToken"].as_str().expect("a token");
        let order = user.order(world, "20.5");
        let call = Call::post_text(funding.as_str(), order.as_str()).header("x-pti-token", token);
        let first = world.send(call.clone()).await;
        assert_eq!((first.status, &first.body["status"]), (201, &json!("SETTLED")), "{}", first.text);
        assert_eq!(first.body["id"], serde_json::from_str::<Value>(&order).expect("JSON")["id"]);
        assert_eq!(world.send(call).await.same(), first.same(), "a repeat gets the same answer");
        assert!((world.pti_balance(&user).await - 20.5).abs() < f64::EPSILON);
        let stolen = Call::post_text(funding.as_str(), user.order(world, "20.5")).header("x-pti-token", token);
        refused(&world.send(stolen).await, 401, "TOKEN_ALREADY_USED");
        let status = Call::get(first.body["link"].as_str().expect("a link"));
        let status = status.bearer(first.body["statusToken"].as_str().expect("a status token"));
        assert_eq!(world.send(status).await.expect(200)["money"]["amount"], 2_050);
    }

    async fn the_newer_token_endpoint_binds_the_method_too(world: &mut World) {
        let user = world.pti_user().await;
        let funding = user.funding(world);
        let granted = world.pti_post("/auth/jwt", &json!({ "url": funding, "method": "POST" })).await.expect(200);
        assert_eq!((&granted["expiresAt"], &granted["tokenType"]), (&json!(world.now().0 + 300), &json!("JWT")), "{granted}");
        let token = granted["accessToken"].as_str().expect("a token");
        let call = Call::post_text(funding.as_str(), user.order(world, "5")).header("x-pti-token", token);
        world.send(call).await.expect(201);
        let other = world.pti_post("/auth/jwt", &json!({ "url": funding, "method": "GET" })).await;
        refused(&other, 403, "OPERATION_NOT_AVAILABLE");
    }

    async fn a_token_is_issued_for_listed_operations_of_registered_users_only(world: &mut World) {
        let user = world.pti_user().await;
        let door = &world.door;
        let cases = [
            (format!("{door}/users/{}/wallets", user.id), 403, "OPERATION_NOT_AVAILABLE"),
            (format!("{door}/users"), 403, "OPERATION_NOT_AVAILABLE"),
            (format!("{door}/users/nobody/wallets/fiat/{}/funding", user.wallet), 404, "USER_NOT_FOUND"),
            (format!("http://evil.test/users/{}/wallets/fiat/{}/funding", user.id, user.wallet), 400, "URL_REFUSED"),
            (format!("{door}/users/{}/../x/wallets/fiat/{}/funding", user.id, user.wallet), 400, "URL_REFUSED"),
            (format!("{door}/users/{}/wallets%2Ffiat/{}/funding", user.id, user.wallet), 400, "URL_REFUSED"),
            (format!("{}#x", user.funding(world)), 400, "URL_REFUSED"),
            ("not a url".to_owned(), 400, "URL_REFUSED"),
        ];
        for (url, status, kind) in cases {
            let reply = world.pti_post("/auth/userToken", &json!({ "url": url })).await;
            assert_eq!(reply.status, status, "{url}: {}", reply.text);
            refused(&reply, status, kind);
        }
    }

    async fn a_token_for_one_wallet_is_refused_and_spent_at_another(world: &mut World) {
        let (user, other) = (world.pti_user().await, world.pti_user().await);
        let token = world.pti_token(&user.funding(world)).await;
        let call = Call::post_text(other.funding(world), other.order(world, "5")).header("x-pti-token", &token);
        let reply = world.send(call).await;
        assert!(matches!(reply.status, 403 | 404), "{}", reply.text);
        assert!(world.sandbox.charges().is_empty());
        let queried = format!("{}?x=1", user.funding(world));
        let second = world.pti_token(&user.funding(world)).await;
        let call = Call::post_text(queried, user.order(world, "5")).header("x-pti-token", &second);
        refused(&world.send(call).await, 403, "OPERATION_MISMATCH");
        let spent = Call::post_text(user.funding(world), user.order(world, "5")).header("x-pti-token", &second);
        refused(&world.send(spent).await, 401, "TOKEN_ALREADY_USED");
    }

    async fn a_signature_counts_once_in_its_time_and_for_its_request_only(world: &mut World) {
        let url = format!("{}/users", world.door);
        let call = world.pti(Call::post(url.as_str(), &person(&world.unique("u"))));
        world.send(call.clone()).await.expect(201);
        let replayed = world.send(call.clone()).await;
        assert_eq!(replayed.status, 401, "{}", replayed.text);
        let fresh = world.pti(Call::post(url.as_str(), &person(&world.unique("u"))));
        let spoiled = [
            fresh.clone().with_body(person(&world.unique("u")).to_string()),
            fresh.clone().to(format!("{}/auth/userToken", world.door)),
            fresh.clone().to(format!("{url}?a=b")),
            fresh.clone().header(pti_jws::CLIENT_ID, &world.client("ta/signed").client_id),
            fresh.clone().header("x-pti-scenario-id", "added"),
            fresh.clone().header(pti_jws::SIGNATURE, "x.y.z"),
        ];
        for (index, call) in spoiled.into_iter().enumerate() {
            let reply = world.send(call).await;
            assert_eq!(reply.status, 401, "{index}: {}", reply.text);
        }
        world.clock.advance(301);
        assert_eq!(world.send(fresh).await.status, 401, "too old");
        let ahead = world.pti(Call::get(url.as_str()));
        world.clock.advance(-301);
        assert_eq!(world.send(ahead.clone()).await.status, 401, "too far ahead");
        world.clock.advance(1);
        assert_eq!(world.send(ahead.clone()).await.status, 200);
        assert_eq!(world.send(ahead).await.status, 401, "and only once");
        assert_eq!(world.send(Call::get(url.as_str())).await.status, 401, "unsigned");
    }

    async fn of_one_signature_sent_many_times_at_once_one_counts(world: &mut World) {
        let user = world.pti_user().await;
        let asked = json!({ "url": user.funding(world) });
        let token = world.pti(Call::post(format!("{}/auth/userToken", world.door), &asked));
        let replies = world.race(vec![token; 24]).await;
        assert_eq!((with_status(&replies, 200), with_status(&replies, 401)), (1, 23));
        let read = world.pti(Call::get(format!("{}/users/{}", world.door, user.id)));
        let replies = world.race(vec![read; 24]).await;
        assert_eq!((with_status(&replies, 200), with_status(&replies, 401)), (1, 23));
    }

    async fn the_backend_itself_may_fund_and_its_id_is_the_key(world: &mut World) {
        let user = world.pti_user().await;
        let funding = user.funding(world);
        let order = user.order(world, "12.34");
        let first = world.send(world.pti(Call::post_text(funding.as_str(), order.as_str()))).await;
        assert_eq!(first.status, 201, "{}", first.text);
        let again = world.send(world.pti(Call::post_text(funding.as_str(), order.as_str()))).await;
        assert_eq!(again.same(), first.same());
        let changed = order.replace("12.34", "12.35");
        let reply = world.send(world.pti(Call::post_text(funding.as_str(), changed))).await;
        refused(&reply, 409, "IDEMPOTENCY_KEY_REUSED");
        assert!((world.pti_balance(&user).await - 12.34).abs() < 1e-9);
    }

    async fn an_amount_is_a_plain_decimal_with_the_currencys_digits(world: &mut World) {
        let user = world.pti_user().await;
        let funding = user.funding(world);
        let token = world.pti_token(&funding).await;
        for amount in ["20.505", "\"20.5\"", "-1", "0", "1e400", "NaN", "null", "true", "99999999999999999999", "020.5"] {
            let call = Call::post_text(funding.as_str(), user.order(world, amount)).header("x-pti-token", &token);
            let reply = world.send(call).await;
            assert_eq!(reply.status, 400, "{amount}: {}", reply.text);
        }
        let call = Call::post_text(funding.as_str(), user.order(world, "0.01")).header("x-pti-token", &token);
        world.send(call).await.expect(201);
        assert!((world.pti_balance(&user).await - 0.01).abs() < 1e-9);
    }

    async fn what_it_reads_has_no_personal_data(world: &mut World) {
        let user = world.pti_user().await;
        let paths = [
            "/users".to_owned(),
            format!("/users/{}", user.id),
            format!("/users/{}/wallets", user.id),
            format!("/users/{}/wallets/{}", user.id, user.wallet),
        ];
        for path in paths {
            let reply = world.pti_get(&path).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text);
            assert!(PII_CANARIES.iter().all(|canary| !reply.text.contains(canary)), "{path}: {}", reply.text);
            assert!(!reply.text.contains("99887766"), "{path}");
        }
        let again = world.pti_post("/users", &person(&user.id)).await;
        assert_eq!(again.status, 409, "{}", again.text);
        assert_eq!(world.pti_get("/users/nobody").await.status, 404);
    }

    async fn verdicts_come_in_its_words(world: &mut World) {
        let user = world.pti_user().await;
        let funding = user.funding(world);
        let fund = async |number: &str, amount: &str| {
            let token = world.pti_token(&funding).await;
            let order = user.order(world, amount).replace("4242424242424242", number);
            world.send(Call::post_text(funding.as_str(), order).header("x-pti-token", &token)).await
        };
        let declined = fund("4000000000000002", "5").await;
        assert_eq!((declined.status, &declined.body["status"]), (402, &json!("REFUSED")), "{}", declined.text);
        let refused = fund("4242424242424242", "9000").await;
        assert_eq!((refused.status, &refused.body["status"]), (403, &json!("REFUSED")), "{}", refused.text);
        for _ in 0..5 {
            assert_eq!(fund("4242424242424242", "1").await.status, 201);
        }
        let review = fund("4242424242424242", "1").await;
        assert_eq!((review.status, &review.body["status"]), (202, &json!("MANUAL_REVIEW")), "{}", review.text);
    }

    async fn the_dialect_is_closed_to_partners_that_do_not_speak_it(world: &mut World) {
        let customer = world.customer().await;
        let token = world.token_for_api("ta/backend").await;
        let url = format!("{}/users/{}", world.door, customer.external_id);
        let reply = world.send(Call::get(url).bearer(&token)).await;
        assert!(matches!(reply.status, 401 | 403 | 404), "{}", reply.text);
        let user = world.pti_user().await;
        assert_eq!(world.pti_get(&format!("/users/{}", customer.external_id)).await.status, 404);
        assert_eq!(world.pti_get(&format!("/users/{}/wallets/{}", user.id, customer.wallet)).await.status, 404);
    }
}
