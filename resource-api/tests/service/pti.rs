//! PTI's users and wallets over the real router, on both databases.

use chassis::testing::TestDatabase;
use resource_api::kyc;
use serde_json::{Value, json};

use crate::api::World;

const PERSON: &str = r#"{"type":"PERSON","id":"canary-1","status":"BLOCKED","owners":[],
    "name":{"firstName":"Canary","lastName":"Smith"},"dateOfBirth":"1990-05-01",
    "emails":[{"address":"canary@b.example"}],"phones":[{"number":"+1 (555) 123-4567"}],
    "addresses":[{"streetAddress":"1 Main","city":"Austin","stateCode":{"code":"US-TX"},"country":{"code":"US"}}],
    "piis":[{"type":"SSN","number":"222-22-2222"}]}"#;

impl World {
    async fn vendor_post(&self, path: &str, body: &Value) -> crate::api::Reply {
        self.send(("POST", path), &self.backend(), None, Some(body)).await
    }
}

#[tokio::test]
async fn a_user_is_registered_under_the_partners_own_id_and_never_read_back() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let person: Value = serde_json::from_str(PERSON).unwrap();
        let made = world.vendor_post("/users", &person).await;
        let link = "http://localhost:8081/users/canary-1";
        assert_eq!((made.status, made.json()), (201, json!({"id": "canary-1", "link": link})));
        let again = world.vendor_post("/users", &person).await;
        assert_eq!(
            (again.status, &again.json()["code"], &again.json()["type"]),
            (409, &json!(409), &json!("EXTERNAL_ID_TAKEN"))
        );
        let read = world.get("/users/canary-1", &world.backend()).await;
        assert_eq!(read.json(), json!({"type": "PERSON", "id": "canary-1", "status": "ACTIVE"}));
        let list = world.get("/users", &world.backend()).await;
        assert_eq!(list.json(), json!([{"id": "canary-1", "link": link}]));
        assert_eq!(world.get("/users/canary-1", &world.stranger()).await.status, 404);
        assert_eq!(kyc::work_once(&world.app).await.unwrap(), 1);
        let ours = world.get("/v1/customers?external_id=canary-1", &world.backend()).await.json();
        assert_eq!((&ours["data"][0]["kyc_level"], &ours["data"][0]["country"]), (&json!(1), &json!("US")));
    }
}

#[tokio::test]
async fn a_user_has_wallets_with_decimal_balances() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        world.vendor_post("/users", &json!({"type": "PERSON", "id": "ann"})).await;
        let wallet = json!({"type": "FIAT_WALLET", "name": "main", "currency": "EUR", "balance": 1_000_000});
        let made = world.vendor_post("/users/ann/wallets", &wallet).await;
        let id = made.id();
        assert_eq!(made.json()["link"], json!(format!("http://localhost:8081/users/ann/wallets/{id}")));
        assert_eq!(world.vendor_post("/users/ann/wallets", &wallet).await.status, 409);
        world.fund(&id, 1_234).await;
        let path = format!("/users/ann/wallets/{id}");
        let read = world.get(&path, &world.backend()).await;
        assert!(read.body.contains(r#""balance":12.34,"availableBalance":12.34"#), "{}", read.body);
        let list = world.get("/users/ann/wallets", &world.backend()).await;
        assert_eq!(list.json(), json!([read.json()]));
        world.vendor_post("/users", &json!({"type": "PERSON", "id": "bob"})).await;
        for foreign in [
            format!("/users/bob/wallets/{id}"),
            format!("/users/eve/wallets/{id}"),
            "/users/ann/wallets/x".to_owned(),
        ] {
            assert_eq!(world.get(&foreign, &world.backend()).await.status, 404, "{foreign}");
        }
        assert_eq!(world.get(&path, &world.stranger()).await.status, 404);
    }
}

#[tokio::test]
async fn refusals_have_the_vendors_shape() {
    let world = World::on(TestDatabase::sqlite()).await;
    world.vendor_post("/users", &json!({"type": "PERSON", "id": "ann"})).await;
    let cases = [
        ("/users", json!({"type": "PERSON"}), 400, "ID_REQUIRED"),
        ("/users", json!({"type": "ROBOT", "id": "x"}), 400, "KIND_UNKNOWN"),
        ("/users", json!({"type": "PERSON", "id": "a@b.example"}), 400, "EXTERNAL_ID_NOT_ALLOWED"),
        ("/users", json!({"type": "PERSON", "id": "x", "dateOfBirth": "1990-02-30"}), 400, "PII_INVALID"),
        ("/users", json!({"id": "x"}), 400, "MISSING_FIELD"),
        (
            "/users/eve/wallets",
            json!({"type": "FIAT_WALLET", "name": "m", "currency": "EUR"}),
            404,
            "NOT_FOUND",
        ),
        (
            "/users/ann/wallets",
            json!({"type": "TOKEN_WALLET", "name": "m", "currency": "EUR"}),
            400,
            "WALLET_TYPE_NOT_SUPPORTED",
        ),
        (
            "/users/ann/wallets",
            json!({"type": "FIAT_WALLET", "name": "m", "currency": "ZZZ"}),
            400,
            "UNKNOWN_CURRENCY",
        ),
    ];
    for (path, body, status, kind) in cases {
        let reply = world.vendor_post(path, &body).await;
        let told = reply.json();
        assert_eq!(
            (reply.status, &told["code"], &told["type"]),
            (status, &json!(status), &json!(kind)),
            "{body}"
        );
        assert!(told["message"].is_string() && told["error_id"].is_string(), "{told}");
    }
}
