//! The main job: the eleven steps of a fiat-in, natively, end to end.

use serde_json::json;

use crate::world::{Call, World, personal_data};

flows! {
    async fn the_eleven_steps_end_in_a_credited_wallet_and_a_verified_webhook(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        world.verified(&customer, 1).await;
        let token = world.payment_token(&customer, 10_000).await;
        let mut body = world.payment(&customer, 10_000, "tok_success");
        body["pii"] = personal_data();
        let reply = world.pay(&token, &body).await;
        let location = reply.header("location").to_owned();
        let paid = reply.expect(201);
        assert_eq!((&paid["state"], &paid["decision"]), (&json!("completed"), &json!("accept")), "{paid}");
        assert_eq!(world.available(&customer).await, 10_000);
        let id = paid["id"].as_str().expect("id");
        assert_eq!(location, format!("/v1/fiat-ins/{id}"));

        let status = Call::get(format!("{}{location}", world.resource));
        let status = status.bearer(paid["status_token"].as_str().expect("a status token"));
        assert_eq!(world.send(status).await.expect(200)["state"], "completed");

        let event = receiver
            .wait_for("fiat_in.completed", |event| event["type"] == "fiat_in.completed")
            .await;
        assert!(event.is_signed_by(&receiver.public_key), "{event:?}");
        assert_eq!(event.timestamp, world.now().0);
        assert_eq!(event.body["data"]["fiat_in_id"], id);
        assert_eq!(event.body["data"]["amount"], json!({ "amount": 10_000, "currency": "EUR" }));
        world.assert_all_booked().await;
    }
}
