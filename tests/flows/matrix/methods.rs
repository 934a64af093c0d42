//! Methods that a path does not have.

use std::collections::BTreeMap;

use super::operation::{METHODS, operations};
use super::refusals::Refusals;
use crate::world::{Call, World};

flows! {
    async fn a_method_that_a_path_does_not_have_is_answered_405_with_those_it_has(world: &mut World) {
        let mut refusals = Refusals::default();
        let mut methods: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for operation in operations(world).await {
            methods.entry(operation.url(world, |_| "unknown".to_owned())).or_default().push(operation.method);
        }
        assert!(methods.len() > 30);
        for (url, has) in &methods {
            for method in METHODS.into_iter().chain(["TRACE", "PROPFIND", "BREW"]) {
                // HEAD goes with GET (RFC 9110 §9.3.2).
                if has.contains(&method) || method == "HEAD" && has.contains(&"GET") {
                    continue;
                }
                let canary = "canary-5d17";
                let reply = world.send(Call::new(method, url).header("x-canary", canary)).await;
                let shown = format!("{method} {url}: {} {}", reply.status, reply.text);
                assert_eq!(reply.status, 405, "{shown}");
                let allowed: Vec<&str> = reply.header("allow").split(',').map(str::trim).collect();
                for known in has {
                    assert!(allowed.contains(known), "{shown}, Allow: {allowed:?}");
                }
                assert!(!allowed.contains(&method), "{shown}, Allow: {allowed:?}");
                assert!(!reply.text.contains(canary), "nothing is echoed: {shown}");
                if method != "HEAD" {
                    refusals.keep(&reply, &shown);
                }
            }
        }
        refusals.are_logged().await;
    }
}
