//! Batch commands.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::testing::TestDatabase;
use chassis::{Batch, Db, Fault};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::{insert_note, notes, opened};

type Sizes = Arc<Mutex<Vec<usize>>>;

/// A batch that inserts notes one by one and notes how many commands it got. An id that is there already
/// faults the whole batch.
fn insert_batch(db: &Db) -> (Batch<String, usize>, Sizes) {
    let sizes = Sizes::default();
    let seen = Arc::clone(&sizes);
    let batch = db.batch("insert notes", move |tx, ids: Vec<String>| {
        seen.lock().unwrap().push(ids.len());
        Box::pin(async move {
            let mut lengths = Vec::new();
            for id in &ids {
                insert_note(tx, id).await?;
                lengths.push(id.len());
            }
            Ok(lengths)
        })
    });
    (batch, sizes)
}

async fn submit_all(batch: &Batch<String, usize>, ids: &[String]) -> Vec<Result<usize, Fault>> {
    let submitted = ids.iter().map(|id| {
        let (batch, id) = (batch.clone(), id.clone());
        tokio::spawn(async move { batch.submit(id).await })
    });
    join_all(submitted.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn every_command_gets_its_own_result_and_is_durable() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (batch, sizes) = insert_batch(&db);
        let ids: Vec<String> = (0..100).map(|n| "x".repeat(n + 1)).collect();
        let answers: Vec<usize> = submit_all(&batch, &ids).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (1..=100).collect::<Vec<_>>());
        assert_eq!(notes(&db).await.len(), 100);
        let sizes = sizes.lock().unwrap();
        assert_eq!(sizes.iter().sum::<usize>(), 100);
        assert!(sizes.len() < 50, "commands were gathered: {sizes:?}");
    }
}

#[tokio::test]
async fn a_faulty_command_fails_alone() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        db.write(|tx| Box::pin(insert_note(tx, "n07"))).await.unwrap();
        let (batch, _) = insert_batch(&db);
        let ids: Vec<String> = (0..30).map(|n| format!("n{n:02}")).collect();
        let endings = submit_all(&batch, &ids).await;
        let failed: Vec<usize> = (0..30).filter(|n| endings[*n].is_err()).collect();
        assert_eq!(failed, [7], "{:?}", database.engine());
        assert_eq!(notes(&db).await, ids);
    }
}

#[tokio::test]
async fn a_batch_that_answers_too_little_is_a_fault() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let batch: Batch<u32, u32> = db.batch("broken", |_tx, _| Box::pin(async { Ok(Vec::new()) }));
        let fault = batch.submit(1).await.unwrap_err();
        assert!(fault.to_string().contains("1 commands gave 0 results"), "{fault}");
    }
}

#[tokio::test]
async fn a_command_whose_caller_left_is_skipped() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (batch, _) = insert_batch(&db);
        let mut first = Box::pin(batch.submit("first".to_owned()));
        let mut second = Box::pin(batch.submit("second".to_owned()));
        assert!((&mut first).now_or_never().is_none(), "it waits for its turn");
        assert!((&mut second).now_or_never().is_none(), "so does this one");
        drop(second);
        first.await.unwrap();
        sleep(Duration::from_millis(50)).await;
        assert_eq!(notes(&db).await, ["first"], "{:?}", database.engine());
    }
}

#[tokio::test]
async fn a_closed_database_answers_waiting_commands() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (batch, _) = insert_batch(&db);
        db.close().await;
        assert!(batch.submit("a".to_owned()).await.unwrap_err().is_retryable());
    }
}
