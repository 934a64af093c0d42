//! The stored directory: snapshots, changes, overlapping pollers, freshness.

use std::sync::Arc;
use std::time::Duration;

use chassis::Platform;
use chassis::db::Db;
use chassis::testing::{TestDatabase, platform};
use guard::Standing;
use resource_api::MIGRATIONS;
use resource_api::directory::poller::{Feed, PollFault, apply};
use resource_api::directory::store::{self, State};
use resource_api::directory::{Directory, FRESH_FOR};
use serde_json::{Value, json};

use crate::world::snapshot;

async fn tables(database: &TestDatabase) -> Db {
    database.migrated(&[("resource-api", MIGRATIONS)]).await
}

fn feed(value: Value) -> Feed {
    serde_json::from_value(value).unwrap()
}

fn change(seq: i64, kind: &str, id: &str, body: &Value) -> Feed {
    feed(json!({"schema_version": 1, "snapshot": false, "seq": seq,
        "entries": [{"seq": seq, "kind": kind, "id": id, "body": body}]}))
}

fn nothing_new(seq: i64) -> Feed {
    feed(json!({"schema_version": 1, "snapshot": false, "seq": seq, "entries": []}))
}

async fn state(db: &Db) -> State {
    db.read(|tx| Box::pin(store::find_state(tx))).await.unwrap()
}

/// One poll with this answer, by a poller that read the state just before.
async fn poll(directory: &Directory, db: &Db, platform: &Platform, answer: Feed) {
    let before = state(db).await;
    apply(directory, platform, &before, answer).await.unwrap();
    directory.reread().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_loads_and_a_change_follows() {
    for database in TestDatabase::both().await {
        let (db, (platform, _)) = (tables(&database).await, platform());
        let directory = Directory::new(db.clone());
        directory.reread().await.unwrap();
        assert!(!directory.is_loaded());
        poll(&directory, &db, &platform, feed(snapshot(7))).await;
        assert!(directory.is_loaded());
        assert!(directory.client("cli_a").unwrap().scope.contains("fiat_ins:read"));
        let off = json!({"partner_id": "par_a", "status": "disabled", "scope": "customers:read"});
        poll(&directory, &db, &platform, change(8, "client", "cli_a", &off)).await;
        assert!(directory.client("cli_a").is_none());
        assert_eq!(state(&db).await.seq, 8);
    }
}

#[tokio::test]
async fn a_restarted_process_serves_from_what_is_stored() {
    for database in TestDatabase::both().await {
        let (db, (platform, _)) = (tables(&database).await, platform());
        poll(&Directory::new(db.clone()), &db, &platform, feed(snapshot(7))).await;
        let restarted = Directory::new(db.clone());
        restarted.reread().await.unwrap();
        assert!(restarted.client("cli_a").is_some());
        assert!(!restarted.is_fresh(), "what was stored before says nothing about its age");
        poll(&restarted, &db, &platform, nothing_new(7)).await;
        assert!(restarted.is_fresh());
    }
}

#[tokio::test]
async fn a_new_snapshot_replaces_everything_and_clears_the_old_rows() {
    for database in TestDatabase::both().await {
        let (db, (platform, _)) = (tables(&database).await, platform());
        let directory = Directory::new(db.clone());
        poll(&directory, &db, &platform, feed(snapshot(7))).await;
        let subject = json!({"status": "disabled", "partner_id": "par_a"});
        poll(&directory, &db, &platform, change(8, "subject", "usr_a", &subject)).await;
        let old = state(&db).await.epoch;
        let many: Vec<Value> = (0..450)
            .map(|number| json!({"kind": "partner", "id": format!("par_{number}"), "body": {"status": "active"}}))
            .collect();
        let answer = json!({"schema_version": 1, "snapshot": true, "seq": 2, "entries": many});
        poll(&directory, &db, &platform, feed(answer)).await;
        assert!(directory.client("cli_a").is_none());
        let now = directory.snapshot().unwrap();
        assert!(now.is_active_partner("par_449") && !now.is_active_partner("par_a"));
        let left = db.read(move |tx| Box::pin(async move { store::entries_after(tx, &old, -1).await })).await;
        assert_eq!(left.unwrap(), []);
        assert_eq!(state(&db).await.seq, 2, "the server that counts from the start again is followed");
    }
}

#[tokio::test]
async fn of_two_overlapping_pollers_the_slower_changes_nothing() {
    for database in TestDatabase::both().await {
        let (db, (platform, _)) = (tables(&database).await, platform());
        let directory = Directory::new(db.clone());
        poll(&directory, &db, &platform, feed(snapshot(7))).await;
        let before = state(&db).await;
        let body = |status: &str| json!({"status": status});
        poll(&directory, &db, &platform, change(8, "partner", "par_a", &body("suspended"))).await;
        apply(&directory, &platform, &before, change(8, "partner", "par_a", &body("active"))).await.unwrap();
        apply(&directory, &platform, &before, feed(snapshot(7))).await.unwrap();
        directory.reread().await.unwrap();
        assert!(!directory.snapshot().unwrap().is_active_partner("par_a"));
        assert_eq!(state(&db).await.seq, 8);
    }
}

#[tokio::test]
async fn a_schema_that_is_not_known_is_not_guessed_at() {
    let database = TestDatabase::sqlite();
    let (db, (platform, _)) = (tables(&database).await, platform());
    let directory = Directory::new(db.clone());
    let answer = feed(json!({"schema_version": 2, "snapshot": true, "seq": 9, "entries": []}));
    let fault = apply(&directory, &platform, &State::default(), answer).await.unwrap_err();
    assert!(matches!(fault, PollFault::Schema(2)));
    assert_eq!(state(&db).await, State::default());
}

#[tokio::test]
async fn ten_seconds_without_a_poll_make_it_stale_whatever_the_time_of_day_does() {
    let database = TestDatabase::sqlite();
    let (db, (platform, clock)) = (tables(&database).await, platform());
    let directory = Directory::new(db.clone());
    directory.reread().await.unwrap();
    poll(&directory, &db, &platform, feed(snapshot(7))).await;
    assert!(directory.is_fresh());
    clock.advance(86_400);
    assert!(directory.is_fresh());
    tokio::time::pause();
    tokio::time::advance(FRESH_FOR.saturating_sub(Duration::from_millis(100))).await;
    assert!(directory.is_fresh());
    tokio::time::advance(Duration::from_millis(200)).await;
    assert!(!directory.is_fresh());
    tokio::time::resume();
    assert!(directory.is_loaded(), "reads go on");
    poll(&directory, &db, &platform, nothing_new(7)).await;
    assert!(directory.is_fresh());
}

/// A replica that does not poll itself sees the other's polls through the database.
#[tokio::test]
async fn a_replica_is_kept_fresh_by_the_process_that_polls() {
    for database in TestDatabase::both().await {
        let (db, (platform, _)) = (tables(&database).await, platform());
        let (polling, replica) = (Directory::new(db.clone()), Directory::new(db.clone()));
        replica.reread().await.unwrap();
        poll(&polling, &db, &platform, feed(snapshot(7))).await;
        replica.reread().await.unwrap();
        assert!(replica.is_fresh() && replica.client("cli_a").is_some());
        let before = Arc::as_ptr(&replica.snapshot().unwrap());
        poll(&polling, &db, &platform, nothing_new(7)).await;
        replica.reread().await.unwrap();
        assert_eq!(Arc::as_ptr(&replica.snapshot().unwrap()), before, "nothing new is not built anew");
    }
}
