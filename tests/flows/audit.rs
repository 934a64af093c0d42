//! The audit of the payments API on both databases, and, with the real binary, the operator's way from an `error_id` to
//! the reason and the proof of the audit (security.md O1, O3). Every flow ends with that proof too: see `World::end`.

use std::path::Path;
use std::time::Duration;

use chassis::db::{DatabaseUrl, Db, DbOptions};
use chassis::{on, sqlx, while_doing};

use chassis::audit::{AuditFilter, AuditRow, list_audit};
use serde_json::json;

use crate::binary::{BACKEND_SCOPE, folder};
use crate::process::{Dev, Ports, countersign, said};
use crate::world::{PII_CANARIES, World, eventually, personal_data};

/// An operator's command on a data directory: whether it succeeded, and what it said.
fn operator(arguments: &[&str], data_dir: &Path) -> (bool, String) {
    let output = countersign().args(arguments).arg("--data-dir").arg(data_dir).output().expect("it starts");
    (output.status.success(), said(&output))
}

/// Explains it, waiting for the queue, which is written each second.
async fn explained(error_id: &str, data_dir: &Path) -> String {
    for _ in 0..40 {
        let (known, text) = operator(&["explain", error_id], data_dir);
        if known {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("nothing is known of {error_id} after ten seconds");
}

#[tokio::test]
async fn from_an_error_id_to_the_reason_and_an_audit_that_proves_itself() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut dev = Dev::start(&data, Ports::ANY).await;
    let token = dev.token("acme-backend", BACKEND_SCOPE).await;
    let wallet = dev.wallet(&token, "u-audit").await;
    let backend = dev.client("acme-backend")["client_id"].as_str().expect("an id").to_owned();

    let order = wallet.order("ref-audit", 0, "tok_ok");
    let refused = dev.post(&token, "/v1/fiat-ins", "key-audit", &order).await.expect("an answer");
    assert!((400..500).contains(&refused.status), "{refused:?}");
    let error_id = refused.body["error_id"].as_str().expect("an error_id");
    let text = explained(error_id, &data).await;
    for part in [error_id, "POST /v1/fiat-ins was answered", backend.as_str(), "resource-api on", "  do "] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let forged = dev.get("not-a-token", "/v1/entities").await;
    let text = explained(forged.body["error_id"].as_str().expect("an error_id"), &data).await;
    assert!(text.contains("nobody known") && text.contains("401 invalid_token"), "{text}");
    let (known, text) = operator(&["explain", "err_00000000000000000000000000000000"], &data);
    assert!(!known && text.contains("nothing is known"), "{text}");

    dev.ask_to_end();
    assert!(dev.ended().await.success());
    let (sound, report) = operator(&["audit", "verify"], &data);
    assert!(sound, "{report}");
    for part in ["authz\n", "resource-api\n", "the audit is sound", "#requests: "] {
        assert!(report.contains(part), "{part} in {report}");
    }

    let db = Db::open(&DatabaseUrl::sqlite(&data.join("resource-api.sqlite")), &DbOptions::default()).await;
    let db = db.expect("the database opens");
    let edited = db.write(|tx| {
        Box::pin(async move {
            let sql = "UPDATE audit_event SET client_id = 'cli_innocent' WHERE action = 'customer.created'";
            on!(tx, conn => sqlx::query(sql).execute(conn).await.map(|done| done.rows_affected()))
                .map_err(while_doing("tamper"))
        })
    });
    assert!(edited.await.expect("edited") > 0, "the customer's creation is in the audit");
    db.close().await;
    let (sound, report) = operator(&["audit", "verify"], &data);
    assert!(!sound && report.contains("is not what was sealed"), "{report}");
}

/// All rows of the payments API, newest first.
async fn rows(world: &World) -> Vec<AuditRow> {
    let read = world
        .api
        .app
        .db
        .read(|tx| Box::pin(async move { list_audit(tx, &AuditFilter::default(), 10_000).await }));
    read.await.expect("a read")
}

/// The row of what was done to an object.
async fn row(world: &World, action: &str, object_id: &str) -> AuditRow {
    let what = format!("{action} of {object_id} in the audit");
    eventually(&what, || async {
        rows(world).await.into_iter().find(|row| row.action == action && row.object_id == object_id)
    })
    .await
}

flows! {
    async fn every_change_of_the_payments_api_is_in_the_audit_with_who_made_it(world: &mut World) {
        let (backend, partner) = (world.client("ta/backend").client_id.clone(), world.client("ta/backend").partner_id.clone());
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        world.fund(&customer, 5_000).await;
        let other = world.customer().await;
        let body = World::transfer(&customer.wallet, &other.wallet, 700);
        let transfer = world.post_as("ta/backend", "/v1/transfers", &body, 201).await;
        let order = world.order_ids("ta").await.remove(0);
        let token = world.payment_token(&customer, 300).await;
        let paid = world.pay(&token, &world.payment(&customer, 300, "tok_success")).await.expect(201);
        let path = format!("/v1/customers/{}/pii", customer.customer_id);
        world.send(world.call_as("ta/backend", "PUT", &path, Some(&personal_data())).await).await.expect(200);

        let text = |value: &serde_json::Value| value["id"].as_str().expect("an id").to_owned();
        for (action, object) in [
            ("customer.created", customer.customer_id.clone()),
            ("customer.pii_written", customer.customer_id.clone()),
            ("entity.created", customer.wallet.clone()),
            ("monitoring.accepted", order.clone()),
            ("transfer.completed", text(&transfer)),
        ] {
            let row = row(world, action, &object).await;
            assert_eq!((&row.client_id, &row.partner_id), (&backend, &partner), "{action}");
            assert!(row.error_id.starts_with("err_"), "{action}: the request can be found");
        }
        // The token's user acts through the client that issued the token.
        let by_user = row(world, "monitoring.accepted", &text(&paid)).await;
        assert_eq!(by_user.sub, customer.sub);
        // What the gateway said is written down by the service itself.
        let settled = row(world, "fiat_in.completed", &order).await;
        assert_eq!((settled.client_id.as_str(), settled.node()), ("", chassis::audit::node()));
        let endpoints = rows(world).await.into_iter().filter(|row| row.action == "webhook_endpoint.created");
        assert_eq!(endpoints.map(|row| row.client_id).collect::<Vec<_>>().len(), 1);
        drop(receiver);

        let all = format!("{:?}", rows(world).await);
        for canary in PII_CANARIES.iter().copied().chain([token.as_str()]) {
            assert!(!all.contains(canary), "{canary} in the audit");
        }
    }

    async fn a_refusal_of_the_payments_api_is_in_the_audit_with_the_client_that_asked(world: &mut World) {
        let backend = world.client("ta/backend").client_id.clone();
        let body = json!({ "kind": "customer", "owner": "cus_nobody", "currency": "EUR" });
        let refused = world.send(world.call_as("ta/backend", "POST", "/v1/entities", Some(&body)).await).await;
        assert_eq!(refused.status, 404, "{}", refused.text);
        let error_id = refused.body["error_id"].as_str().expect("an error_id").to_owned();
        let found = eventually("the refusal in the audit", || async {
            rows(world).await.into_iter().find(|row| row.error_id == error_id)
        })
        .await;
        assert_eq!((found.client_id.as_str(), found.outcome.as_str()), (backend.as_str(), "refused"));
        let details: serde_json::Value = serde_json::from_str(&found.details).expect("JSON");
        assert_eq!((&details["code"], &details["path"]), (&json!("not_found"), &json!("/v1/entities")));
    }
}
