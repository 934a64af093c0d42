//! A change of the master key, with both services as they are: nothing that was sealed, hashed or promised is lost.

use keys::seal::{MasterKey, MasterKeys};
use secrecy::SecretString;

use crate::world::{World, personal_data};

/// The master key that comes.
const NEW: [u8; 32] = [77; 32];

fn text(key: [u8; 32]) -> SecretString {
    SecretString::from(keys::b64::encode(key))
}

flows! {
    async fn repeats_status_tokens_and_personal_data_survive_a_new_master_key(world: &mut World) {
        let customer = world.customer().await;
        let mut order = world.payment(&customer, 1_000, "tok_success");
        order["pii"] = personal_data();
        let call = world.pay_call(&world.payment_token(&customer, 1_000).await, &order);
        let paid = world.send(call.clone()).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
        let (id, status_token) = (paid.body["id"].clone(), paid.body["status_token"].clone());
        let page = format!("{}/v1/fiat-ins/{}", world.resource, id.as_str().expect("id"));
        let revisions = "SELECT CAST(SUM(revision) AS BIGINT) FROM customer_pii";
        let known = world.number(revisions.to_owned()).await;
        assert!(known > 0, "there is personal data");

        // New data goes under the new key at once, old data opens still.
        let old = world.api.config.master_key.clone().expect("the master key");
        world.api.config.master_key = Some(text(NEW));
        world.api.config.readable_master_keys = vec![old];
        world.restart_api().await;
        let seen = world.send(crate::world::Call::get(page.clone()).bearer(status_token.as_str().expect("status_token"))).await;
        assert_eq!(seen.expect(200)["id"], id);
        assert_eq!(world.send(call.clone()).await.same(), paid.same(), "the same answer");

        let master = world.api.config.master_keys().expect("both keys");
        let columns = [chassis::sealed::COLUMNS, resource_api::crypto::vault::SEALED].concat();
        let on = (&world.api.app.db, &world.platform);
        let done = chassis::sealed::rekey(on, &master, &columns, &mut |_| ()).await.expect("sealed anew");
        assert!(done.sealed_anew >= 8 && done.left == 0, "{done:?}");
        assert_eq!(world.send(call.clone()).await.same(), paid.same(), "while it runs");

        world.api.config.readable_master_keys.clear();
        world.restart_api().await;
        assert_eq!(world.send(call).await.same(), paid.same(), "without the old key");
        let seen = world.send(crate::world::Call::get(page).bearer(status_token.as_str().expect("status_token"))).await;
        assert_eq!(seen.expect(200)["id"], id);
        // The same personal data is recognised: nothing is written anew.
        let mut again = world.payment(&customer, 1_000, "tok_success");
        again["pii"] = personal_data();
        let token = world.payment_token(&customer, 1_000).await;
        assert_eq!(world.pay(&token, &again).await.status, 201);
        assert_eq!(world.number(revisions.to_owned()).await, known);
        // Every field opens under the new key alone.
        let alone = MasterKeys::new(MasterKey::new(NEW), Vec::new());
        let other = MasterKeys::new(MasterKey::new([78; 32]), vec![MasterKey::new(NEW)]);
        let on = (&world.api.app.db, &world.platform);
        for keys in [other, MasterKeys::new(alone.current().clone(), vec![MasterKey::new([78; 32])])] {
            let done = chassis::sealed::rekey(on, &keys, &columns, &mut |_| ()).await.expect("every text opens");
            assert!(done.sealed_anew >= 8 && done.left == 0, "{done:?}");
        }
    }
}
