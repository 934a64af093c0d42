//! Operations that happen once, over the real layers: `Idempotency-Key` and one-time tokens (security
//! decision DEC7, tests G1 and G10).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post;
use chassis::claim::StoredAnswer;
use chassis::clock::FixedClock;
use chassis::db::Outcome;
use chassis::http::{HttpOptions, Problem, layered};
use chassis::testing::{TestDatabase, platform};
use guard::{Caller, OneTime, Presented};
use keys::UnixSeconds;
use keys::token::{Money, OperationGrant, Scope, TokenKind};
use resource_api::app::App;
use resource_api::auth::{Attempt, Begun, Bound, begin, finish, reply, still_running};
use resource_api::domain::refusal::Refusal;
use resource_api::open;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::config;

const URI: &str = "http://localhost:8081/orders";

struct World {
    app: App,
    clock: Arc<FixedClock>,
    router: Router,
    _database: TestDatabase,
}

struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    fn code(&self) -> String {
        let document: Value = serde_json::from_str(&self.body).unwrap_or_default();
        document["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// An operation that makes an order, unless its body says `refuse`; body `{"amount": …}`.
async fn order(
    State(app): State<App>,
    attempt: Attempt,
    body: chassis::http::RawBody,
) -> Result<Response, Problem> {
    static MADE: AtomicI64 = AtomicI64::new(0);
    let asked: Value = serde_json::from_slice(&body.0).unwrap();
    let bound = Bound {
        money: asked["amount"].as_i64().map(|amount| Money { amount, currency: "EUR".into() }),
        entity_id: None,
    };
    let order_id = app.platform.new_id("ord");
    let refused = asked.get("refuse").is_some();
    let answer = app
        .db
        .write_or_undo(move |tx| {
            let (attempt, bound, order_id) = (attempt.clone(), bound.clone(), order_id.clone());
            Box::pin(async move {
                match begin(tx, &attempt, &order_id, &bound).await? {
                    Begun::Answered(answer) => return Ok(Outcome::Commit(Ok(answer))),
                    Begun::Refused(refusal) => return Ok(Outcome::Undo(Err(refusal))),
                    Begun::Running { .. } => return Ok(Outcome::Undo(Err(still_running()))),
                    Begun::Fresh => {}
                }
                if refused {
                    return Ok(Outcome::Undo(Err(Refusal::unprocessable("refused", "/amount", "no"))));
                }
                let number = MADE.fetch_add(1, Ordering::SeqCst);
                let body = json!({"id": order_id, "number": number}).to_string();
                let answer = StoredAnswer { status: 201, body };
                finish(tx, &attempt, &answer).await?;
                Ok(Outcome::Commit(Ok(answer)))
            })
        })
        .await?;
    Ok(reply(answer?))
}

impl World {
    async fn on(database: TestDatabase) -> Self {
        let (platform, clock) = platform();
        let app = open(config(&database, "http://localhost:8080"), platform).await.unwrap();
        let options = HttpOptions::new("orders", vec!["http://localhost:8081".parse().unwrap()]);
        let routes = Router::new()
            .route("/orders", post(order))
            .route("/others", post(order))
            .with_state(app.clone())
            .layer(from_fn(present));
        let layers = layered(routes, options, &app.platform);
        Self { app, clock, router: layers, _database: database }
    }

    async fn send(&self, path: &str, caller: &Caller, key: Option<&str>, body: &str) -> Reply {
        let mut request = Request::builder().method("POST").uri(path).header("host", "localhost:8081");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(caller.clone());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        Reply { status, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn alerts(&self) -> usize {
        self.app
            .db
            .read(|tx| {
                Box::pin(async move {
                    let rows: Vec<(String,)> = chassis::on!(tx, conn => chassis::sqlx::query_as(
                        "SELECT event_id FROM event WHERE kind = 'user_token.replayed'")
                        .fetch_all(conn)
                        .await)
                    .map_err(chassis::while_doing("count alerts"))?;
                    Ok(rows.len())
                })
            })
            .await
            .unwrap()
    }
}

/// Stands for the guard: it was tested on its own.
async fn present(mut request: Request, next: Next) -> Response {
    if let Some(caller) = request.extensions_mut().remove::<Caller>() {
        request.extensions_mut().insert(Presented::Caller(Box::new(caller)));
    }
    next.run(request).await
}

fn client() -> Caller {
    Caller {
        kind: TokenKind::Client,
        partner_id: "par_a".into(),
        client_id: "cli_a".into(),
        sub: "cli_a".into(),
        scope: Scope::default(),
        jti: Some("jti".into()),
        process_id: None,
        one_time: None,
    }
}

fn one_time(jti: &str, money: Option<i64>, now: UnixSeconds) -> Caller {
    Caller {
        kind: TokenKind::OneTime,
        sub: "usr_a".into(),
        one_time: Some(OneTime {
            issuer: "http://localhost:8080".into(),
            jti: jti.into(),
            expires_at: now.plus(300),
            late: false,
            operation: OperationGrant {
                method: "POST".into(),
                uri: URI.into(),
                money: money.map(|amount| Money { amount, currency: "EUR".into() }),
                entity_id: None,
            },
        }),
        ..client()
    }
}

#[tokio::test]
async fn an_idempotency_key_is_needed_and_repeats_the_answer() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let caller = client();
        assert_eq!(world.send("/orders", &caller, None, "{}").await.code(), "idempotency_key_required");
        let long = "k".repeat(256);
        for bad in ["", "a b", long.as_str()] {
            let reply = world.send("/orders", &caller, Some(bad), "{}").await;
            assert_eq!((reply.status, reply.code().as_str()), (400, "idempotency_key_invalid"), "{bad:?}");
        }
        let first = world.send("/orders", &caller, Some("k-1"), r#"{"amount":1}"#).await;
        assert_eq!(first.status, 201);
        let again = world.send("/orders", &caller, Some("k-1"), r#"{"amount":1}"#).await;
        assert_eq!((again.status, &again.body), (201, &first.body));
        let other = world.send("/orders", &caller, Some("k-1"), r#"{"amount":2}"#).await;
        assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
        let elsewhere = world.send("/others", &caller, Some("k-1"), r#"{"amount":1}"#).await;
        assert_eq!(elsewhere.code(), "idempotency_key_reused");
        let neighbour = Caller { partner_id: "par_b".into(), ..client() };
        let theirs = world.send("/orders", &neighbour, Some("k-1"), r#"{"amount":1}"#).await;
        assert_ne!(theirs.body, first.body, "another partner's key is another key");
    }
}

#[tokio::test]
async fn a_refusal_that_made_nothing_leaves_key_and_token_unused() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let token = one_time("jti-1", None, world.app.platform.now());
        for (caller, key) in [(client(), Some("k-1")), (token, None)] {
            let refused = world.send("/orders", &caller, key, r#"{"refuse":1}"#).await;
            assert_eq!((refused.status, refused.code().as_str()), (422, "refused"));
            let made = world.send("/orders", &caller, key, r#"{"amount":1}"#).await;
            assert_eq!(made.status, 201);
        }
    }
}

#[tokio::test]
async fn a_spent_token_repeats_for_a_day_and_refuses_every_other_request() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let mut token = one_time("jti-1", None, world.app.platform.now());
        let first = world.send("/orders", &token, None, r#"{"amount":1}"#).await;
        assert_eq!(first.status, 201);
        let replay = world.send("/orders", &token, None, r#"{"amount":2}"#).await;
        assert_eq!((replay.status, replay.code().as_str()), (401, "token_already_used"));
        assert_eq!(world.send("/others", &token, None, r#"{"amount":1}"#).await.code(), "token_already_used");
        assert_eq!(world.alerts().await, 1, "one alert for each token");
        world.clock.advance(300 + 86_399);
        token.one_time.as_mut().unwrap().late = true;
        let again = world.send("/orders", &token, None, r#"{"amount":1}"#).await;
        assert_eq!((again.status, again.body), (201, first.body));
        let mut unused = one_time("jti-2", None, world.app.platform.now());
        unused.one_time.as_mut().unwrap().late = true;
        let late = world.send("/orders", &unused, None, r#"{"amount":1}"#).await;
        assert_eq!((late.status, late.code().as_str()), (401, "invalid_token"));
    }
}

#[tokio::test]
async fn a_mismatch_spends_the_token_and_stays_on_record() {
    for database in TestDatabase::both().await {
        let world = World::on(database).await;
        let token = one_time("jti-1", Some(100), world.app.platform.now());
        let wrong = world.send("/orders", &token, None, r#"{"amount":101}"#).await;
        assert_eq!((wrong.status, wrong.code().as_str()), (403, "operation_mismatch"));
        let same = world.send("/orders", &token, None, r#"{"amount":101}"#).await;
        assert_eq!((same.status, &same.body), (403, &wrong.body));
        let right = world.send("/orders", &token, None, r#"{"amount":100}"#).await;
        assert_eq!((right.status, right.code().as_str()), (401, "token_already_used"));
        let elsewhere = one_time("jti-2", None, world.app.platform.now());
        assert_eq!(world.send("/others", &elsewhere, None, "{}").await.code(), "operation_mismatch");
        assert_eq!(world.send("/orders?x=1", &elsewhere, None, "{}").await.code(), "token_already_used");
    }
}

/// 64 different bodies at once: one order. 64 equal bodies at once: one order, 64 equal answers.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_racing_uses_of_one_token_one_makes_the_order() {
    for database in TestDatabase::both().await {
        let world = Arc::new(World::on(database).await);
        for equal in [false, true] {
            let token = one_time(&format!("jti-{equal}"), None, world.app.platform.now());
            let racing = (0..64).map(|number| {
                let (world, token) = (Arc::clone(&world), token.clone());
                let amount = if equal { 0 } else { number };
                tokio::spawn(async move {
                    world.send("/orders", &token, None, &json!({"amount": amount}).to_string()).await
                })
            });
            let replies: Vec<Reply> =
                futures_util::future::join_all(racing).await.into_iter().map(Result::unwrap).collect();
            let made: Vec<_> = replies.iter().filter(|reply| reply.status == 201).collect();
            if equal {
                assert_eq!(made.len(), 64);
                assert!(made.iter().all(|reply| reply.body == made[0].body));
            } else {
                assert_eq!(made.len(), 1);
                let refused = replies.iter().filter(|reply| reply.code() == "token_already_used").count();
                assert_eq!(refused, 63);
            }
        }
    }
}
