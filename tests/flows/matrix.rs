//! Every operation of both services against every credential it must not take, generated from their OpenAPI documents:
//! an operation that is added is in these tests at once.

mod documents;
mod foreign;
mod methods;
mod operation;
mod refusals;

use keys::token::TokenKind;
use keys::{SigningKey, jws};
use serde_json::{Value, json};

use self::operation::{Operation, operations};
use self::refusals::Refusals;
use crate::world::{Call, World};

const KINDS: [TokenKind; 6] = [
    TokenKind::Client,
    TokenKind::User,
    TokenKind::Exchanged,
    TokenKind::OneTime,
    TokenKind::Process,
    TokenKind::Employee,
];

/// Those that take a token.
async fn guarded(world: &World) -> Vec<Operation> {
    let all = operations(world).await;
    let guarded: Vec<Operation> = all.into_iter().filter(|operation| !operation.kinds.is_empty()).collect();
    assert!(guarded.len() > 30, "only {} operations take a token", guarded.len());
    guarded
}

flows! {
    async fn a_kind_of_token_that_an_operation_does_not_list_is_refused(world: &mut World) {
        let mut refusals = Refusals::default();
        for operation in guarded(world).await {
            for kind in KINDS.into_iter().filter(|kind| !operation.kinds.contains(kind)) {
                let token = world.mint(&operation.claims(world, kind)).await;
                let reply = world.send(operation.call(world).bearer(&token)).await;
                // One-time tokens are another type of JWT; where none is taken, they are no access token at all.
                let expected =
                    if kind == TokenKind::OneTime { (401, "invalid_token") } else { (403, "wrong_token_kind") };
                refusals.take(&operation, kind.as_str(), &reply, expected);
            }
        }
        refusals.are_logged().await;
    }

    async fn a_kind_of_token_that_an_operation_lists_reaches_it(world: &mut World) {
        for operation in guarded(world).await {
            for kind in operation.kinds.clone() {
                let token = world.mint(&operation.claims(world, kind)).await;
                let call = operation.call(world).bearer(&token);
                let call = if kind == TokenKind::Client { operation.signed(world, call) } else { call };
                let reply = world.send(call).await;
                let code = reply.body["code"].as_str().unwrap_or_default();
                let passed = !matches!(code, "wrong_token_kind" | "insufficient_scope" | "invalid_token");
                assert!(passed && reply.status != 401 && reply.status < 500, "{operation} {kind:?}: {}", reply.text);
            }
        }
    }

    async fn without_a_token_every_operation_answers_401_and_says_where_to_get_one(world: &mut World) {
        let mut refusals = Refusals::default();
        for operation in guarded(world).await {
            let reply = world.send(operation.call(world)).await;
            refusals.take(&operation, "no token", &reply, (401, "invalid_token"));
            let challenge = reply.header("www-authenticate");
            assert!(challenge.starts_with("Bearer"), "{operation}: {challenge}");
            assert!(!challenge.contains("error="), "RFC 6750 §3.1: no error code without credentials: {challenge}");
            if operation.is_of_api() {
                let metadata = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource\"", world.resource);
                assert!(challenge.contains(&metadata), "{operation}: {challenge}");
            }
        }
        refusals.are_logged().await;
    }

    async fn without_its_scope_every_operation_answers_403_and_names_the_scope(world: &mut World) {
        let mut refusals = Refusals::default();
        for operation in guarded(world).await {
            let kind = operation.kinds.iter().copied().find(|kind| *kind != TokenKind::OneTime);
            let kind = kind.expect("an operation takes some token with scopes");
            assert!(!operation.scopes.is_empty(), "{operation} needs no scope");
            let mut claims = operation.claims(world, kind);
            claims.scope = "openid".parse().expect("a scope");
            let token = world.mint(&claims).await;
            let reply = world.send(operation.signed(world, operation.call(world).bearer(&token))).await;
            refusals.take(&operation, "no scope", &reply, (403, "insufficient_scope"));
            let challenge = reply.header("www-authenticate");
            assert!(challenge.contains("error=\"insufficient_scope\""), "{operation}: {challenge}");
            for scope in &operation.scopes {
                assert!(challenge.contains(scope), "{operation}: {scope} in {challenge}");
            }
        }
        refusals.are_logged().await;
    }

    async fn a_token_that_does_not_hold_is_refused_everywhere_in_the_same_way(world: &mut World) {
        let mut refusals = Refusals::default();
        for operation in guarded(world).await {
            for (flaw, token) in flawed(world, &operation).await {
                let reply = world.send(operation.call(world).bearer(&token)).await;
                refusals.take(&operation, flaw, &reply, (401, "invalid_token"));
                let challenge = reply.header("www-authenticate");
                assert!(challenge.contains("error=\"invalid_token\""), "{operation} {flaw}: {challenge}");
            }
        }
        refusals.are_logged().await;
    }

    async fn a_token_belongs_into_one_header_once(world: &mut World) {
        for operation in guarded(world).await {
            let kind = operation.kinds[0];
            let token = world.mint(&operation.claims(world, kind)).await;
            let mut in_query = operation.call(world);
            in_query.url = format!("{}?access_token={token}", in_query.url);
            let reply = world.send(in_query).await;
            assert_eq!(reply.status, 401, "{operation}: RFC 6750 §2.3 is not offered: {}", reply.text);
            let mut twice = operation.call(world).bearer(&token);
            let value = twice.headers["authorization"].clone();
            twice.headers.append("authorization", value);
            let reply = world.send(twice).await;
            assert!(matches!(reply.status, 400 | 401), "{operation}: {}", reply.text);
            let reply = world.send(operation.call(world).header("authorization", &format!("Basic {token}"))).await;
            assert_eq!(reply.status, 401, "{operation}: {}", reply.text);
            if !operation.dialect {
                // The vendor's header counts on the vendor's paths only.
                let reply = world.send(operation.call(world).header("x-pti-token", &token)).await;
                assert_eq!(reply.status, 401, "{operation}: {}", reply.text);
            }
        }
    }

    async fn a_one_time_token_at_another_one_time_endpoint_is_refused_and_spent(world: &mut World) {
        let customer = world.customer().await;
        world.fund(&customer, 5_000).await;
        let other = world.customer().await;
        let transfer = World::transfer(&customer.wallet, &other.wallet, 100);
        let mut refusals = Refusals::default();
        let taking: Vec<Operation> = guarded(world).await;
        let taking = taking.iter().filter(|operation| operation.idempotent && operation.kinds.contains(&TokenKind::OneTime));
        for operation in taking {
            let token = world.open_token(&customer).await;
            let wrong = match operation.path.as_str() {
                // The right path, but another origin than the token was made for.
                "/v1/fiat-ins" => Call::post(format!("{}/v1/fiat-ins", world.door), &world.payment(&customer, 100, "tok_success")),
                "/v1/transfers" => Call::post(format!("{}/v1/transfers", world.resource), &transfer),
                // The customer's partner does not speak the dialect: the path is not there.
                path if operation.dialect => {
                    let reply = world.send(operation.call(world).bearer(&token)).await;
                    assert_eq!(reply.status, 404, "{path}: {}", reply.text);
                    continue;
                }
                path => panic!("{path} takes one-time tokens: say here how it is called"),
            };
            let reply = world.send(wrong.bearer(&token)).await;
            refusals.take(operation, "another operation", &reply, (403, "operation_mismatch"));
            let own = world.pay(&token, &world.payment(&customer, 100, "tok_success")).await;
            refusals.take(operation, "after a mismatch", &own, (401, "token_already_used"));
        }
        assert_eq!(world.available(&customer).await, 5_000, "no money moved");
        assert_eq!(world.available(&other).await, 0);
        refusals.are_logged().await;
    }

    async fn a_one_time_token_counts_only_while_its_client_may_do_the_operation_itself(world: &mut World) {
        let customer = world.customer().await;
        let mut claims = world.claims(TokenKind::OneTime, "ta/narrow", Some(&customer), "");
        claims.operation.as_mut().expect("an operation").uri = format!("{}/v1/fiat-ins", world.resource);
        let token = world.mint(&claims).await;
        let reply = world.pay(&token, &world.payment(&customer, 100, "tok_success")).await;
        reply.refused(403, "insufficient_scope");
    }
}

/// Tokens of the first listed kind with one flaw each.
#[allow(clippy::too_many_lines, reason = "a table of flaws, one a line")]
async fn flawed(world: &World, operation: &Operation) -> Vec<(&'static str, String)> {
    let kind =
        operation.kinds.iter().copied().find(|kind| *kind != TokenKind::OneTime).expect("a kind with scopes");
    let good = operation.claims(world, kind);
    let minted = async |change: &dyn Fn(&mut keys::token::AccessToken)| {
        let mut claims = good.clone();
        change(&mut claims);
        world.mint(&claims).await
    };
    let key = world.signing_key().await;
    let claims = Value::Object(good.to_claims());
    let altered = |member: &str, value: Value| {
        let mut claims = claims.clone();
        claims[member] = value;
        jws::sign(key, "at+jwt", &claims).expect("a token")
    };
    let stranger = SigningKey::es256_from_seed([99; 32]).expect("a key");
    let valid = world.mint(&good).await;
    let (head, rest) = valid.split_once('.').expect("a JWS");
    let (body, signature) = rest.split_once('.').expect("a JWS");
    let now = world.now();
    vec![
        ("expired", minted(&|claims| claims.exp = now).await),
        (
            "expired long ago",
            minted(&|claims| (claims.iat, claims.exp) = (now.plus(-900), now.plus(-600))).await,
        ),
        (
            "from the future",
            minted(&|claims| (claims.iat, claims.exp) = (now.plus(600), now.plus(900))).await,
        ),
        ("another audience", minted(&|claims| claims.aud = "https://elsewhere.test".to_owned()).await),
        (
            "the other service's audience",
            minted(&|claims| claims.aud = operation.other_audience(world)).await,
        ),
        ("two audiences", altered("aud", json!([operation.audience(world), "https://elsewhere.test"]))),
        ("another issuer", minted(&|claims| claims.iss = "https://elsewhere.test".to_owned()).await),
        ("no exp", altered("exp", Value::Null)),
        ("exp as text", altered("exp", json!("9999999999"))),
        ("no kind", altered("token_kind", Value::Null)),
        ("an unknown kind", altered("token_kind", json!("superuser"))),
        ("no partner", altered("partner_id", Value::Null)),
        (
            "an unknown client",
            minted(&|claims| claims.client_id = "cli_ffffffffffffffffffffffffffffffff".to_owned()).await,
        ),
        (
            "another partner's client",
            minted(&|claims| claims.partner_id = world.client("tb/backend").partner_id.clone()).await,
        ),
        ("typ JWT", jws::sign(key, "JWT", &claims).expect("a token")),
        ("typ of an assertion", jws::sign(key, "client-authentication+jwt", &claims).expect("a token")),
        ("typ operation+jwt", jws::sign(key, "operation+jwt", &claims).expect("a token")),
        ("a stranger's key", good.sign(&stranger).expect("a token")),
        (
            "alg none",
            format!("{}.{body}.", header(&json!({ "alg": "none", "typ": "at+jwt", "kid": key.kid() }))),
        ),
        ("HS256 with the public key", hs256(key, body)),
        (
            "a jwk of its own",
            format!(
                "{}.{body}.{signature}",
                header(&json!({
                    "alg": "ES256", "typ": "at+jwt", "kid": key.kid(), "jwk": stranger.public_jwk().to_value(),
                }))
            ),
        ),
        ("a flipped signature", format!("{head}.{body}.{}", flipped(signature))),
        ("no signature", format!("{head}.{body}.")),
        ("another body", format!("{head}.{}.{signature}", flipped(body))),
        ("no JWS", "eyJhbGciOiJFUzI1NiJ9.e30".to_owned()),
    ]
}

fn header(header: &Value) -> String {
    keys::b64::encode(header.to_string())
}

/// The first character of the text exchanged for another.
fn flipped(text: &str) -> String {
    let other = if text.starts_with('A') { "B" } else { "A" };
    format!("{other}{}", &text[1..])
}

/// A MAC with the published key's text as its secret: what a verifier that trusts `alg` would take (RFC 8725 §2.1).
fn hs256(key: &SigningKey, body: &str) -> String {
    use aws_lc_rs::hmac;
    let head = header(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": key.kid() }));
    let secret = key.public_jwk().to_value().to_string();
    let signed = format!("{head}.{body}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", keys::b64::encode(tag))
}
