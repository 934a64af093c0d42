//! Webhook endpoints and the list of events over HTTP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use chassis::testing::TestDatabase;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::world::{Ask, World, order};

type Received = Arc<Mutex<Vec<(String, Value)>>>;

async fn receiver() -> (Received, String) {
    async fn take(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        assert!(headers["webhook-signature"].to_str().unwrap().starts_with("v1a,"));
        received.lock().unwrap().push((id, serde_json::from_slice(&body).unwrap()));
        StatusCode::NO_CONTENT
    }
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", post(take)).with_state(Arc::clone(&received));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (received, url)
}

async fn wait_for(received: &Received, count: usize) -> Vec<(String, Value)> {
    for _ in 0..100 {
        let known = received.lock().unwrap().clone();
        if known.len() >= count {
            return known;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{count} webhooks did not arrive: {received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fiat_in_reaches_the_partners_endpoint_and_can_be_sent_again() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let (received, url) = receiver().await;
        let token = world.client("backend");
        let body = json!({"url": url, "event_kinds": ["fiat_in.*"]});
        let made = world.call(Ask::post("/v1/webhook-endpoints", &body).bearer(&token).key("k")).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert!(made.json()["public_key"].as_str().unwrap().starts_with("whpk_"));
        let again = world.call(Ask::post("/v1/webhook-endpoints", &body).bearer(&token).key("k")).await;
        assert_eq!(again.text, made.text);
        let paid = order(&wallet, 300, "tok_success", "order-1");
        world.call(Ask::post("/v1/fiat-ins", &paid).bearer(&world.one_time("alice", None))).await;
        // Deliveries may overtake each other; `seq` gives the order.
        let mut hooks = wait_for(&received, 2).await;
        hooks.sort_by_key(|(_, body)| body["seq"].as_i64());
        let kinds: Vec<_> = hooks.iter().map(|(_, body)| body["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["fiat_in.processing", "fiat_in.completed"]);

        let events = world.events().await;
        let seqs: Vec<_> = events.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (1..=i64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
        let after = world.call(Ask::get("/v1/events?after_seq=2&limit=1").bearer(&token)).await.json();
        assert_eq!((after["data"][0]["seq"].as_i64(), after["next_after_seq"].as_i64()), (Some(3), Some(3)));
        let id = &hooks[1].0;
        let one = world.call(Ask::get(&format!("/v1/events/{id}")).bearer(&token)).await;
        assert_eq!((one.status, &one.json()["data"]), (200, &hooks[1].1["data"]));
        let sent = Ask::post(&format!("/v1/events/{id}/redeliver"), &json!({})).key("again");
        let sent = world.call(sent.bearer(&token)).await;
        assert_eq!((sent.status, sent.json()["deliveries"].as_i64()), (202, Some(1)), "{}", sent.text);
        assert_eq!(wait_for(&received, 3).await[2].0, *id, "the same webhook-id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_and_events_belong_to_their_partner() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let (token, foreign) = (world.client("backend"), world.client("other"));
        let body = json!({"url": "http://127.0.0.1:9/x"});
        let made = world.call(Ask::post("/v1/webhook-endpoints", &body).bearer(&token).key("k")).await;
        let path = format!(
            "/v1/webhook-endpoints/{}",
            made.json()["id"].as_str().unwrap_or_else(|| panic!("{}", made.text))
        );
        world
            .call(
                Ask::post("/v1/fiat-ins", &order(&wallet, 1, "tok_success", "o"))
                    .bearer(&world.one_time("alice", None)),
            )
            .await;
        let event = format!("/v1/events/{}", world.events().await[0]["id"].as_str().unwrap());
        for path in [&path, &event] {
            assert_eq!(world.call(Ask::get(path).bearer(&foreign)).await.status, 404, "{path}");
            assert_eq!(world.call(Ask::get(path).bearer(&token)).await.status, 200, "{path}");
        }
        assert_eq!(world.call(Ask::delete(&path).bearer(&foreign)).await.status, 404);
        let list = world.call(Ask::get("/v1/events").bearer(&foreign)).await.json();
        assert_eq!(list["data"], json!([]));
        assert_eq!(world.call(Ask::delete(&path).bearer(&token)).await.status, 204);
        let disabled = world.call(Ask::get(&path).bearer(&token)).await.json();
        assert_eq!(disabled["status"], "disabled");
        let targets = [("http://10.0.0.1/x", "target_not_allowed"), ("nonsense", "target_not_allowed")];
        for (url, code) in targets {
            let reply = Ask::post("/v1/webhook-endpoints", &json!({"url": url}))
                .bearer(&token)
                .key(url.split(':').next().unwrap());
            let reply = world.call(reply).await;
            assert_eq!((reply.status, reply.code().as_str()), (422, code));
        }
    }
}
