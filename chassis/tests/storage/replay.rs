//! Values that count once.

use chassis::replay::remember_once;
use chassis::testing::TestDatabase;
use chassis::{Db, Fault};
use futures_util::future::join_all;
use keys::UnixSeconds;

use super::opened;

async fn remember(
    db: &Db,
    kind: &'static str,
    owner: &'static str,
    value: &'static str,
) -> Result<bool, Fault> {
    db.write(move |tx| Box::pin(remember_once(tx, kind, owner, value, UnixSeconds(100)))).await
}

#[tokio::test]
async fn a_value_is_new_once_per_kind_and_owner() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        for (kind, owner, value, new) in [
            ("assertion_jti", "cli_1", "x", true),
            ("assertion_jti", "cli_1", "x", false),
            ("assertion_jti", "cli_1", "y", true),
            ("assertion_jti", "cli_2", "x", true),
            ("signature_nonce", "cli_1", "x", true),
            ("signature_nonce", "cli_1", "x", false),
        ] {
            assert_eq!(remember(&db, kind, owner, value).await.unwrap(), new, "{kind} {owner} {value}");
        }
    }
}

#[tokio::test]
async fn a_value_is_remembered_after_a_restart() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        assert!(remember(&db, "assertion_jti", "cli_1", "x").await.unwrap());
        db.close().await;
        let again = database.open().await;
        assert!(!remember(&again, "assertion_jti", "cli_1", "x").await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_racing_replays_one_wins() {
    for database in TestDatabase::both().await {
        let nodes = [opened(&database).await, database.open().await];
        let racers = (0..32).map(|n| {
            let db = nodes[n % 2].clone();
            tokio::spawn(async move { remember(&db, "assertion_jti", "cli_1", "x").await })
        });
        let endings = join_all(racers.collect::<Vec<_>>()).await;
        let won = endings.into_iter().filter(|ended| *ended.as_ref().unwrap().as_ref().unwrap()).count();
        assert_eq!(won, 1, "{:?}", database.engine());
    }
}
