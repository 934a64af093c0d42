//! Signing keys.

use std::sync::Arc;

use chassis::keyring::KeyRing;
use chassis::testing::{TestDatabase, platform};
use chassis::{Db, Platform, SystemEntropy, on, while_doing};
use futures_util::future::join_all;
use keys::Algorithm;
use keys::ring::RingPolicy;
use keys::seal::{MasterKey, MasterKeys};
use serde_json::Value;

use super::opened;

const POLICY: RingPolicy =
    RingPolicy { jwks_max_age_s: 300, rotation_s: 86_400, token_ttl_max_s: 3_600, skew_s: 10 };

fn master() -> MasterKeys {
    MasterKeys::new(MasterKey::new([7; 32]), Vec::new())
}

async fn ring(db: &Db, platform: &Platform) -> Arc<KeyRing> {
    KeyRing::open(db.clone(), platform.clone(), master(), Algorithm::Es256, POLICY).await.unwrap()
}

fn kids(ring: &KeyRing) -> Vec<String> {
    let jwks: Value = serde_json::from_str(&ring.jwks()).unwrap();
    let listed = jwks["keys"].as_array().unwrap().iter();
    listed.map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect()
}

async fn sealed(db: &Db) -> Vec<String> {
    let rows: Vec<(String,)> = db
        .read(|tx| {
            Box::pin(async move {
                on!(tx, conn => sqlx::query_as("SELECT sealed_jwk FROM signing_key").fetch_all(conn).await)
                    .map_err(while_doing("list sealed keys"))
            })
        })
        .await
        .unwrap();
    rows.into_iter().map(|(text,)| text).collect()
}

#[tokio::test]
async fn a_key_signs_verifies_and_is_published_without_its_private_half() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let ring = ring(&db, &platform().0).await;
        let key = ring.active();
        let signature = key.sign(b"message").unwrap();
        let verifying = ring.verifying(key.kid()).unwrap();
        assert!(verifying.verify(Algorithm::Es256, b"message", &signature).is_ok());
        assert!(ring.verifying("another").is_none());
        assert_eq!(kids(&ring), [key.kid()]);
        assert!(!ring.jwks().contains("\"d\""));
        assert!(!sealed(&db).await[0].contains("\"d\""));
    }
}

#[tokio::test]
async fn a_restart_finds_the_same_key() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let platform = platform().0;
        let first = ring(&db, &platform).await.jwks();
        db.close().await;
        let again = database.open().await;
        assert_eq!(ring(&again, &platform).await.jwks(), first);
    }
}

#[tokio::test]
async fn each_algorithm_has_its_own_ring() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let platform = platform().0;
        let es256 = ring(&db, &platform).await;
        for alg in [Algorithm::EdDsa, Algorithm::Ps256] {
            let other = KeyRing::open(db.clone(), platform.clone(), master(), alg, POLICY).await.unwrap();
            assert_eq!(other.active().alg(), alg);
            assert_ne!(other.active().kid(), es256.active().kid());
        }
        es256.rotate().await.unwrap();
        assert_eq!(kids(&es256), [es256.active().kid()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_starts_make_one_key() {
    for database in TestDatabase::both().await {
        opened(&database).await.close().await;
        let starts = (0..6).map(|_| {
            let url = database.url().clone();
            tokio::spawn(async move {
                let db = Db::open(&url, &chassis::DbOptions { connections: 2, ..Default::default() }).await?;
                let platform = Platform { entropy: Arc::new(SystemEntropy), ..platform().0 };
                KeyRing::open(db, platform, master(), Algorithm::Es256, POLICY).await
            })
        });
        let rings: Vec<Arc<KeyRing>> = join_all(starts.collect::<Vec<_>>())
            .await
            .into_iter()
            .map(|ring| ring.unwrap().unwrap())
            .collect();
        for ring in &rings {
            assert_eq!(ring.jwks(), rings[0].jwks(), "{:?}", database.engine());
            assert_eq!(kids(ring).len(), 1);
        }
    }
}

#[tokio::test]
async fn a_rotation_publishes_before_it_signs_and_drops_after_the_last_token() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, clock) = platform();
        let (ring, other_node) = (ring(&db, &platform).await, ring(&db, &platform).await);
        let first = ring.active().kid().to_owned();

        clock.advance(86_400 - 310);
        ring.rotate().await.unwrap();
        let published = kids(&ring);
        assert_eq!((published.len(), ring.active().kid()), (2, &*first), "published, not used");
        let second = published.into_iter().find(|kid| *kid != first).unwrap();
        other_node.rotate().await.unwrap();
        assert!(other_node.verifying(&second).is_some(), "the other node publishes it too");

        clock.advance(310);
        ring.rotate().await.unwrap();
        assert_eq!(ring.active().kid(), second);
        assert!(ring.verifying(&first).is_some(), "tokens it signed are still verified");

        clock.advance(3_610);
        ring.rotate().await.unwrap();
        assert_eq!(kids(&ring), [second.as_str()]);
        assert!(ring.verifying(&first).is_none());
        other_node.rotate().await.unwrap();
        assert_eq!(kids(&other_node), [second]);
    }
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let platform = platform().0;
        ring(&db, &platform).await;
        let wrong = MasterKeys::new(MasterKey::new([8; 32]), Vec::new());
        let fault = KeyRing::open(db, platform, wrong, Algorithm::Es256, POLICY).await.unwrap_err();
        assert!(fault.to_string().contains("is this the master key that sealed it?"), "{fault}");
    }
}

#[tokio::test]
async fn a_new_master_key_takes_over_at_the_next_look() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let platform = platform().0;
        let kid = ring(&db, &platform).await.active().kid().to_owned();
        let before = sealed(&db).await;
        let both = MasterKeys::new(MasterKey::new([8; 32]), vec![MasterKey::new([7; 32])]);
        let rekeyed =
            KeyRing::open(db.clone(), platform.clone(), both, Algorithm::Es256, POLICY).await.unwrap();
        rekeyed.rotate().await.unwrap();
        assert_ne!(sealed(&db).await, before);
        let only_new = MasterKeys::new(MasterKey::new([8; 32]), Vec::new());
        let after = KeyRing::open(db, platform, only_new, Algorithm::Es256, POLICY).await.unwrap();
        assert_eq!(after.active().kid(), kid);
    }
}
