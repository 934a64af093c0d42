//! Signing keys (security B6, B7; reliability R13).

use std::collections::HashSet;
use std::sync::Arc;

use chassis::keyring::{KeyRing, SIGNING, list_ring};
use chassis::testing::{TestDatabase, platform};
use chassis::{Db, Platform, SystemEntropy, on, while_doing};
use futures_util::future::join_all;
use keys::Algorithm;
use keys::ring::{KeyState, RingPolicy};
use keys::seal::{MasterKey, MasterKeys};
use serde_json::Value;

use super::opened;

pub(crate) const POLICY: RingPolicy = RingPolicy {
    alg: Algorithm::Es256,
    jwks_max_age_s: 300,
    rotation_s: 86_400,
    token_ttl_max_s: 3_600,
    skew_s: 10,
};

fn master() -> MasterKeys {
    MasterKeys::new(MasterKey::new([7; 32]), Vec::new())
}

async fn ring(db: &Db, platform: &Platform) -> Arc<KeyRing> {
    KeyRing::open(db.clone(), platform.clone(), master(), POLICY).await.unwrap()
}

fn kids(ring: &KeyRing) -> Vec<String> {
    let jwks: Value = serde_json::from_str(&ring.jwks()).unwrap();
    let listed = jwks["keys"].as_array().unwrap().iter();
    listed.map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect()
}

/// What the audit says was done to keys since the last call, in its order: the action, the key, and who wanted it.
async fn audited(db: &Db, seen: &mut HashSet<String>) -> Vec<(String, String, String)> {
    const LIST: &str = "SELECT audit_id, action, object_id, details FROM audit_event
        WHERE action LIKE 'key.%' AND client_id = '' ORDER BY audit_id";
    let rows: Vec<(String, String, String, String)> = db
        .read(|tx| {
            Box::pin(async move {
                on!(tx, conn => sqlx::query_as(LIST).fetch_all(conn).await).map_err(while_doing("list audit"))
            })
        })
        .await
        .unwrap();
    let by = |details: &str| {
        let details: Value = serde_json::from_str(details).unwrap();
        details["by"].as_str().unwrap().to_owned()
    };
    let fresh = rows.into_iter().filter(|(id, ..)| seen.insert(id.clone()));
    fresh.map(|(_, action, kid, details)| (action, kid, by(&details))).collect()
}

fn row(action: &str, kid: &str, by: &str) -> (String, String, String) {
    (action.to_owned(), kid.to_owned(), by.to_owned())
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
async fn after_a_change_of_algorithm_tokens_of_the_old_one_still_verify() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, clock) = platform();
        let mut old = ring(&db, &platform).await.active();
        for alg in [Algorithm::EdDsa, Algorithm::Ps256] {
            let signature = old.sign(b"token").unwrap();
            let verifies = |ring: &KeyRing| {
                let key = ring.verifying(old.kid());
                key.is_some_and(|key| key.verify(old.alg(), b"token", &signature).is_ok())
            };
            let policy = RingPolicy { alg, ..POLICY };
            let ring = KeyRing::open(db.clone(), platform.clone(), master(), policy).await.unwrap();
            assert_ne!(ring.active().alg(), alg, "the new key is published, the old one signs");
            assert_eq!(kids(&ring).len(), 2);
            clock.advance(POLICY.lead_s() - 1);
            ring.rotate().await.unwrap();
            assert_ne!(ring.active().alg(), alg);
            clock.advance(1);
            ring.rotate().await.unwrap();
            assert_eq!(ring.active().alg(), alg);
            assert!(verifies(&ring), "{alg:?}");
            clock.advance(POLICY.linger_s() - 1);
            ring.rotate().await.unwrap();
            assert_eq!(kids(&ring).len(), 2);
            clock.advance(1);
            ring.rotate().await.unwrap();
            assert_eq!(kids(&ring), [ring.active().kid()]);
            assert!(!verifies(&ring));
            old = ring.active();
        }
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
                KeyRing::open(db, platform, master(), POLICY).await
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
async fn every_step_that_a_ring_takes_by_itself_leaves_an_audit_row_in_its_order() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, clock) = platform();
        let (ring, other_node) = (ring(&db, &platform).await, ring(&db, &platform).await);
        let (first, mut seen) = (ring.active().kid().to_owned(), HashSet::new());
        let made = [row("key.published", &first, "plan"), row("key.activated", &first, "plan")];
        assert_eq!(audited(&db, &mut seen).await, made);
        for node in [&ring, &other_node] {
            node.rotate().await.unwrap();
        }
        assert_eq!(audited(&db, &mut seen).await, [], "nothing was due");

        let mut steps = Vec::new();
        for wait_s in [86_400 - POLICY.lead_s(), POLICY.lead_s(), POLICY.linger_s()] {
            clock.advance(wait_s);
            for node in [&ring, &other_node] {
                node.rotate().await.unwrap();
            }
            steps.extend(audited(&db, &mut seen).await);
        }
        let second = ring.active().kid().to_owned();
        let told = [
            row("key.published", &second, "plan"),
            row("key.retired", &first, "plan"),
            row("key.activated", &second, "plan"),
            row("key.removed", &first, "plan"),
        ];
        assert_eq!(steps, told, "once, whichever node took the step");
    }
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let platform = platform().0;
        ring(&db, &platform).await;
        let wrong = MasterKeys::new(MasterKey::new([8; 32]), Vec::new());
        let fault = KeyRing::open(db, platform, wrong, POLICY).await.unwrap_err();
        assert!(fault.to_string().contains("is this the master key that sealed it?"), "{fault}");
    }
}

#[tokio::test]
async fn a_rotation_on_demand_publishes_before_it_signs() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, clock) = platform();
        let ring = ring(&db, &platform).await;
        let (first, mut seen) = (ring.active().kid().to_owned(), HashSet::new());
        audited(&db, &mut seen).await;
        ring.begin_rotation().await.unwrap();
        ring.begin_rotation().await.unwrap();
        assert_eq!(kids(&ring).len(), 2, "asking twice makes one key");
        let listed = list_ring(&db, SIGNING).await.unwrap();
        assert_eq!(listed, ring.list().unwrap());
        let next = listed.iter().find(|key| key.state == KeyState::Next).unwrap();
        let published = row("key.published", &next.kid, "operator");
        assert_eq!(audited(&db, &mut seen).await, [published], "and one row in the audit");
        assert_eq!(next.signs_from(&POLICY), Some(platform.now().plus(POLICY.lead_s())));
        clock.advance(POLICY.lead_s() - 1);
        ring.rotate().await.unwrap();
        assert_eq!(ring.active().kid(), first);
        clock.advance(1);
        ring.rotate().await.unwrap();
        assert_ne!(ring.active().kid(), first);
        assert!(ring.verifying(&first).is_some());
    }
}

#[tokio::test]
async fn a_revoked_key_is_gone_at_once_and_another_signs() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, _clock) = platform();
        let (ring, other_node) = (ring(&db, &platform).await, ring(&db, &platform).await);
        let (first, mut seen) = (ring.active().kid().to_owned(), HashSet::new());
        audited(&db, &mut seen).await;
        assert!(!ring.revoke("no such key").await.unwrap());
        assert_eq!(ring.active().kid(), first);

        assert!(ring.revoke(&first).await.unwrap());
        let second = ring.active().kid().to_owned();
        let told = [
            row("key.revoked", &first, "operator"),
            row("key.published", &second, "plan"),
            row("key.activated", &second, "plan"),
        ];
        assert_eq!(audited(&db, &mut seen).await, told);
        assert_ne!(second, first);
        assert!(ring.verifying(&first).is_none());
        assert_eq!(kids(&ring), [second.as_str()]);
        assert!(other_node.verifying(&first).is_some(), "until its next look");
        other_node.rotate().await.unwrap();
        assert_eq!((other_node.active().kid(), other_node.verifying(&first).is_none()), (&*second, true));
        assert_eq!(sealed(&db).await.len(), 1, "its private half is destroyed");

        ring.begin_rotation().await.unwrap();
        assert!(ring.revoke(&second).await.unwrap());
        assert_eq!(kids(&ring).len(), 1, "the next key signs from now on");
        assert_ne!(ring.active().kid(), second);
    }
}

#[tokio::test]
async fn revoking_a_key_that_does_not_sign_leaves_the_active_one() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, clock) = platform();
        let ring = ring(&db, &platform).await;
        let retired = ring.active().kid().to_owned();
        ring.begin_rotation().await.unwrap();
        clock.advance(POLICY.lead_s());
        ring.rotate().await.unwrap();
        let active = ring.active().kid().to_owned();
        assert!(ring.revoke(&retired).await.unwrap());
        assert_eq!((ring.active().kid(), kids(&ring)), (&*active, vec![active.clone()]));
    }
}

/// Stands in for a kill at every point where the task can be interrupted: the process is gone, what it had handed
/// to the database is there or is not. Another node goes on with what is there.
#[tokio::test]
async fn a_rotation_that_ends_at_any_point_is_resumed_and_no_unpublished_key_ever_signs() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, clock) = platform();
        let mut signed_with = Vec::new();
        for round in 0..60_u32 {
            // A verifier fetches the set, and keeps it for its max-age.
            let cached = kids(&*ring(&db, &platform).await);
            let node = ring(&db, &platform).await;
            if round % 3 == 0 {
                interrupt_after(node.begin_rotation(), round % 7).await;
            }
            interrupt_after(node.rotate(), round % 5).await;
            // What was handed to the database before the kill lands within a unit's limit, long before the caches
            // of that moment end; the test's clock must not jump over it.
            what_is_under_way_ends(&db).await;
            clock.advance(POLICY.jwks_max_age_s);
            let opening = KeyRing::open(db.clone(), platform.clone(), master(), POLICY);
            interrupt_after(opening, round % 6).await;
            let restarted = ring(&db, &platform).await;
            let signing = restarted.active().kid().to_owned();
            assert!(cached.contains(&signing), "round {round}: signed by a key the verifier does not know");
            // Its tokens verify for their whole life.
            signed_with.push((platform.now(), signing));
            signed_with.retain(|(at, _)| platform.now().since(*at) <= POLICY.token_ttl_max_s);
            for (at, kid) in &signed_with {
                assert!(restarted.verifying(kid).is_some(), "round {round}: a token of {at:?}");
            }
        }
        assert!(signed_with.iter().any(|(_, kid)| *kid != signed_with[0].1), "keys were rotated");
    }
}

/// Takes the row that every planner takes first, after those that are at it.
async fn what_is_under_way_ends(db: &Db) {
    db.write(|tx| {
        Box::pin(async move {
            on!(tx, conn => sqlx::query("UPDATE key_ring SET version = version + 1").execute(conn).await.map(drop))
                .map_err(while_doing("wait for planners"))
        })
    })
    .await
    .unwrap();
}

/// Polls the future so many times and then drops it.
pub(crate) async fn interrupt_after<F: Future>(work: F, polls: u32) {
    let mut work = Box::pin(work);
    for _ in 0..polls {
        if futures_util::poll!(work.as_mut()).is_ready() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_second_ring_has_keys_of_its_own_and_is_made_once() {
    const SECOND: RingPolicy = RingPolicy { alg: Algorithm::EdDsa, ..POLICY };
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let platform = platform().0;
        let first = ring(&db, &platform).await;
        assert!(!KeyRing::has_keys(&db, "webhook").await.unwrap());
        assert_eq!(first.jwks_with(None), first.jwks());
        let opening =
            (0..4).map(|_| KeyRing::open_for("webhook", db.clone(), platform.clone(), master(), SECOND));
        let opened: Vec<Arc<KeyRing>> = join_all(opening).await.into_iter().map(Result::unwrap).collect();
        assert!(KeyRing::has_keys(&db, "webhook").await.unwrap());
        let second = &opened[0];
        assert_eq!(second.active().alg(), Algorithm::EdDsa);
        for ring in &opened {
            assert_eq!(kids(ring), kids(second));
        }
        first.rotate().await.unwrap();
        assert_eq!(kids(&first).len(), 1, "the first ring knows nothing of the second");
        assert!(!second.revoke(&kids(&first)[0]).await.unwrap());
        let both: Value = serde_json::from_str(&first.jwks_with(Some(second))).unwrap();
        let listed: Vec<&str> =
            both["keys"].as_array().unwrap().iter().map(|jwk| jwk["kid"].as_str().unwrap()).collect();
        assert_eq!(listed, [kids(&first), kids(second)].concat());
    }
}
