//! One effect per key.

use chassis::claim::{
    ClaimKey, Claimed, NewClaim, StoredAnswer, claim, claim_fresh, find_claim, record_answer,
    take_back_claims,
};
use chassis::testing::TestDatabase;
use chassis::{Db, Fault, Outcome};
use futures_util::future::join_all;
use keys::UnixSeconds;

use super::opened;

const NOW: UnixSeconds = UnixSeconds(1_000);

fn key() -> ClaimKey {
    ClaimKey {
        kind: "idempotency",
        owner: "ptr_1|cli_1|-".into(),
        key: "k1".into(),
        route: "POST /v1/transfers".into(),
    }
}

async fn take(
    db: &Db,
    key: ClaimKey,
    fingerprint: &'static str,
    resource: &'static str,
) -> Result<Claimed, Fault> {
    take_at(db, key, [fingerprint, resource], NOW).await
}

async fn take_at(
    db: &Db,
    key: ClaimKey,
    made: [&'static str; 2],
    now: UnixSeconds,
) -> Result<Claimed, Fault> {
    db.write(move |tx| {
        let key = key.clone();
        Box::pin(async move { claim(tx, &key, made[0], made[1], now, now.plus(86_400)).await })
    })
    .await
}

fn same(resource_id: &str, answer: Option<StoredAnswer>) -> Claimed {
    Claimed::Same { resource_id: resource_id.into(), answer }
}

#[tokio::test]
async fn a_repeat_gets_the_first_requests_resource_and_answer() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        assert_eq!(take(&db, key(), "f1", "tra_1").await.unwrap(), Claimed::Fresh);
        assert_eq!(take(&db, key(), "f1", "tra_2").await.unwrap(), same("tra_1", None));
        let answer = StoredAnswer { status: 201, body: r#"{"id":"tra_1"}"#.into() };
        let other = StoredAnswer { status: 500, body: String::new() };
        let (first, second) = (answer.clone(), other);
        let recorded = db
            .write(move |tx| {
                let (first, second) = (first.clone(), second.clone());
                Box::pin(async move {
                    Ok([record_answer(tx, &key(), &first).await?, record_answer(tx, &key(), &second).await?])
                })
            })
            .await;
        assert_eq!(recorded.unwrap(), [true, false], "the first answer stays");
        assert_eq!(take(&db, key(), "f1", "tra_3").await.unwrap(), same("tra_1", Some(answer)));
    }
}

#[tokio::test]
async fn the_same_key_for_another_request_is_told_apart() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        assert_eq!(take(&db, key(), "f1", "tra_1").await.unwrap(), Claimed::Fresh);
        assert_eq!(take(&db, key(), "f2", "tra_2").await.unwrap(), Claimed::Different);
        let elsewhere = ClaimKey { route: "POST /v1/fiat-ins".into(), ..key() };
        assert_eq!(take(&db, elsewhere, "f1", "tra_2").await.unwrap(), Claimed::Different);
        for fresh in [
            ClaimKey { owner: "ptr_2|cli_1|-".into(), ..key() },
            ClaimKey { kind: "one_time", ..key() },
            ClaimKey { key: "k2".into(), ..key() },
        ] {
            assert_eq!(take(&db, fresh, "f1", "tra_2").await.unwrap(), Claimed::Fresh);
        }
    }
}

#[tokio::test]
async fn an_expired_key_may_be_used_afresh() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        assert_eq!(take(&db, key(), "f1", "tra_1").await.unwrap(), Claimed::Fresh);
        let last = NOW.plus(86_399);
        assert_eq!(take_at(&db, key(), ["f2", "tra_2"], last).await.unwrap(), Claimed::Different);
        let over = NOW.plus(86_400);
        assert_eq!(take_at(&db, key(), ["f2", "tra_2"], over).await.unwrap(), Claimed::Fresh);
        assert_eq!(take_at(&db, key(), ["f2", "tra_3"], over).await.unwrap(), same("tra_2", None));
    }
}

#[tokio::test]
async fn an_undone_rule_leaves_the_key_unused() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let refused = db
            .write_or_undo(|tx| {
                Box::pin(async move {
                    let claimed = claim(tx, &key(), "f1", "tra_1", NOW, NOW.plus(60)).await?;
                    Ok(Outcome::Undo(claimed))
                })
            })
            .await;
        assert_eq!(refused.unwrap(), Claimed::Fresh);
        let found = db.read(|tx| Box::pin(async move { find_claim(tx, &key()).await })).await;
        assert_eq!(found.unwrap(), None);
        assert_eq!(take(&db, key(), "f2", "tra_2").await.unwrap(), Claimed::Fresh);
    }
}

#[tokio::test]
async fn a_kind_outside_the_two_is_refused() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        assert!(take(&db, ClaimKey { kind: "other", ..key() }, "f1", "tra_1").await.is_err());
    }
}

/// Thirty-two racing requests with one key, through two nodes. One makes the effect; all others learn of it.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_racing_claims_one_is_fresh() {
    for database in TestDatabase::both().await {
        let nodes = [opened(&database).await, database.open().await];
        let racers = (0..32).map(|n| {
            let db = nodes[n % 2].clone();
            tokio::spawn(async move { take(&db, key(), "f1", "tra_1").await })
        });
        let endings: Vec<Claimed> = join_all(racers.collect::<Vec<_>>())
            .await
            .into_iter()
            .map(|ended| ended.unwrap().unwrap())
            .collect();
        let fresh = endings.iter().filter(|claimed| **claimed == Claimed::Fresh).count();
        let repeats = endings.iter().filter(|claimed| **claimed == same("tra_1", None)).count();
        assert_eq!((fresh, repeats), (1, 31), "{:?}", database.engine());
    }
}

fn numbered(name: &str) -> ClaimKey {
    ClaimKey { key: name.into(), ..key() }
}

async fn take_many(db: &Db, names: &[&'static str], now: UnixSeconds) -> Vec<bool> {
    let keys: Vec<ClaimKey> = names.iter().map(|name| numbered(name)).collect();
    let taken = db.write(move |tx| {
        let keys = keys.clone();
        Box::pin(async move {
            let new =
                |key| NewClaim { key, fingerprint: "f", resource_id: "r", now, expires_at: now.plus(10) };
            claim_fresh(tx, &keys.iter().map(new).collect::<Vec<_>>()).await
        })
    });
    taken.await.unwrap()
}

#[tokio::test]
async fn of_many_keys_in_one_statement_those_are_ours_that_nobody_has() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        assert_eq!(take_many(&db, &[], NOW).await, [false; 0]);
        assert_eq!(take_many(&db, &["c", "a"], NOW).await, [true, true]);
        let before = db.statements();
        assert_eq!(take_many(&db, &["d", "a", "b"], NOW.plus(9)).await, [true, false, true]);
        assert_eq!(db.statements() - before, 1);
        assert_eq!(take_many(&db, &["a", "b"], NOW.plus(10)).await, [true, false], "an expired key is free");
    }
}

#[tokio::test]
async fn a_claim_that_was_taken_back_leaves_its_key_unused_and_its_neighbours_bound() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        db.write(|tx| {
            Box::pin(async move {
                let keys = ["a", "b", "c"].map(numbered);
                let new = |key| NewClaim {
                    key,
                    fingerprint: "f",
                    resource_id: "r",
                    now: NOW,
                    expires_at: NOW.plus(9),
                };
                assert_eq!(claim_fresh(tx, &keys.each_ref().map(new)).await?, [true; 3]);
                take_back_claims(tx, &[keys[0].reference(), keys[2].reference()]).await
            })
        })
        .await
        .unwrap();
        assert_eq!(take_many(&db, &["a", "b", "c"], NOW).await, [true, false, true]);
    }
}

#[tokio::test]
async fn batches_that_want_the_same_keys_share_them_out() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (one, other) = (["a", "b", "c", "d"], ["d", "c", "b", "a"]);
        let takes = (0..16).map(|turn| take_many(&db, if turn % 2 == 0 { &one } else { &other }, NOW));
        let won: usize = join_all(takes).await.iter().flatten().filter(|taken| **taken).count();
        assert_eq!(won, 4);
    }
}
