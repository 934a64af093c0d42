//! Work that one node at a time does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chassis::lease::{Held, TTL_MS, release_lease, run_leased, try_lease};
use chassis::shutdown::Shutdown;
use chassis::testing::{TestDatabase, platform};
use chassis::{Db, Platform};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::opened;

async fn lease(db: &Db, holder: &'static str, now_ms: i64) -> bool {
    db.write(move |tx| Box::pin(try_lease(tx, "numberer", holder, now_ms, TTL_MS))).await.unwrap()
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_expires() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        assert!(lease(&db, "node_1", 0).await);
        assert!(!lease(&db, "node_2", 2_999).await);
        assert!(lease(&db, "node_1", 2_999).await, "its holder renews it");
        assert!(!lease(&db, "node_2", 5_998).await);
        assert!(lease(&db, "node_2", 5_999).await, "an expired lease is taken over");
        assert!(!lease(&db, "node_1", 6_000).await, "and the old holder learns it");
        db.write(|tx| Box::pin(release_lease(tx, "numberer", "node_1"))).await.unwrap();
        assert!(!lease(&db, "node_3", 6_000).await, "only the holder gives it back");
        db.write(|tx| Box::pin(release_lease(tx, "numberer", "node_2"))).await.unwrap();
        assert!(lease(&db, "node_3", 6_000).await);
    }
}

/// A job that reports under which name it runs, and goes on for ever.
fn reporting(
    node: &'static str,
    reports: mpsc::UnboundedSender<(&'static str, Held)>,
) -> impl FnMut(Held) -> BoxFuture<'static, ()> {
    move |held| {
        let reports = reports.clone();
        Box::pin(async move {
            reports.send((node, held)).unwrap();
            std::future::pending::<()>().await;
        })
    }
}

struct Node {
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<()>,
}

fn start(
    db: &Db,
    platform: &Platform,
    node: &'static str,
    reports: &mpsc::UnboundedSender<(&'static str, Held)>,
) -> Node {
    let shutdown = Shutdown::new();
    let job = reporting(node, reports.clone());
    let running = tokio::spawn(run_leased(db.clone(), platform.clone(), "poller", shutdown.clone(), job));
    Node { shutdown, running }
}

#[tokio::test]
async fn a_lease_is_handed_over_when_its_holder_ends() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, _clock) = platform();
        let (reports, mut reported) = mpsc::unbounded_channel();
        let one = start(&db, &platform, "one", &reports);
        let (first, held) = timeout(Duration::from_secs(5), reported.recv()).await.unwrap().unwrap();
        assert_eq!(first, "one");
        let two = start(&db, &platform, "two", &reports);
        sleep(Duration::from_millis(1_300)).await;
        assert!(reported.try_recv().is_err(), "the second waits");
        let now_ms = platform.clock.now_ms();
        assert!(confirm(&db, &held, now_ms).await);
        one.shutdown.trigger();
        one.running.await.unwrap();
        let (second, _) = timeout(Duration::from_secs(5), reported.recv()).await.unwrap().unwrap();
        assert_eq!(second, "two");
        assert!(!confirm(&db, &held, now_ms).await, "the first cannot act any more");
        two.shutdown.trigger();
        two.running.await.unwrap();
    }
}

async fn confirm(db: &Db, held: &Held, now_ms: i64) -> bool {
    let held = held.clone();
    db.write(move |tx| {
        let held = held.clone();
        Box::pin(async move { held.confirm(tx, now_ms).await })
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_lease_of_a_dead_node_is_taken_over_after_its_life() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, clock) = platform();
        let (reports, mut reported) = mpsc::unbounded_channel();
        let one = start(&db, &platform, "one", &reports);
        assert_eq!(timeout(Duration::from_secs(5), reported.recv()).await.unwrap().unwrap().0, "one");
        one.running.abort(); // as if its process were killed: nothing is given back
        let two = start(&db, &platform, "two", &reports);
        sleep(Duration::from_millis(300)).await;
        assert!(reported.try_recv().is_err());
        clock.advance_ms(TTL_MS);
        assert_eq!(timeout(Duration::from_secs(5), reported.recv()).await.unwrap().unwrap().0, "two");
        two.shutdown.trigger();
        two.running.await.unwrap();
    }
}

#[tokio::test]
async fn a_job_that_returns_is_started_again() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, _clock) = platform();
        let (runs, shutdown) = (Arc::new(AtomicU32::new(0)), Shutdown::new());
        let counted = Arc::clone(&runs);
        let job = move |_held| -> BoxFuture<'static, ()> {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {})
        };
        let running = tokio::spawn(run_leased(db.clone(), platform, "poller", shutdown.clone(), job));
        while runs.load(Ordering::Relaxed) < 3 {
            sleep(Duration::from_millis(50)).await;
        }
        shutdown.trigger();
        timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    }
}
