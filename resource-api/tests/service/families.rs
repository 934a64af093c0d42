//! Customers, entities and transfers over the real router with real tokens, on both databases.

use chassis::testing::TestDatabase;
use resource_api::{kyc, ledger};
use serde_json::{Value, json};

use crate::api::World;

fn payment(source: &str, destination: &str, amount: i64) -> Value {
    json!({"source": source, "destination": destination, "money": {"amount": amount, "currency": "EUR"}})
}

const PERSON: &str = r#"{"given_name":"Canary","family_name":"Smith","birth_date":"1990-05-01",
    "emails":["canary@b.example"],"addresses":[{"line1":"1","city":"Ghent","country":"BE"}]}"#;

#[tokio::test]
async fn a_customer_is_registered_looked_at_and_never_shows_personal_data() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let backend = world.backend();
        let pii: Value = serde_json::from_str(PERSON).unwrap();
        let body = json!({"external_id": "ann", "pii": pii});
        let made = world.send(("POST", "/v1/customers"), &backend, Some("k-1"), Some(&body)).await;
        let again = world.send(("POST", "/v1/customers"), &backend, Some("k-1"), Some(&body)).await;
        assert_eq!(made.body, again.body);
        let reused = json!({"external_id": "broken"});
        let reused = world.send(("POST", "/v1/customers"), &backend, Some("k-1"), Some(&reused)).await;
        assert_eq!(
            reused.refusal(),
            (422, "idempotency_key_reused".to_owned()),
            "nobody was asked to register it"
        );
        let id = made.id();
        assert_eq!(made.json()["country"], "BE");
        let taken = world.post("/v1/customers", &backend, &json!({"external_id": "ann"})).await;
        assert_eq!(taken.refusal(), (409, "external_id_taken".to_owned()));
        assert!(taken.body.contains(&id));
        assert_eq!(kyc::work_once(&world.app).await.unwrap(), 1);
        let profile = world.get(&format!("/v1/customers/{id}/kyc"), &world.user("usr_ann")).await.json();
        assert_eq!((&profile["level"], &profile["status"]), (&json!(1), &json!("approved")));
        assert_eq!(
            (&profile["basis"], &profile["checked_pii_version"]),
            (&json!("offline_syntax"), &json!(1))
        );
        let path = format!("/v1/customers/{id}/pii");
        let changed = world.send(("PUT", &path), &backend, None, Some(&json!({"given_name": "Ann"}))).await;
        assert_eq!((changed.status, &changed.json()["pii_version"]), (200, &json!(2)));
        for reply in [&made, &changed, &world.get(&format!("/v1/customers/{id}"), &backend).await] {
            assert!(!reply.body.contains("Canary") && !reply.body.contains("canary"), "{}", reply.body);
        }
        assert_eq!(kyc::work_once(&world.app).await.unwrap(), 1);
        assert_eq!(kyc::work_once(&world.app).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn bad_registrations_are_refused_with_a_code_and_a_pointer() {
    let world = World::on(TestDatabase::sqlite()).await;
    let cases = [
        (json!({"external_id": "a@b.example"}), 422, "external_id_not_allowed"),
        (json!({"external_id": "ann", "kind": "robot"}), 422, "kind_unknown"),
        (json!({"external_id": "ann", "country": "be"}), 422, "country_invalid"),
        (json!({"external_id": "ann", "pii": {"birth_date": "1990-02-30"}}), 422, "pii_invalid"),
        (json!({"external_id": "ann", "kyc_level": 3}), 400, "unknown_field"),
        (json!({"kind": "person"}), 400, "missing_field"),
        (json!({"external_id": "broken"}), 503, "unavailable"),
    ];
    for (body, status, code) in cases {
        let reply = world.post("/v1/customers", &world.backend(), &body).await;
        assert_eq!(reply.refusal(), (status, code.to_owned()), "{body}");
        assert!(reply.json()["error_id"].is_string(), "{body}");
    }
    let all = world.get("/v1/customers", &world.backend()).await;
    assert_eq!(all.json()["data"], json!([]), "a refusal leaves nothing");
}

#[tokio::test]
async fn a_transfer_happens_once_and_a_refusal_leaves_the_key_unused() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let backend = world.backend();
        let (ann, bob) = (world.customer("ann").await, world.customer("bob").await);
        let (from, to) = (world.wallet(&ann, 0).await, world.wallet(&bob, 0).await);
        let body = payment(&from, &to, 60);
        let pay =
            async |key: &str| world.send(("POST", "/v1/transfers"), &backend, Some(key), Some(&body)).await;
        assert_eq!(pay("k-1").await.refusal(), (422, "insufficient_funds".to_owned()));
        world.fund(&from, 100).await;
        let done = pay("k-1").await;
        assert_eq!((done.status, &done.json()["state"]), (201, &json!("completed")));
        assert_eq!(pay("k-1").await.body, done.body);
        assert_eq!(pay("k-2").await.refusal(), (422, "insufficient_funds".to_owned()));
        assert_eq!((world.available(&from).await, world.available(&to).await), (40, 60));
        let path = format!("/v1/transfers/{}", done.id());
        assert_eq!(world.get(&path, &backend).await.json(), done.json());
        for (token, status) in
            [(world.user("usr_bob"), 200), (world.user("usr_eve"), 404), (world.stranger(), 404)]
        {
            assert_eq!(world.get(&path, &token).await.status, status);
        }
        let keyless = world.send(("POST", "/v1/transfers"), &backend, None, Some(&body)).await;
        assert_eq!(keyless.refusal(), (400, "idempotency_key_required".to_owned()));
        assert!(ledger::verify(&world.app.db).await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn transfers_are_refused_for_what_they_name() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let (ann, bob) = (world.customer("ann").await, world.customer("bob").await);
        let (from, to) = (world.wallet(&ann, 100).await, world.wallet(&bob, 0).await);
        let own = async |body: Value| world.post("/v1/entities", &world.backend(), &body).await.id();
        let yen = own(json!({"kind": "customer", "owner": bob, "currency": "JPY"})).await;
        let reserve = own(json!({"kind": "identification", "currency": "EUR"})).await;
        let with = |member: &str, value: Value| {
            let mut body = payment(&from, &to, 5);
            body[member] = value;
            body
        };
        let cases = [
            (payment(&from, &from, 5), 422, "same_entity"),
            (payment(&from, &yen, 5), 422, "currency_mismatch"),
            (payment(&from, &reserve, 5), 422, "route_not_allowed"),
            (payment(&from, "ent_none", 5), 404, "not_found"),
            (payment(&from, &to, 0), 422, "amount_not_positive"),
            (payment(&from, &to, 101), 422, "insufficient_funds"),
            (with("money", json!({"amount": "5", "currency": "EUR"})), 400, "wrong_type"),
            (with("money", json!({"amount": 5.5, "currency": "EUR"})), 400, "wrong_type"),
            (with("money", json!({"amount": 5, "currency": "eur"})), 422, "unknown_currency"),
            (with("fee", json!(1)), 400, "unknown_field"),
            (with("category", json!("x")), 422, "category_not_allowed"),
            (with("mode", json!("standard")), 422, "mode_not_supported"),
        ];
        for (body, status, code) in cases {
            let reply = world.post("/v1/transfers", &world.backend(), &body).await;
            assert_eq!(reply.refusal(), (status, code.to_owned()), "{body}");
        }
        let foreign = world.post("/v1/transfers", &world.stranger(), &payment(&from, &to, 5)).await;
        assert_eq!(foreign.refusal(), (404, "not_found".to_owned()));
        let not_own = world.post("/v1/transfers", &world.user("usr_bob"), &payment(&from, &to, 5)).await;
        assert_eq!(not_own.refusal(), (404, "not_found".to_owned()));
        let named = with("client_reference", json!("inv-1"));
        assert_eq!(world.post("/v1/transfers", &world.backend(), &named).await.status, 201);
        let twin = world.post("/v1/transfers", &world.backend(), &named).await;
        assert_eq!(twin.refusal(), (409, "client_reference_taken".to_owned()));
        assert_eq!(world.available(&from).await, 95);
    }
}

#[tokio::test]
async fn a_one_time_token_pays_once_and_only_what_it_is_bound_to() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let (ann, bob) = (world.customer("ann").await, world.customer("bob").await);
        let (from, to) = (world.wallet(&ann, 100).await, world.wallet(&bob, 0).await);
        let pay = async |token: &str, body: &Value| {
            world.send(("POST", "/v1/transfers"), token, None, Some(body)).await
        };
        let token = world.one_time("usr_ann", 30, &from);
        let done = pay(&token, &payment(&from, &to, 30)).await;
        assert_eq!(done.status, 201, "{}", done.body);
        world.clock.advance(301);
        assert_eq!(
            pay(&token, &payment(&from, &to, 30)).await.body,
            done.body,
            "the same answer, also after exp"
        );
        let other = json!({"category": "20", "source": from, "destination": to, "money": {"amount": 30, "currency": "EUR"}});
        assert_eq!(pay(&token, &other).await.refusal(), (401, "token_already_used".to_owned()));
        let widened = world.one_time("usr_ann", 30, &from);
        assert_eq!(
            pay(&widened, &payment(&from, &to, 31)).await.refusal(),
            (403, "operation_mismatch".to_owned())
        );
        assert_eq!(
            pay(&widened, &payment(&from, &to, 30)).await.refusal(),
            (401, "token_already_used".to_owned())
        );
        // Not the token owner's wallet: nothing was ordered, the token is still good for nothing else.
        let theirs = world.one_time("usr_bob", 30, &from);
        assert_eq!(pay(&theirs, &payment(&from, &to, 30)).await.refusal(), (404, "not_found".to_owned()));
        assert_eq!((world.available(&from).await, world.available(&to).await), (70, 30));
    }
}

#[tokio::test]
async fn lists_go_page_by_page_and_cursors_belong_to_their_list() {
    let world = World::on(TestDatabase::sqlite()).await;
    let backend = world.backend();
    for name in ["ann", "bob", "cleo"] {
        let owner = world.customer(name).await;
        world.clock.advance(1);
        world.wallet(&owner, 0).await;
    }
    let first = world.get("/v1/customers?limit=2", &backend).await.json();
    assert_eq!((first["data"][0]["external_id"].as_str(), &first["has_more"]), (Some("cleo"), &json!(true)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = world.get(&format!("/v1/customers?limit=2&cursor={cursor}"), &backend).await.json();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (1, &json!(false)));
    for (path, token) in [
        (format!("/v1/entities?cursor={cursor}"), backend.clone()),
        (format!("/v1/customers?status=active&cursor={cursor}"), backend.clone()),
        (format!("/v1/customers?cursor={cursor}"), world.stranger()),
        ("/v1/customers?cursor=x".to_owned(), backend.clone()),
    ] {
        assert_eq!(world.get(&path, &token).await.refusal(), (400, "invalid_cursor".to_owned()), "{path}");
    }
    assert_eq!(
        world.get("/v1/customers?limit=0", &backend).await.refusal(),
        (400, "invalid_limit".to_owned())
    );
    let own = world.get("/v1/entities", &world.user("usr_bob")).await.json();
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/v1/entities", &world.stranger()).await.json()["data"], json!([]));
}
