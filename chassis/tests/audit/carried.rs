//! Changes with an event: the event carries who acted, and its audit row comes with its number.

use chassis::audit::{Actor, AuditFilter};
use chassis::fetch::{FetchPolicy, Fetcher};
use chassis::outbox::{NewEvent, Outbox, insert_events_by};
use chassis::shutdown::Shutdown;
use keys::seal::{MasterKey, MasterKeys};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

use crate::world::World;

fn event(world: &World, kind: &'static str) -> NewEvent {
    NewEvent {
        event_id: world.platform.new_id("evt"),
        partner_id: "par_acme".to_owned(),
        kind,
        occurred_at: world.platform.now(),
        data: json!({ "transfer_id": "trf_1", "customer_id": "cus_1", "state": "completed" }),
    }
}

async fn commit(world: &World, actor: Actor, events: Vec<NewEvent>) {
    world
        .db
        .write(move |tx| {
            let (actor, events) = (actor.clone(), events.clone());
            Box::pin(async move { insert_events_by(tx, &actor, &events).await })
        })
        .await
        .unwrap();
}

/// Runs an outbox until it has numbered what waits.
async fn number(world: &World) {
    let master = Arc::new(MasterKeys::new(MasterKey::new([9; 32]), Vec::new()));
    let outbox =
        Outbox::new(world.db.clone(), world.platform.clone(), master, Fetcher::new(FetchPolicy::default()));
    let shutdown = Shutdown::new();
    let running = tokio::spawn(outbox.run(shutdown.clone()));
    tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let waiting: (i64,) = world
                .db
                .read(|tx| {
                    Box::pin(async move {
                        chassis::on!(tx, conn => chassis::sqlx::query_as("SELECT COUNT(*) FROM event WHERE seq IS NULL")
                            .fetch_one(conn)
                            .await)
                        .map_err(chassis::while_doing("count"))
                    })
                })
                .await
                .unwrap();
            if waiting.0 == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    shutdown.trigger();
    running.await.unwrap();
}

#[tokio::test]
async fn a_change_with_an_event_has_its_audit_row_without_a_statement_of_its_own() {
    for world in World::both().await {
        let before = world.db.statements();
        let events = vec![event(&world, "transfer.completed"), event(&world, "kyc.updated")];
        commit(&world, Actor::client("cli_1", "usr_1"), events.clone()).await;
        assert_eq!(world.db.statements() - before, 1);
        number(&world).await;
        let mut rows = world.rows(AuditFilter::default()).await;
        rows.sort_by_key(|row| row.seq);
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                (row.action.as_str(), row.object_id.as_str(), row.client_id.as_str(), row.sub.as_str())
            })
            .collect();
        assert_eq!(
            told,
            [("transfer.completed", "trf_1", "cli_1", "usr_1"), ("kyc.updated", "cus_1", "cli_1", "usr_1")]
        );
        assert_eq!(rows[0].audit_id.replace("aud_", "evt_"), events[0].event_id);
        assert_eq!(rows[0].details, events[0].data.to_string());
        let report = world.verify().await;
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.chains[0].last_seq, report.unsealed), (2, 0));
    }
}

#[tokio::test]
async fn an_event_whose_audit_row_and_end_were_removed_tells_of_it() {
    for world in World::both().await {
        commit(&world, Actor::node(), vec![event(&world, "transfer.completed")]).await;
        number(&world).await;
        world.tamper("DELETE FROM audit_event").await;
        world.tamper("DELETE FROM audit_chain").await;
        let report = world.verify().await;
        assert!(report.problems[0].ends_with("has no audit row"), "{report}");
    }
}
