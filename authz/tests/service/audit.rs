//! Every change, issued token and refusal is in the audit (security.md O1, O3), for whom it concerns alone.

use std::time::Duration;

use chassis::{audit::verify, testing::TestDatabase};
use reqwest::StatusCode;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::world::World;

const ADMIN: &str =
    "platform:admin partners:write clients:read clients:write users:read users:write audit:read";

async fn rows(world: &World, token: &str, query: &str) -> Vec<Value> {
    let reply = world.get(token, &format!("/v1/audit-events{query}")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    reply.json["data"].as_array().unwrap().clone()
}

/// Waits, as the queue is written each second, until a row is there.
async fn awaited(world: &World, token: &str, query: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..100 {
        if let Some(row) = rows(world, token, query).await.into_iter().find(&wanted) {
            return row;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no such row after ten seconds");
}

#[tokio::test]
async fn every_change_is_in_the_audit_with_who_when_and_what() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let admin = world.management_token("platform", "admin", ADMIN).await;
        let partner =
            world.post(&admin, "/v1/partners", &json!({"alias": "gamma", "name": "Gamma Ltd"})).await;
        let partner_id = partner.json["id"].as_str().unwrap().to_owned();
        world
            .post(&admin, "/v1/partners", &json!({"alias": "gamma", "name": "Again"}))
            .await
            .refused(409, "alias_taken");
        let new = json!({
            "alias": "backend", "partner_id": partner_id, "scope": "fiat_ins:read",
            "token_endpoint_auth_method": "client_secret_basic", "grant_types": ["client_credentials"],
        });
        let client = world.post(&admin, "/v1/clients", &new).await;
        let id = client.json["client_id"].as_str().unwrap().to_owned();
        let of_client = format!("/v1/clients/{id}");
        for verb in ["rotate-secret", "disable", "enable"] {
            world.post(&admin, &format!("{of_client}/{verb}"), &json!({})).await;
        }
        let user = json!({ "external_id": "u-1", "partner_id": partner_id });
        let user = world.post(&admin, "/v1/users", &user).await;
        let sub = user.json["sub"].as_str().unwrap_or_else(|| panic!("{}", user.json)).to_owned();
        world.post(&admin, "/v1/users", &json!({ "external_id": "u-1", "partner_id": partner_id })).await;
        world.post(&admin, &format!("/v1/users/{sub}/disable"), &json!({})).await;
        world.post(&admin, &format!("/v1/partners/{partner_id}/disable"), &json!({})).await;
        let found = rows(&world, &admin, &format!("?partner_id={partner_id}&outcome=done")).await;
        let mut told: Vec<_> =
            found.iter().map(|row| (row["action"].as_str().unwrap(), &row["object_id"])).collect();
        told.sort_by_key(|(action, _)| *action);
        assert_eq!(
            told,
            [
                ("client.created", &json!(id)),
                ("client.disabled", &json!(id)),
                ("client.enabled", &json!(id)),
                ("client.secret_replaced", &json!(id)),
                ("partner.created", &json!(partner_id)),
                ("partner.disabled", &json!(partner_id)),
                ("user.disabled", &json!(sub)),
                ("user.registered", &json!(sub)),
            ]
        );
        for row in &found {
            assert_eq!(row["actor"]["client_id"], world.id("platform", "admin"));
            assert_eq!(row["occurred_at"], world.now().0);
            assert_eq!(row["occurred_at_utc"], "2026-01-01T00:00:00Z");
            assert!(row["error_id"].as_str().unwrap().starts_with("err_"), "the request can be found: {row}");
        }
        let db = world.running.db().clone();
        world.stop().await;
        let report = verify(&db).await.unwrap();
        assert!(report.is_sound(), "{report}");
        assert_eq!(report.unsealed, 0, "an orderly end seals everything");
    }
}

#[tokio::test]
async fn applying_a_file_is_in_the_audit_with_the_members_that_differed() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let admin = world.management_token("platform", "admin", ADMIN).await;
        let beta = world.partner_id("beta");
        let found = rows(&world, &admin, &format!("?object_id={beta}")).await;
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0]["action"], &found[0]["details"]["by"]),
            (&json!("partner.created"), &json!("apply"))
        );
        let again =
            authz::apply::apply(&world.config, &world.platform, &crate::platform::platform_file()).await;
        assert!(again.unwrap().changes.is_empty());
        assert_eq!(rows(&world, &admin, &format!("?object_id={beta}")).await.len(), 1);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_refusal_is_found_by_its_error_id_and_its_private_reason_is_for_the_platform_alone() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let admin = world.management_token("platform", "admin", ADMIN).await;
        let beta = world.management_token("beta", "backend", "audit:read").await;
        let backend = world.id("beta", "backend");
        let form = [("grant_type", "client_credentials")];
        let refused = world.token_basic(&backend, "not the secret", &form).await;
        let error_id = refused.json["error_id"].clone();
        let row = awaited(&world, &admin, "?outcome=refused", |row| row["error_id"] == error_id).await;
        assert_eq!(row["details"]["reason"], "invalid_client: wrong secret or unknown client");
        assert_eq!(
            (&row["actor"]["client_id"], &row["details"]["code"]),
            (&json!(backend), &json!("invalid_client"))
        );
        assert_eq!(row["details"]["path"], "/oauth2/token");
        let row = awaited(&world, &beta, "?outcome=refused", |row| row["error_id"] == error_id).await;
        assert_eq!(row["details"].get("reason"), None);
        world.stop().await;
    }
}

#[tokio::test]
async fn an_issued_token_is_in_the_audit_by_its_jti_and_never_itself() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let admin = world.management_token("platform", "admin", ADMIN).await;
        let jti = crate::world::payload(&admin)["jti"].clone();
        let names =
            |row: &Value| row["details"]["tokens"].as_array().is_some_and(|tokens| tokens.contains(&jti));
        let row = awaited(&world, &admin, "?action=token.issued", names).await;
        assert_eq!(row["actor"]["client_id"], world.id("platform", "admin"));
        assert_eq!(
            (&row["details"]["kind"], &row["details"]["audience"]),
            (&json!("client"), &json!(world.issuer))
        );
        let all = json!(rows(&world, &admin, "").await).to_string();
        let secret = world.secret("platform", "admin");
        for canary in [admin.as_str(), admin.rsplit('.').next().unwrap(), secret.as_str()] {
            assert!(!all.contains(canary), "no secret in the audit");
        }
        let applied = world.applied.client("acme", "backend").unwrap().secret.as_ref().unwrap();
        assert!(!all.contains(applied.expose_secret()));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_partner_sees_its_own_rows_only_and_pages_through_them() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        world.register("acme", "backend", "alice").await;
        let token = world.management_token("beta", "backend", "audit:read users:write").await;
        world.post(&token, "/v1/users", &json!({ "external_id": "bob" })).await;
        let acme = world.partner_id("acme");
        let own = rows(&world, &token, &format!("?partner_id={acme}")).await;
        assert!(
            own.len() >= 3 && own.iter().all(|row| row["partner_id"] == world.partner_id("beta")),
            "{own:?}"
        );
        let (mut after, mut paged) = (String::new(), Vec::new());
        loop {
            let reply =
                world.get(&token, &format!("/v1/audit-events?limit=1&outcome=done&after={after}")).await;
            let data = reply.json["data"].as_array().unwrap().clone();
            after = data[0]["id"].as_str().unwrap().to_owned();
            paged.extend(data);
            if reply.json["has_more"] == false {
                break;
            }
        }
        let mut ids: Vec<_> = paged.iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert!(ids.is_sorted_by(|newer, older| newer > older), "newest first, none twice");
        ids.dedup();
        assert!(ids.len() >= 3);
        let narrow = world.management_token("beta", "backend", "users:write").await;
        world.get(&narrow, "/v1/audit-events").await.refused(403, "insufficient_scope");
        world.get(&token, "/v1/audit-events?limit=101").await.refused(422, "value_refused");
        world.stop().await;
    }
}

#[tokio::test]
async fn the_token_endpoint_answers_while_the_audit_cannot_be_written() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let hidden = world.running.db().write(|tx| {
            Box::pin(async move {
                chassis::on!(tx, conn => chassis::sqlx::query("ALTER TABLE audit_event RENAME TO hidden")
                    .execute(conn)
                    .await
                    .map(drop))
                .map_err(chassis::while_doing("hide the table"))
            })
        });
        hidden.await.unwrap();
        for _ in 0..20 {
            let reply = world.grant("acme", "backend", &[("scope", "fiat_ins:read")]).await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        world.stop().await;
    }
}
