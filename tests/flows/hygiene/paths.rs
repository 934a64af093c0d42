//! Row A22: other spellings of a path never lead around what stands before it.

use super::wire::{Place, places};
use crate::world::World;

/// Other spellings of an absolute path.
fn spellings(path: &str) -> Vec<String> {
    let (folder, last) = path.rsplit_once('/').expect("an absolute path");
    let (first, rest) = last.split_at(1);
    let encoded = format!("{folder}/%{:02x}{rest}", first.as_bytes()[0]);
    vec![
        format!("{path}/"),
        format!("/{path}"),
        format!("{folder}//{last}"),
        encoded.clone(),
        encoded.to_uppercase(),
        format!("{path};x=1"),
        format!("{folder};x=1/{last}"),
        format!("/x/..{path}"),
        format!("/docs/..{path}"),
        format!("/docs/%2e%2e{path}"),
        format!("/.well-known/..;{path}"),
        format!("{folder}/./{last}"),
        format!("{folder}/x/../{last}"),
        format!("{folder}%2f{last}"),
        format!("{folder}\\{last}"),
        format!("{path}%00"),
        format!("{path}%20"),
        format!("{path}."),
        format!("{path}.json"),
        path.to_uppercase(),
        format!("{path}%3fx"),
        format!("{path}#x"),
    ]
}

flows! {
    async fn a22_no_spelling_of_a_guarded_path_is_answered_without_a_token(world: &mut World) {
        let [authz, api] = places(world);
        for (place, path) in [
            (&authz, "/v1/clients"), (&authz, "/v1/partners"), (&authz, "/v1/directory"),
            (&api, "/v1/entities"), (&api, "/v1/customers"), (&api, "/v1/reviews"), (&api, "/v1/events"), (&api, "/users"),
        ] {
            for spelling in spellings(path) {
                let heard = place.ask(&format!("GET {spelling}"), &["connection: close"], "").await;
                assert!(matches!(heard.status(), 400 | 401 | 404), "{spelling}: {heard:?}");
            }
        }
    }

    async fn a22_no_spelling_of_a_path_takes_less_than_its_own(world: &mut World) {
        let [authz, api] = places(world);
        // Good for the one service and without the scope of these paths.
        let token = world.token("ta/backend", "kyc:read").await;
        let bearer = format!("authorization: Bearer {token}");
        for path in ["/v1/entities", "/v1/customers", "/v1/reviews", "/v1/events"] {
            for spelling in spellings(path) {
                let heard = api.ask(&format!("GET {spelling}"), &[&bearer, "connection: close"], "").await;
                assert!(matches!(heard.status(), 400 | 401 | 403 | 404), "{spelling}: {heard:?}");
            }
        }
        let form = "grant_type=client_credentials";
        let length = format!("content-length: {}", form.len());
        let headers = [length.as_str(), "content-type: application/x-www-form-urlencoded", "connection: close"];
        for spelling in spellings("/oauth2/token") {
            let heard = authz.ask(&format!("POST {spelling}"), &headers, form).await;
            // 405: the documentation's pages, which answer GET alone.
            assert!(matches!(heard.status(), 400 | 401 | 404 | 405), "{spelling}: {heard:?}");
            assert!(!heard.text.contains("access_token"), "{spelling}: {heard:?}");
        }
    }

    async fn a_host_that_is_not_ours_is_misdirected_everywhere(world: &mut World) {
        for place in places(world) {
            for host in ["evil.test", "localhost", "127.0.0.1", "localhost:1", "evil.test:80", ""] {
                let other = Place { host: host.to_owned(), ..place.clone() };
                for path in ["/openapi.json", place.path, "/.well-known/openid-configuration", "/nowhere"] {
                    let heard = other.ask(&format!("GET {path}"), &["connection: close"], "").await;
                    assert!(matches!(heard.status(), 400 | 421), "{host} {path}: {heard:?}");
                    assert!(host.len() < 10 || !heard.text.contains(host), "{host}: {heard:?}");
                }
            }
            // The target's own authority counts, and must agree with Host.
            let absolute = format!("GET http://evil.test/openapi.json HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", place.host);
            let heard = place.say(absolute.as_bytes()).await;
            assert!(matches!(heard.status(), 400 | 421), "{heard:?}");
        }
    }
}
