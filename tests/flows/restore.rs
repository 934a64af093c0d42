//! A restored database has forgotten what was spent after the backup: what was made before counts no more (security
//! decision DEC14, row G7, reliability R21).

use serde_json::json;

use crate::dpop::{bound_client_token, device, proved};
use crate::world::{Call, Databases, World};

flows! {
    async fn g7_what_counts_once_and_was_made_before_a_restore_is_void_after_it(databases: Databases) {
        let mut world = World::start(databases).await;
        let customer = world.customer().await;
        let body = || world.payment(&customer, 1_000, "tok_success");
        let before = world.pay_call(&world.payment_token(&customer, 1_000).await, &body());
        let paid_before = world.send(before.clone()).await;
        assert_eq!(paid_before.status, 201, "{}", paid_before.text);
        let after = world.pay_call(&world.payment_token(&customer, 1_000).await, &body());
        let never = world.pay_call(&world.payment_token(&customer, 1_000).await, &body());
        let bound = bound_client_token(&world, "entities:write").await;
        let signed = world.call_as("ta/signed", "GET", "/v1/fiat-ins", None).await;

        let backup = world.copy_of_api().await;
        // Spent after the backup: the token, the proof, the signature.
        assert_eq!(world.send(after.clone()).await.status, 201);
        let wallet = json!({ "kind": "customer", "owner": customer.customer_id, "currency": "CHF" });
        let proof = Call::post(format!("{}/v1/entities", world.resource), &wallet).key("wallet-1");
        let proof = proved(&world, proof, &bound, &device(), None);
        assert_eq!(world.send(proof.clone()).await.status, 201);
        assert_eq!(world.send(signed.clone()).await.status, 200);

        world.restore_api(backup).await;
        world.send(after.clone()).await.refused(401, "invalid_token");
        world.send(never.clone()).await.refused(401, "invalid_token");
        world.send(proof.clone()).await.refused(401, "use_dpop_nonce");
        world.send(signed.clone()).await.refused(401, "signature_void");
        // What the backup knows is answered as it was, and effects nothing.
        assert_eq!(world.send(before.clone()).await.same(), paid_before.same());
        assert_eq!(world.available(&customer).await, 1_000);

        world.clock.advance(11);
        for void in [after, never] {
            world.send(void).await.refused(401, "invalid_token");
        }
        world.send(proof).await.refused(401, "use_dpop_nonce");
        let fresh = world.pay_call(&world.payment_token(&customer, 1_000).await, &world.payment(&customer, 1_000, "tok_success"));
        assert_eq!(world.send(fresh.clone()).await.status, 201);
        world.restart_api().await;
        assert_eq!(world.send(fresh).await.status, 201, "the epoch is of the restore, not of a restart");
        assert_eq!(world.available(&customer).await, 2_000);
        world.end_services().await;
    }
}
