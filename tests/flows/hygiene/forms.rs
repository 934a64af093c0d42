//! The token endpoint's form: rows A3 and A5 to A9.

use serde_json::Value;

use crate::world::{Call, Client, Reply, World};

fn basic(client: &Client) -> String {
    use base64::Engine;
    let pair = format!("{}:{}", client.client_id, client.secret.as_deref().expect("a secret"));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

async fn ask(world: &World, query: &str, body: &str) -> Reply {
    let mut call = Call::new("POST", format!("{}/oauth2/token{query}", world.issuer))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", &basic(world.client("ta/backend")));
    call.body = body.as_bytes().to_vec();
    world.send(call).await
}

#[track_caller]
fn refused(reply: &Reply, error: &str) {
    assert_eq!((reply.status, reply.body["error"].as_str()), (400, Some(error)), "{}", reply.text);
    assert!(reply.body["error_id"].as_str().is_some_and(|id| id.starts_with("err_")), "{}", reply.text);
}

const GRANT: &str = "grant_type=client_credentials";

flows! {
    async fn a3_the_token_endpoint_takes_post_only(world: &mut World) {
        for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD"] {
            let reply = world.send(Call::new(method, format!("{}/oauth2/token?{GRANT}", world.issuer))).await;
            assert_eq!((reply.status, reply.header("allow")), (405, "POST"), "{method}: {}", reply.text);
        }
    }

    async fn a5_token_answers_and_refusals_are_json_that_nobody_stores(world: &mut World) {
        let good = ask(world, "", &format!("{GRANT}&scope=users:read")).await;
        let bad = ask(world, "", "grant_type=implicit").await;
        let worse = ask(world, "", &format!("{GRANT}&scope=nonsense")).await;
        assert_eq!([good.status, bad.status, worse.status], [200, 400, 400]);
        for reply in [good, bad, worse] {
            assert_eq!(reply.header("cache-control"), "no-store", "{}", reply.text);
            assert!(reply.header("content-type").starts_with("application/json"), "{}", reply.text);
            assert!(reply.body.is_object(), "{}", reply.text);
        }
    }

    async fn a6_a_parameter_given_twice_is_refused_wherever_it_stands(world: &mut World) {
        for body in [
            format!("{GRANT}&scope=users:read&scope=users:write"),
            format!("{GRANT}&{GRANT}&scope=users:read"),
            format!("{GRANT}&scope=users:read&%73cope=users:read"),
        ] {
            refused(&ask(world, "", &body).await, "invalid_request");
        }
        // One half in the query: what stands there is no parameter, and an OAuth one is refused.
        let split = ask(world, "?scope=users:write", &format!("{GRANT}&scope=users:read")).await;
        refused(&split, "invalid_request");
    }

    async fn a7_credentials_in_the_query_are_never_taken(world: &mut World) {
        let client = world.client("ta/backend");
        let secret = client.secret.as_deref().expect("a secret");
        let query = format!("?{GRANT}&client_id={}&client_secret={secret}", client.client_id);
        for body in ["", GRANT, "scope=users:read"] {
            let url = format!("{}/oauth2/token{query}", world.issuer);
            let mut call = Call::new("POST", url).header("content-type", "application/x-www-form-urlencoded");
            call.body = body.as_bytes().to_vec();
            let reply = world.send(call).await;
            assert!(matches!(reply.status, 400 | 401), "{}", reply.text);
            assert!(!reply.text.contains(secret) && reply.body["access_token"].is_null(), "{}", reply.text);
        }
    }

    async fn a8_an_empty_parameter_is_as_good_as_none(world: &mut World) {
        let without = ask(world, "", &format!("{GRANT}&scope=users:read")).await.expect(200);
        let empty = ask(world, "", &format!("{GRANT}&scope=users:read&resource=&client_assertion=&audience=")).await.expect(200);
        assert_eq!(without["scope"], empty["scope"]);
        refused(&ask(world, "", "grant_type=&scope=users:read").await, "invalid_request");
    }

    async fn a9_unknown_parameters_are_ignored_and_not_echoed(world: &mut World) {
        let canary = "canary-a9";
        let unknown = format!("&unknown={canary}&{canary}=1&redirect_uri=https://{canary}.test");
        let good = ask(world, &format!("?state={canary}"), &format!("{GRANT}&scope=users:read{unknown}")).await;
        assert_eq!(good.status, 200, "{}", good.text);
        let bad = ask(world, "", &format!("grant_type={canary}{unknown}")).await;
        refused(&bad, "unsupported_grant_type");
        let scope = ask(world, "", &format!("{GRANT}&scope={canary}")).await;
        refused(&scope, "invalid_scope");
        for reply in [good, bad, scope] {
            assert!(!reply.text.contains(canary), "{}", reply.text);
        }
    }

    async fn other_media_types_and_broken_forms_are_refused_as_oauth_errors(world: &mut World) {
        let url = format!("{}/oauth2/token", world.issuer);
        let authorization = basic(world.client("ta/backend"));
        for (kind, body) in [
            ("application/json", r#"{"grant_type":"client_credentials"}"#),
            ("text/plain", GRANT),
            ("multipart/form-data; boundary=x", GRANT),
            ("application/x-www-form-urlencoded", "grant_type=%ZZ"),
            ("application/x-www-form-urlencoded", "grant_type=%ff"),
            ("application/x-www-form-urlencoded", "\u{0}"),
        ] {
            let mut call = Call::new("POST", url.clone()).header("content-type", kind).header("authorization", &authorization);
            call.body = body.as_bytes().to_vec();
            let reply = world.send(call).await;
            assert!(matches!(reply.status, 400 | 415), "{kind} {body}: {}", reply.text);
            assert_ne!(reply.body["error"], Value::Null, "{kind} {body}: {}", reply.text);
        }
    }
}
