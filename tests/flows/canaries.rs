//! Nothing personal and nothing secret leaves its place: every event, webhook, log line and table row is searched for
//! every value that was sent in.

use serde_json::{Value, json};

use crate::world::{Call, PII_CANARIES, Receiver, Reply, World, eventually, log, personal_data};

const CARD: &str = "5555555555554444";
const SECURITY_CODE: &str = "8642";

/// Values that look personal and are refused; the refusal must not repeat them.
const REFUSED: &[&str] = &["kolibri@canary.example", "+4917633445566", "Kolibri Nachtigall"];

/// Everything that must be found nowhere.
struct Secrets(Vec<String>);

impl Secrets {
    fn personal() -> Vec<String> {
        let values = PII_CANARIES.iter().chain(REFUSED).chain(&[CARD, "\"8642\"", "A-7788990011-Z"]);
        values.map(|value| (*value).to_owned()).collect()
    }

    /// Asserts that none of them is in the text.
    #[track_caller]
    fn assert_absent(&self, place: &str, text: &str) {
        for secret in &self.0 {
            if let Some(at) = text.find(secret.as_str()) {
                let near: String =
                    text[..at].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
                panic!("{place} has a secret of {} characters after {near:?}", secret.len());
            }
        }
    }
}

/// Sends personal data through every door there is, and collects every token that was issued on the way.
async fn walk(world: &World) -> (Vec<String>, Vec<Reply>) {
    let mut tokens = Vec::new();
    let mut replies = Vec::new();
    let mut pii = personal_data();
    pii["tax_ids"] = json!([{ "type": "ssn", "value": "A-7788990011-Z" }]);
    let customer = world.register_customer("ta", &json!({ "kind": "person", "pii": pii })).await;
    let path = format!("/v1/customers/{}/pii", customer.customer_id);
    replies.push(world.send(world.call_as("ta/backend", "PUT", &path, Some(&personal_data())).await).await);

    let token = world.payment_token(&customer, 1_000).await;
    let mut body = world.payment(&customer, 1_000, "x");
    body["pii"] = personal_data();
    body["payment_method"] =
        json!({ "card": { "number": CARD, "exp_month": 11, "exp_year": 2031, "cvc": SECURITY_CODE } });
    replies.push(world.pay(&token, &body).await);
    let status = replies[1].body["status_token"].as_str().unwrap_or_default().to_owned();
    let mut other = body.clone();
    other["client_reference"] = json!("another");
    replies.push(world.pay(&token, &other).await);
    tokens.extend([token, status]);

    for bad in REFUSED {
        let named = json!({ "external_id": bad, "kind": "person" });
        replies
            .push(world.send(world.call_as("ta/backend", "POST", "/v1/customers", Some(&named)).await).await);
        let users = world.token("ta/backend", "users:write").await;
        let call =
            Call::post(format!("{}/v1/users", world.issuer), &json!({ "external_id": bad })).bearer(&users);
        replies.push(world.send(call).await);
        tokens.push(users);
        let mut wrong = personal_data();
        wrong["birth_date"] = json!(bad);
        let path = format!("/v1/customers/{}/pii", customer.customer_id);
        replies.push(world.send(world.call_as("ta/backend", "PUT", &path, Some(&wrong)).await).await);
        let mut unknown = personal_data();
        unknown[*bad] = json!(bad);
        // The sender is told where the unknown member stands, and so its name; nobody else is.
        world.send(world.call_as("ta/backend", "PUT", &path, Some(&unknown)).await).await.expect(400);
        let query = Call::get(format!(
            "{}/v1/customers?external_id={}",
            world.resource,
            bad.replace('+', "%2B").replace(' ', "%20")
        ));
        let token = world.token_for_api("ta/backend").await;
        replies.push(world.send(query.bearer(&token)).await);
        tokens.push(token);
        let mut order = world.payment(&customer, 100, "tok_success");
        order["client_reference"] = json!(bad);
        replies.push(world.send(world.order_call(&customer, &order).await).await);
    }
    let mut number = world.payment(&customer, 100, CARD);
    replies.push(world.send(world.order_call(&customer, &number).await).await);
    number["payment_method"] = json!({ "token": "tok_success" });
    number["client_reference"] = json!(CARD);
    replies.push(world.send(world.order_call(&customer, &number).await).await);
    (tokens, replies)
}

/// The clients' own secrets and private keys.
fn credentials(world: &World) -> Vec<String> {
    let keys = world
        .clients
        .iter()
        .flat_map(|client| [&client.assertion_key, &client.signature_key, &client.pti_key]);
    let private = |key: &keys::SigningKey| -> String {
        key.to_private_jwk().expect("a JWK")["d"].as_str().expect("d").to_owned()
    };
    let private: Vec<String> = keys.flatten().map(private).collect();
    world.clients.iter().filter_map(|client| client.secret.clone()).chain(private).collect()
}

async fn every_delivery(world: &World, receiver: &Receiver) -> String {
    let complete = || async {
        let listed = world.get_as("ta/backend", "/v1/events?limit=100").await;
        let listed = listed["data"].as_array().expect("data").clone();
        let arrived = receiver.all();
        let there = |event: &Value| arrived.iter().any(|one| event["id"] == one.id.as_str());
        listed
            .iter()
            .all(there)
            .then(|| arrived.iter().map(|one| one.text.clone()).collect::<Vec<_>>().join("\n"))
    };
    eventually("every delivery", complete).await
}

flows! {
    async fn what_was_sent_in_is_in_no_event_log_line_answer_or_row(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let (tokens, replies) = walk(world).await;
        let mut secrets = Secrets::personal();
        secrets.extend(tokens);
        secrets.extend(credentials(world));
        let secrets = Secrets(secrets);
        assert_eq!((replies[0].status, replies[1].status, replies[2].status), (200, 201, 401), "{}", replies[1].text);
        for reply in &replies[3..] {
            assert!(reply.status >= 400 || reply.body["data"] == json!([]), "{}", reply.text);
        }
        for reply in &replies {
            let personal = Secrets(Secrets::personal());
            personal.assert_absent("an answer", &reply.text);
        }
        secrets.assert_absent("a webhook", &every_delivery(world, &receiver).await);
        let events = world.get_as("ta/backend", "/v1/events?limit=100").await;
        secrets.assert_absent("an event", &events.to_string());
        for (table, rows) in world.dump().await {
            secrets.assert_absent(&table, &rows.join("\n"));
        }
        world.end_services().await;
        log::settled().await;
        secrets.assert_absent("the log", &log::text());
        assert!(log::text().contains("/v1/fiat-ins"), "the log was captured");
    }
}
