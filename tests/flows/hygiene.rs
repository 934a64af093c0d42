//! Transport and HTTP hygiene on both services as they run. Tests are named after the rows of the security list.

mod faults;
mod forms;
mod paths;
mod wire;

use self::wire::places;
use crate::world::{Call, World, log};

flows! {
    async fn a4_trace_connect_and_unknown_methods_are_refused_and_echo_nothing(world: &mut World) {
        for place in places(world) {
            for line in [
                format!("TRACE {}", place.path),
                format!("CONNECT {}", place.host),
                "CONNECT elsewhere.test:443".to_owned(),
                "OPTIONS *".to_owned(),
                format!("NOTAMETHOD {}", place.path),
                format!("get {}", place.path),
                format!("POST\t{}", place.path),
            ] {
                let heard = place.ask(&line, &["x-canary: canary-a4"], "").await;
                assert!((400..=501).contains(&heard.status()), "{line}: {heard:?}");
                assert!(!heard.text.contains("canary-a4"), "{line}: {heard:?}");
            }
        }
    }

    async fn a10_two_lengths_for_one_body_never_make_two_answers(world: &mut World) {
        let inner = |host: &str| format!("GET /openapi.json HTTP/1.1\r\nhost: {host}\r\n\r\n");
        for place in places(world) {
            let smuggled = inner(&place.host);
            let length = format!("content-length: {}", smuggled.len());
            for framing in [
                vec![length.as_str(), "transfer-encoding: chunked"],
                vec!["transfer-encoding: chunked", "content-length: 0"],
                vec!["content-length: 0", "transfer-encoding: identity"],
                vec!["transfer-encoding: chunked", "transfer-encoding: identity"],
                vec!["transfer-encoding: chunked, identity"],
                vec!["transfer-encoding: identity, chunked, identity"],
                vec!["transfer-encoding: xchunked"],
                vec!["transfer-encoding:\u{b}chunked"],
                vec!["content-length: +5"],
                vec!["content-length: 5,5"],
                vec!["content-length: 0", "content-length: 5"],
                vec!["content-length: -1"],
                vec!["content-length: 0x5"],
                vec!["content-length: 18446744073709551616"],
            ] {
                let line = format!("POST {}", place.path);
                let body = format!("0\r\n\r\n{smuggled}");
                let heard = place.ask(&line, &framing, &body).await;
                assert!(heard.answers() <= 1, "{framing:?}: {heard:?}");
                assert!(heard.closed, "{framing:?}: the connection stays open: {heard:?}");
                assert!(heard.status() == 0 || heard.status() >= 400, "{framing:?}: {heard:?}");
            }
        }
    }

    async fn a10_line_endings_and_spaces_that_others_read_differently_are_refused(world: &mut World) {
        for place in places(world) {
            for head in [
                format!("GET /openapi.json HTTP/1.1\r\nhost : {}\r\n\r\n", place.host),
                format!("GET /openapi.json HTTP/1.1\r\n host: {}\r\n\r\n", place.host),
                format!("GET /openapi.json HTTP/1.1\r\nhost: {}\r\nx: a\r\n b\r\n\r\n", place.host),
                format!("GET /openapi.json HTTP/1.1\r\nhost: {}\r\nx: a\0b\r\n\r\n", place.host),
                format!("GET /openapi.json HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\n\r\n", host = place.host),
                "GET /openapi.json HTTP/1.1\r\n\r\n".to_owned(),
                format!("GET /open api.json HTTP/1.1\r\nhost: {}\r\n\r\n", place.host),
                format!("GET /openapi.json HTTP/9.1\r\nhost: {}\r\n\r\n", place.host),
            ] {
                let heard = place.say(head.as_bytes()).await;
                assert!(heard.answers() <= 1 && (heard.status() >= 400 || heard.text.is_empty()), "{head:?}: {heard:?}");
            }
        }
    }

    async fn a11_large_heads_end_in_a_refusal_within_a_second(world: &mut World) {
        for place in places(world) {
            let large = |count: usize, bytes: usize| {
                let headers = (0..count).map(|number| format!("x-{number}: {}\r\n", "a".repeat(bytes)));
                let headers: String = headers.collect();
                format!("GET /openapi.json HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", place.host)
            };
            let long = format!("GET /{} HTTP/1.1\r\nhost: {}\r\n\r\n", "a".repeat(64 * 1024), place.host);
            for (what, head) in [
                ("1 MiB of headers", large(1024, 1016)),
                ("10,000 headers", large(10_000, 1)),
                ("one header of 128 KiB", large(1, 128 * 1024)),
                ("one header of 20 KiB", large(1, 20 * 1024)),
                ("a URL of 64 KiB", long),
            ] {
                let began = tokio::time::Instant::now();
                let heard = place.say(head.as_bytes()).await;
                assert!(matches!(heard.status(), 0 | 400 | 414 | 431), "{what}: {heard:?}");
                assert!(heard.closed || heard.status() != 0, "{what}: {heard:?}");
                assert!(began.elapsed().as_millis() < 3_000, "{what}: {:?}", began.elapsed());
            }
            let still = place.ask("GET /openapi.json", &["connection: close"], "").await;
            assert_eq!(still.status(), 200, "the service goes on");
        }
    }

    async fn a12_bodies_over_the_limit_are_refused_before_they_are_read(world: &mut World) {
        for place in places(world) {
            let line = format!("POST {}", place.path);
            let form = "content-type: application/x-www-form-urlencoded";
            // Nothing of the body is sent: the answer cannot have waited for it.
            let declared = place.ask(&line, &[form, "content-length: 104857600"], "").await;
            assert_eq!((declared.status(), declared.json()["code"].as_str()), (413, Some("body_too_large")), "{declared:?}");
            let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x1_0000));
            let endless = place.ask(&line, &[form, "transfer-encoding: chunked"], &chunk.repeat(64)).await;
            assert!(matches!(endless.status(), 0 | 413), "{}", endless.status());
            assert!(endless.closed, "a body that goes on is cut off");
            // Less than it says, and then the connection's end.
            let mut head = format!("{line} HTTP/1.1\r\nhost: {}\r\ncontent-length: 50\r\n\r\nshort", place.host).into_bytes();
            head.truncate(head.len());
            drop(tokio::net::TcpStream::connect(place.address).await.map(|stream| stream.try_write(&head)));
            let still = place.ask("GET /openapi.json", &["connection: close"], "").await;
            assert_eq!(still.status(), 200, "the service goes on");
        }
    }

    async fn a13_no_body_is_decompressed(world: &mut World) {
        for place in places(world) {
            for coding in ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"] {
                let header = format!("content-encoding: {coding}");
                let heard = place.ask(&format!("POST {}", place.path), &[&header, "content-length: 0"], "").await;
                assert_eq!(heard.status(), 415, "{coding}: {heard:?}");
            }
        }
    }

    async fn a14_forwarding_headers_from_anybody_change_nothing(world: &mut World) {
        let lies = [
            "x-forwarded-host: evil.test", "x-forwarded-proto: https", "x-forwarded-for: 203.0.113.9",
            "x-forwarded-port: 443", "forwarded: for=203.0.113.9;host=evil.test;proto=https", "x-real-ip: 203.0.113.9",
            "x-original-url: /v1/entities", "x-rewrite-url: /v1/entities", "x-http-method-override: DELETE",
        ];
        let [authz, api] = places(world);
        for (place, path) in [
            (&authz, "/.well-known/openid-configuration"),
            (&authz, "/.well-known/oauth-authorization-server"),
            (&api, "/.well-known/oauth-protected-resource"),
            (&api, "/v1/entities"),
        ] {
            let line = format!("GET {path}");
            let plain = place.ask(&line, &["connection: close"], "").await;
            let lied = place.ask(&line, &[&lies[..], &["connection: close"]].concat(), "").await;
            assert!(!lied.text.contains("evil.test"), "{path}: {lied:?}");
            assert_eq!(plain.status(), lied.status(), "{path}");
            let body = |heard: &wire::Heard| {
                let mut body = heard.json();
                if let Some(members) = body.as_object_mut() {
                    members.retain(|name, _| !matches!(name.as_str(), "error_id" | "request_id"));
                }
                body
            };
            assert_eq!(body(&plain), body(&lied), "{path}");
        }
        // Guessing is counted for the address that it comes from, whatever it says.
        let client = &world.client("ta/backend").client_id;
        let mut last = 0;
        for attempt in 0..12 {
            let form = [("grant_type", "client_credentials"), ("client_id", client.as_str()), ("client_secret", "guess")];
            let call = Call::form(format!("{}/oauth2/token", world.issuer), &form);
            last = world.send(call.header("x-forwarded-for", &format!("203.0.113.{attempt}"))).await.status;
        }
        assert_eq!(last, 429, "a new X-Forwarded-For is not a new guesser");
    }

    async fn a15_header_names_with_an_underscore_mean_nothing(world: &mut World) {
        let [_, api] = places(world);
        let token = world.token_for_api("ta/backend").await;
        let body = serde_json::json!({ "external_id": world.unique("person") }).to_string();
        let length = format!("content-length: {}", body.len());
        let bearer = format!("authorization: Bearer {token}");
        let common = [length.as_str(), "content-type: application/json", "connection: close"];
        let without = api.ask("POST /v1/customers", &[&common[..], &[&bearer, "idempotency_key: abcdefgh"]].concat(), &body).await;
        assert_eq!(without.status(), 400, "Idempotency_Key is no Idempotency-Key: {without:?}");
        for name in ["x_authorization", "proxy_authorization", "x_pti_token", "x_forwarded_user", "authorization_"] {
            let header = format!("{name}: Bearer {token}");
            let heard = api.ask("POST /v1/customers", &[&common[..], &[&header, "idempotency-key: abcdefgh"]].concat(), &body).await;
            assert_eq!(heard.status(), 401, "{name}: {heard:?}");
        }
    }

    async fn a21_probes_metrics_and_debugging_are_not_on_the_public_listeners(world: &mut World) {
        for base in [&world.issuer, &world.resource, &world.door] {
            for path in ["/livez", "/readyz", "/healthz", "/health", "/metrics", "/debug/pprof", "/dev/inbox", "/dev/webhooks", "/.git/config", "/.env", "/server-status"] {
                let reply = world.send(Call::get(format!("{base}{path}"))).await;
                assert!(matches!(reply.status, 404 | 405), "{base}{path}: {}", reply.status);
            }
        }
        for agent in ["kube-probe/1.31", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Prometheus/3.0"] {
            let call = Call::get(format!("{}/v1/entities", world.resource)).header("user-agent", agent);
            world.send(call).await.refused(401, "invalid_token");
        }
        for ops in [world.authz.ops, world.api.ops] {
            let base = format!("http://{ops}");
            for path in ["/livez", "/readyz", "/metrics"] {
                assert_eq!(world.send(Call::get(format!("{base}{path}"))).await.status, 200, "{base}{path}");
            }
            for path in ["/oauth2/jwks", "/v1/entities", "/openapi.json", "/docs/"] {
                assert_eq!(world.send(Call::get(format!("{base}{path}"))).await.status, 404, "{base}{path}");
            }
        }
        let metrics = world.send(Call::get(format!("http://{}/metrics", world.api.ops))).await.text;
        assert!(metrics.contains("http_requests_total"), "there are metrics");
        for secret in world.clients.iter().filter_map(|client| client.secret.as_deref()) {
            assert!(!metrics.contains(secret));
        }
    }

    async fn o2_line_breaks_colours_and_json_in_a_request_stay_inside_one_log_line(world: &mut World) {
        let canary = world.unique("canary");
        let evil = format!("{canary}\r\n{{\"level\":\"ERROR\",\"message\":\"forged-{canary}\"}}\u{1b}[31m\"}}");
        let encoded: String = url::form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        for base in [&world.issuer, &world.resource] {
            world.send(Call::get(format!("{base}/{encoded}"))).await;
            world.send(Call::get(format!("{base}/v1/users/{encoded}?x={encoded}"))).await;
        }
        let fields = [("grant_type", evil.as_str()), ("scope", &evil), ("client_id", &evil), ("client_secret", &evil)];
        world.send(Call::form(format!("{}/oauth2/token", world.issuer), &fields)).await;
        let pair = { use base64::Engine; base64::engine::general_purpose::STANDARD.encode(format!("{evil}:{evil}")) };
        let basic = Call::form(format!("{}/oauth2/token", world.issuer), &fields[..2]).header("authorization", &format!("Basic {pair}"));
        world.send(basic).await;
        let agent = format!("{canary} {{\"level\":\"ERROR\",\"message\":\"forged-{canary}\"}}");
        let call = Call::get(format!("{}/v1/entities", world.resource)).header("user-agent", &agent);
        world.send(call.header("x-request-id", &agent).header("traceparent", &agent)).await.refused(401, "invalid_token");
        let token = world.token("ta/backend", "users:write").await;
        let body = serde_json::json!({ "external_id": evil });
        let reply = world.send(Call::post(format!("{}/v1/users", world.issuer), &body).bearer(&token)).await;
        assert_eq!(reply.status, 422, "{}", reply.text);
        let last = reply.body["error_id"].as_str().expect("error_id").to_owned();
        crate::world::eventually("the last line is written", || async { log::text().contains(&last).then_some(()) }).await;
        for line in log::text().lines() {
            assert!(!line.contains('\u{1b}'), "{line}");
            if line.contains(&canary) || line.starts_with("{\"level\"") {
                let parsed: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
                assert!(parsed["time"].is_string() && parsed["target"].is_string(), "a forged line: {line}");
                assert_ne!(parsed["message"], format!("forged-{canary}"), "a forged line: {line}");
            }
        }
    }
}
