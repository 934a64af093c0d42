//! Webhooks that did not arrive: what a partner sees of them, how it has them sent again, and how its consumer closes
//! a gap by numbers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::world::{Call, Receiver, Reply, World, eventually};

/// The path of the endpoint that the receiver is registered as.
async fn path_of(world: &World, receiver: &Receiver) -> String {
    let list = world.get_as("ta/backend", "/v1/webhook-endpoints").await;
    let all = list["data"].as_array().expect("data");
    let endpoint =
        all.iter().find(|endpoint| endpoint["url"] == receiver.url.as_str()).expect("the endpoint");
    format!("/v1/webhook-endpoints/{}", endpoint["id"].as_str().expect("an id"))
}

async fn call(world: &World, method: &'static str, path: &str, body: &Value) -> Call {
    let body = (method == "POST").then_some(body);
    world.call_as("ta/backend", method, path, body).await
}

async fn send(world: &World, method: &'static str, path: &str, body: &Value) -> Reply {
    world.send(call(world, method, path, body).await).await
}

/// The states of the endpoint's deliveries by the number of the event.
async fn states(world: &World, path: &str, query: &str) -> BTreeMap<i64, String> {
    let page = world.get_as("ta/backend", &format!("{path}/deliveries?limit=100{query}")).await;
    let rows = page["data"].as_array().expect("data").clone();
    let of =
        |row: &Value| (row["seq"].as_i64().expect("seq"), row["state"].as_str().expect("state").to_owned());
    rows.iter().map(of).collect()
}

/// The numbers of the partner's events, once as many are numbered as the consumer of `path` was told to expect.
async fn numbers(world: &World, least: usize) -> Vec<i64> {
    eventually("events are numbered", || async {
        let list = world.get_as("ta/backend", "/v1/events?limit=100").await;
        let all: Vec<i64> =
            list["data"].as_array()?.iter().filter_map(|event| event["seq"].as_i64()).collect();
        (all.len() >= least).then_some(all)
    })
    .await
}

flows! {
    async fn a_consumer_closes_a_gap_exactly(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let path = path_of(world, &receiver).await;
        let first = world.customer().await;
        receiver.wait_for("the first customer", |event| event["data"]["customer_id"] == first.customer_id.as_str()).await;
        let before = numbers(world, 1).await.len();
        assert_eq!(send(world, "DELETE", &path, &Value::Null).await.status, 204);
        let missed = world.customer().await;
        world.fund(&missed, 500).await;
        let missed = numbers(world, before + 3).await.len();
        assert_eq!(send(world, "POST", &format!("{path}/enable"), &json!({})).await.expect(200)["status"], "enabled");
        let last = world.customer().await;
        receiver.wait_for("the last customer", |event| event["data"]["customer_id"] == last.customer_id.as_str()).await;
        // The consumer has what arrived, and sees by the numbers that something is missing in between.
        let mut known: BTreeMap<i64, Value> = BTreeMap::new();
        for event in receiver.all() {
            known.insert(event.body["seq"].as_i64().expect("seq"), event.body["data"].clone());
        }
        let mut next = 1;
        while known.contains_key(&next) {
            next += 1;
        }
        let end = *known.keys().find(|seq| **seq > next).expect("a gap, and something behind it");
        assert!(i64::try_from(missed).is_ok_and(|missed| end > next && end >= missed - 1), "{known:?}");
        // It reads page by page until the numbers meet what it has.
        let (mut after, mut repaired) = (next - 1, 0);
        while after < end - 1 {
            let page = world.get_as("ta/backend", &format!("/v1/events?after_seq={after}&limit=2")).await;
            for event in page["data"].as_array().expect("data") {
                let seq = event["seq"].as_i64().expect("seq");
                if seq < end {
                    assert!(known.insert(seq, event["data"].clone()).is_none(), "{seq} was there");
                    repaired += 1;
                }
            }
            after = page["next_after_seq"].as_i64().expect("next_after_seq");
        }
        assert_eq!(repaired, end - next);
        let list = world.get_as("ta/backend", "/v1/events?limit=100").await;
        let listed = list["data"].as_array().expect("data");
        let listed = listed.iter().map(|event| (event["seq"].as_i64().expect("seq"), event["data"].clone()));
        let listed: BTreeMap<i64, Value> = listed.filter(|(seq, _)| known.contains_key(seq)).collect();
        assert_eq!(known, listed);
        assert!(known.keys().zip(1..).all(|(seq, place)| *seq == place), "no gap is left");
    }

    async fn what_was_not_delivered_is_listed_by_state_and_sent_again_when_asked(world: &mut World) {
        let receiver = world.receiver("ta").await;
        receiver.fail_next(1_000);
        let path = path_of(world, &receiver).await;
        world.customer().await;
        let waiting = eventually("an attempt failed", || async {
            let waiting = states(world, &path, "&state=retrying").await;
            (!waiting.is_empty()).then_some(waiting)
        })
        .await;
        let seq = *waiting.keys().next().expect("one");
        assert_eq!(send(world, "DELETE", &path, &Value::Null).await.status, 204);
        let redeliver = format!("{path}/redeliver");
        send(world, "POST", &redeliver, &json!({})).await.refused(409, "endpoint_disabled");
        receiver.fail_next(0);
        for _ in 0..2 {
            assert_eq!(send(world, "POST", &format!("{path}/enable"), &json!({})).await.expect(200)["status"], "enabled");
        }
        world.clock.advance(1_000_000);
        let skipped = states(world, &path, "&state=skipped").await;
        assert!(skipped.contains_key(&seq), "it stays where it is: {skipped:?}");
        let had = receiver.all().iter().filter(|event| event.body["seq"] == seq).count();
        let asked = call(world, "POST", &redeliver, &json!({})).await;
        let answer = world.send(asked.clone()).await;
        assert_eq!(answer.expect(202)["deliveries"], skipped.len());
        eventually("it is delivered", || async {
            (states(world, &path, "&state=delivered").await.contains_key(&seq)).then_some(())
        })
        .await;
        // The same request under the same key is answered and sends nothing more.
        assert_eq!(world.send(asked).await.expect(202)["deliveries"], skipped.len());
        assert_eq!(receiver.all().iter().filter(|event| event.body["seq"] == seq).count(), had + 1);
        let event = receiver.all().into_iter().rev().find(|event| event.body["seq"] == seq).expect("it arrived");
        let one = send(world, "POST", &redeliver, &json!({ "event_id": event.id })).await;
        assert_eq!(one.expect(202)["deliveries"], 1);
        let all = send(world, "POST", &redeliver, &json!({ "after_seq": seq - 1 })).await.expect(202);
        assert!(all["deliveries"].as_i64().is_some_and(|count| count >= 1) && all["has_more"] == false, "{all}");
        send(world, "POST", &redeliver, &json!({ "event_id": "evt_nobodys" })).await.refused(404, "not_found");
        send(world, "POST", &redeliver, &json!({ "event_id": event.id, "after_seq": 0 })).await.refused(422, "one_of_two");
        send(world, "POST", &redeliver, &json!({ "after_seq": -1 })).await.refused(422, "invalid_after_seq");
        for (query, code) in [("state=lost", "invalid_state"), ("after_seq=-1", "invalid_after_seq"), ("limit=101", "invalid_limit")] {
            send(world, "GET", &format!("{path}/deliveries?{query}"), &Value::Null).await.refused(400, code);
        }
    }

    async fn n18_while_a_rotation_lasts_both_keys_verify(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let path = path_of(world, &receiver).await;
        let rotated = send(world, "POST", &format!("{path}/rotate-secret"), &json!({})).await.expect(200);
        let fresh = rotated["public_key"].as_str().expect("public_key").to_owned();
        assert_ne!(fresh, receiver.public_key);
        assert_eq!(rotated["previous_key_until"], world.now().0 + 86_400);
        let arrived = async |what: &str| {
            let customer = world.customer().await;
            receiver.wait_for(what, |event| event["data"]["customer_id"] == customer.customer_id.as_str()).await
        };
        let event = arrived("an event in the rotation").await;
        assert!(event.is_signed_by(&receiver.public_key) && event.is_signed_by(&fresh));
        world.clock.advance(86_400);
        let event = arrived("an event after it").await;
        assert!(!event.is_signed_by(&receiver.public_key) && event.is_signed_by(&fresh));
    }
}
