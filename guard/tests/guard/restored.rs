//! After a restore of the service's database: what counts once and was made before is void, whatever the memory says
//! (security decision DEC14, row G7).

use guard::Profile;
use keys::token::TokenKind;
use keys::{RestoreEpoch, UnixSeconds};

use crate::proofs::{pay_with_proof, payment_proof};
use crate::signatures::signed_at;
use crate::world::{NOW, World};

/// Restored at the moment the tests begin, with clocks that differ by ten seconds.
async fn restored() -> World {
    World::in_epoch(RestoreEpoch::new(1, UnixSeconds(NOW + 10))).await
}

#[tokio::test]
async fn g7_a_one_time_token_from_before_a_restore_may_only_repeat_its_answer() {
    let world = restored().await;
    for (later, late) in [(0, true), (10, true), (1, false)] {
        world.advance(later);
        let token = world.sign(TokenKind::OneTime);
        let reply = world.post("/v1/pay", &token).await;
        assert_eq!((reply.status, &reply.body["late"]), (200, &serde_json::json!(late)));
    }
    let ordinary = World::start().await;
    let token = ordinary.sign(TokenKind::OneTime);
    assert_eq!(ordinary.post("/v1/pay", &token).await.body["late"], false);
}

#[tokio::test]
async fn a_proof_from_before_a_restore_needs_a_nonce_of_after_it() {
    let world = restored().await;
    let (token, proof) = payment_proof(&world, "one", None);
    let asked = pay_with_proof(&world, &token, &proof).await;
    assert_eq!((asked.status, asked.code()), (401, "use_dpop_nonce"));
    let nonce = asked.header("dpop-nonce").to_owned();
    let earlier = World::start().await;
    let (_, proof) = payment_proof(&earlier, "two", None);
    let stale = pay_with_proof(&earlier, &token, &proof).await.header("dpop-nonce").to_owned();
    assert_ne!(nonce, stale, "nonces of before are not known any more");
    let (token, proof) = payment_proof(&world, "three", Some(&stale));
    assert_eq!(pay_with_proof(&world, &token, &proof).await.code(), "use_dpop_nonce");
    let (token, proof) = payment_proof(&world, "four", Some(&nonce));
    assert_eq!(pay_with_proof(&world, &token, &proof).await.status, 200);
    world.advance(11);
    let (token, proof) = payment_proof(&world, "five", None);
    assert_eq!(pay_with_proof(&world, &token, &proof).await.status, 200);
}

#[tokio::test]
async fn a_signature_from_before_a_restore_is_void() {
    for profile in [Profile::HttpSignature, Profile::PtiJws] {
        let world = restored().await;
        let reply = signed_at(&world, profile, "one").await;
        assert_eq!((reply.status, reply.code()), (401, "signature_void"), "{profile:?}");
        world.advance(11);
        assert_eq!(signed_at(&world, profile, "two").await.status, 200, "{profile:?}");
    }
}
