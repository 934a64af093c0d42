//! The vendor's other resources: users brought up to date and deactivated, checks, transaction logs, third parties.

use serde_json::{Value, json};

use super::{CLIENT, person, refused};
use crate::world::call::with_status;
use crate::world::{Call, PII_CANARIES, World, eventually};

fn log(id: &str, kind: &str, method: &str, amount: &str) -> String {
    let body = json!({
        "type": kind, "id": id, "amount": "AMOUNT", "status": "SETTLED",
        (method): { "currency": "EUR", "paymentInformation": { "number": "4242424242424242", "cvv": "737" } },
    });
    body.to_string().replace("\"AMOUNT\"", amount)
}

impl World {
    async fn pti_log(&self, user: &str, body: &str) -> crate::world::Reply {
        let url = format!("{}/users/{user}/transactionLogs", self.door);
        self.send(self.pti(Call::post_text(url, body))).await
    }

    /// The checks of a user, once there are as many.
    async fn pti_checks(&self, user: &str, count: usize) -> Vec<Value> {
        let path = format!("/users/{user}/kycs");
        eventually("the checks", || async {
            let list = self.pti_get(&path).await.expect(200);
            let references = list.as_array()?.clone();
            (references.len() == count).then_some(references)
        })
        .await
    }

    async fn pti_check(&self, reference: &Value) -> Value {
        let link = reference["link"].as_str().expect("a link");
        self.send(self.pti(Call::get(link))).await.expect(200)
    }
}

flows! {
    async fn a_users_checks_are_read_in_the_vendors_words(world: &mut World) {
        let id = world.unique("u");
        let bare = json!({ "type": "PERSON", "id": id });
        world.pti_post("/users", &bare).await.expect(201);
        assert!(world.pti_checks(&id, 0).await.is_empty());
        let asked = world.pti_post(&format!("/users/{id}/kycs"), &json!({ "type": "PERSON" })).await;
        assert_eq!((asked.status, &asked.body["status"]), (202, &json!("PENDING")), "{}", asked.text);
        let first = world.pti_check(&world.pti_checks(&id, 1).await[0]).await;
        assert_eq!((&first["level"], &first["status"]), (&json!("LEVEL_1"), &json!("REFUSED")), "{first}");
        world.pti_put(&format!("/users/{id}"), &person(&id)).await.expect(200);
        let second = world.pti_check(&world.pti_checks(&id, 2).await[1]).await;
        assert_eq!((&second["level"], &second["status"]), (&json!("LEVEL_1"), &json!("ACCEPTED")), "{second}");
        assert_eq!(second["details"]["decidedBy"], "RULES");
        assert!(PII_CANARIES.iter().all(|canary| !second.to_string().contains(canary)));
        refused(&world.pti_get(&format!("/users/{id}/kycs/kyd_none")).await, 404, "NOT_FOUND");
        let other = world.pti_user().await;
        let foreign = format!("/users/{}/kycs/{}", other.id, second["id"].as_str().expect("an id"));
        refused(&world.pti_get(&foreign).await, 404, "NOT_FOUND");
    }

    async fn a_logged_transaction_is_judged_once_and_read_back(world: &mut World) {
        let user = world.pti_user().await;
        world.pti_checks(&user.id, 1).await;
        let cases = [
            ("FUNDING", "sourceMethod", "20.5", "ACCEPTED"),
            ("WITHDRAWAL", "destinationMethod", "20", "ACCEPTED"),
            ("TRANSFER", "transferMethod", "9000", "REFUSED"),
        ];
        for (kind, method, amount, status) in cases {
            let id = world.unique("log");
            let body = log(&id, kind, method, amount);
            let made = world.pti_log(&user.id, &body).await;
            assert_eq!((made.status, &made.body["status"]), (201, &json!(status)), "{}", made.text);
            assert_eq!(made.body["id"], id.as_str());
            assert_eq!(world.pti_log(&user.id, &body).await.same(), made.same(), "a repeat gets the same answer");
            let changed = log(&id, kind, method, "21");
            refused(&world.pti_log(&user.id, &changed).await, 409, "IDEMPOTENCY_KEY_REUSED");
            let read = world.send(world.pti(Call::get(made.body["link"].as_str().expect("a link")))).await;
            assert_eq!((&read.body["type"], &read.body["status"]), (&json!(kind), &json!(status)), "{}", read.text);
            assert!(!read.text.contains("4242"), "{}", read.text);
            let by_own_id = world.pti_get(&format!("/users/{}/transactionLogs/{id}", user.id)).await;
            assert_eq!(by_own_id.text, read.text);
        }
        assert!((world.pti_balance(&user).await).abs() < f64::EPSILON, "a log moves no money");
        world.send(world.pti(Call::post_text(user.funding(world), user.order(world, "5")))).await.expect(201);
        let list = world.pti_get(&format!("/users/{}/transactionLogs", user.id)).await.expect(200);
        assert_eq!(list.as_array().map(Vec::len), Some(4), "{list}");
        let funding = list[0]["link"].as_str().expect("a link");
        let funding = world.send(world.pti(Call::get(funding))).await;
        assert!(funding.text.contains(r#""amount":5.00"#), "{}", funding.text);
        let other = world.pti_user().await;
        let foreign = funding_path(&list[0]).replace(&user.id, &other.id);
        refused(&world.pti_get(&foreign).await, 404, "NOT_FOUND");
    }

    async fn what_is_missing_of_a_user_is_asked_for_before_a_log_is_kept(world: &mut World) {
        let id = world.unique("u");
        world.pti_post("/users", &json!({ "type": "PERSON", "id": id })).await.expect(201);
        let body = log(&world.unique("log"), "FUNDING", "sourceMethod", "60");
        let more = world.pti_log(&id, &body).await;
        refused(&more, 406, "MORE_INFORMATION_NEEDED");
        let fields = json!(["name.firstName", "name.lastName", "dateOfBirth", "addresses", "emails"]);
        assert_eq!((&more.body["fields"], &more.body["url"]), (&fields, &json!(format!("{}/users/{id}", world.door))));
        let list = world.pti_get(&format!("/users/{id}/transactionLogs")).await.expect(200);
        assert_eq!(list, json!([]));
        world.pti_put(&format!("/users/{id}"), &person(&id)).await.expect(200);
        world.pti_checks(&id, 1).await;
        let kept = world.pti_log(&id, &body).await;
        assert_eq!((kept.status, &kept.body["status"]), (201, &json!("ACCEPTED")), "{}", kept.text);
    }

    async fn of_many_equal_logs_at_once_one_is_kept(world: &mut World) {
        let user = world.pti_user().await;
        let url = format!("{}/users/{}/transactionLogs", world.door, user.id);
        let body = log(&world.unique("log"), "FUNDING", "sourceMethod", "5");
        let calls = (0..12).map(|_| world.pti(Call::post_text(url.as_str(), body.as_str()))).collect();
        let replies = world.race(calls).await;
        assert_eq!(with_status(&replies, 201), 12);
        assert!(replies.iter().all(|reply| reply.text == replies[0].text));
        let list = world.pti_get(&format!("/users/{}/transactionLogs", user.id)).await.expect(200);
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    }

    async fn a_user_is_deactivated_once_nothing_is_left_and_takes_part_in_nothing_more(world: &mut World) {
        let user = world.pti_user().await;
        let path = format!("/users/{}", user.id);
        world.send(world.pti(Call::post_text(user.funding(world), user.order(world, "5")))).await.expect(201);
        refused(&world.pti_delete(&path).await, 409, "BALANCES_NOT_ZERO");
        let empty = world.pti_user().await;
        let path = format!("/users/{}", empty.id);
        let blocked = world.pti_put(&path, &json!({ "type": "PERSON", "status": "BLOCKED" })).await;
        assert_eq!(blocked.status, 200, "{}", blocked.text);
        assert_eq!(world.pti_get(&path).await.expect(200)["status"], "ACTIVE", "a status that is sent is read over");
        refused(&world.pti_put(&path, &json!({ "type": "BUSINESS" })).await, 400, "KIND_FIXED");
        refused(&world.pti_put(&path, &json!({ "id": "another" })).await, 400, "ID_MISMATCH");
        let token = world.pti_token(&empty.funding(world)).await;
        for _ in 0..2 {
            world.pti_delete(&path).await.expect(200);
        }
        assert_eq!(world.pti_get(&path).await.expect(200)["status"], "INACTIVE");
        let order = empty.order(world, "5");
        let call = Call::post_text(empty.funding(world), order).header("x-pti-token", &token);
        refused(&world.send(call).await, 403, "CUSTOMER_BLOCKED");
        let body = log(&world.unique("log"), "FUNDING", "sourceMethod", "5");
        refused(&world.pti_log(&empty.id, &body).await, 403, "CUSTOMER_BLOCKED");
        refused(&world.pti_post(&format!("{path}/kycs"), &json!({})).await, 403, "CUSTOMER_BLOCKED");
        refused(&world.pti_put(&path, &person(&empty.id)).await, 409, "CUSTOMER_CLOSED");
    }

    async fn of_a_deactivation_and_a_funding_at_once_one_comes_first(world: &mut World) {
        for _ in 0..3 {
            let user = world.pti_user().await;
            let fund = world.pti(Call::post_text(user.funding(world), user.order(world, "5")));
            let end = world.pti(Call::new("DELETE", format!("{}/users/{}", world.door, user.id)));
            let replies = world.race(vec![fund, end]).await;
            let statuses = (replies[0].status, replies[1].status);
            assert!(matches!(statuses, (201, 409) | (403, 200)), "{statuses:?} {}", replies[0].text);
        }
    }

    async fn third_parties_of_a_user_have_wallets_of_their_own(world: &mut World) {
        let principal = world.pti_user().await;
        let mut ids = Vec::new();
        for name in ["first", "second"] {
            let id = world.unique(name);
            let body = json!({ "type": "PERSON", "id": id, "thirdPartyOf": principal.id });
            world.pti_post("/users", &body).await.expect(201);
            assert_eq!(world.pti_get(&format!("/users/{id}")).await.expect(200)["thirdPartyOf"], principal.id.as_str());
            let wallet = json!({ "type": "FIAT_WALLET", "name": "payouts", "currency": "EUR" });
            world.pti_post(&format!("/users/{id}/wallets"), &wallet).await.expect(201);
            ids.push(id);
        }
        let nested = json!({ "type": "PERSON", "id": world.unique("u"), "thirdPartyOf": ids[0] });
        refused(&world.pti_post("/users", &nested).await, 400, "PRINCIPAL_IS_THIRD_PARTY");
        let nobody = json!({ "type": "PERSON", "id": world.unique("u"), "thirdPartyOf": "nobody" });
        refused(&world.pti_post("/users", &nobody).await, 400, "PRINCIPAL_UNKNOWN");
    }

    async fn a_customer_pays_its_third_parties_by_a_transfer(world: &mut World) {
        let payer = world.customer().await;
        world.fund(&payer, 5_000).await;
        let body = json!({ "external_id": world.unique("u"), "third_party_of": payer.customer_id });
        let paid = world.post_as("ta/backend", "/v1/customers", &body, 201).await;
        let wallet = json!({ "kind": "customer", "owner": paid["id"], "currency": "EUR" });
        let wallet = world.post_as("ta/backend", "/v1/entities", &wallet, 201).await;
        let transfer = World::transfer(&payer.wallet, wallet["id"].as_str().expect("an id"), 1_000);
        world.post_as("ta/backend", "/v1/transfers", &transfer, 201).await;
        let list = world.get_as("ta/backend", &format!("/v1/customers/{}/third-parties", payer.customer_id)).await;
        assert_eq!((list["data"].as_array().map(Vec::len), &list["data"][0]["id"]), (Some(1), &paid["id"]));
        let of_another = json!({ "external_id": world.unique("u"), "third_party_of": world.customer_of("tb").await.customer_id });
        let call = world.call_as("ta/backend", "POST", "/v1/customers", Some(&of_another)).await;
        world.send(call).await.refused(422, "principal_unknown");
    }

    async fn equal_requests_of_one_second_differ_by_a_request_id_of_their_own(world: &mut World) {
        let user = world.pti_user().await;
        let read = Call::get(format!("{}/users/{}", world.door, user.id));
        let client = world.client(CLIENT);
        world.clock.advance(1);
        let same = [read.clone().signed_by(client, world), read.clone().signed_by(client, world)];
        let [first, second] = same.map(|call| world.send(call));
        assert_eq!((first.await.status, second.await.status), (200, 401));
        for _ in 0..3 {
            let call = read.clone().header("x-pti-request-id", &world.unique("request"));
            assert_eq!(world.send(call.signed_by(client, world)).await.status, 200);
        }
    }

    async fn a_request_id_names_the_transaction_and_scenario_and_session_are_taken(world: &mut World) {
        let user = world.pti_user().await;
        let order = user.order(world, "5").replacen("\"id\"", "\"note\"", 1);
        let id = world.unique("request");
        let fund = |id: &str, order: &str| {
            Call::post_text(user.funding(world), order)
                .header("x-pti-request-id", id)
                .header("x-pti-scenario-id", "deposit")
                .header("x-pti-session-id", "session-1")
        };
        let first = world.send(world.pti(fund(&id, &order))).await;
        assert_eq!((first.status, &first.body["id"]), (201, &json!(id)), "{}", first.text);
        assert_eq!(world.send(world.pti(fund(&id, &order))).await.same(), first.same());
        let changed = order.replace("\"amount\":5", "\"amount\":6");
        refused(&world.send(world.pti(fund(&id, &changed))).await, 409, "IDEMPOTENCY_KEY_REUSED");
        let two = user.order(world, "5");
        refused(&world.send(world.pti(fund(&id, &two))).await, 400, "REQUEST_ID_MISMATCH");
        let none = world.send(world.pti(Call::post_text(user.funding(world), order))).await;
        refused(&none, 400, "REQUEST_ID_REQUIRED");
        assert!((world.pti_balance(&user).await - 5.0).abs() < f64::EPSILON);
    }
}

/// The path in a reference's link.
fn funding_path(reference: &Value) -> String {
    let link = reference["link"].as_str().expect("a link");
    let (_, path) = link.split_once("/users/").expect("a user's address");
    format!("/users/{path}")
}
