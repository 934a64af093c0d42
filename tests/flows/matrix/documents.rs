//! What the OpenAPI documents must say of each operation.

use std::collections::BTreeSet;

use keys::token::{TokenKind, scopes};

use super::operation::{Service, document, operations};
use crate::world::World;

flows! {
    async fn every_operation_says_what_it_takes_and_what_it_answers(world: &mut World) {
        let known: BTreeSet<&str> = [scopes::RESOURCE_API, scopes::AUTHORIZATION_SERVER]
            .into_iter()
            .flatten()
            .map(|scope| scope.name)
            .collect();
        let mut operation_ids = BTreeSet::new();
        for operation in operations(world).await {
            for scope in &operation.scopes {
                assert!(known.contains(scope.as_str()), "{operation}: there is no scope {scope}");
            }
            let summary = ["summary", "description"].map(|member| operation.document[member].as_str().unwrap_or_default());
            assert!(summary.iter().any(|text| !text.is_empty()), "{operation} is not described");
            let id = operation.document["operationId"].as_str().expect("operationId").to_owned();
            assert!(operation_ids.insert((operation.is_of_api(), id.clone())), "{operation}: {id} is not its own");
            if operation.is_of_api() && operation.path.starts_with("/v1/") && !operation.kinds.is_empty() {
                assert!(!operation.scopes.is_empty(), "{operation} needs no scope");
            }
            let takes_once = operation.kinds.contains(&TokenKind::OneTime) && operation.method != "GET";
            assert!(operation.idempotent || !takes_once, "{operation} takes one-time tokens and is not idempotent");
            let responses = operation.document["responses"].as_object().expect("responses");
            assert!(responses.keys().any(|status| status.starts_with('2')), "{operation} never succeeds");
            for (status, response) in responses {
                let described = response["description"].as_str().unwrap_or_default();
                assert!(!described.is_empty(), "{operation} {status} is not described");
                // The vendor's shapes are described in the vendor's words.
                if operation.dialect || !status.starts_with('4') {
                    continue;
                }
                for code in described.split('`').skip(1).step_by(2) {
                    let shaped = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
                    assert!(shaped, "{operation} {status}: `{code}` is no code");
                }
            }
        }
    }

    async fn the_documents_and_their_pages_are_public_and_load_nothing_from_elsewhere(world: &mut World) {
        for (service, base) in [(Service::Authz, world.issuer.clone()), (Service::Api, world.resource.clone())] {
            let document = document(world, service).await;
            assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{service:?}");
            let page = world.send(crate::world::Call::get(format!("{base}/docs/"))).await;
            assert_eq!(page.status, 200, "{service:?}");
            for scheme in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
                assert!(!page.text.contains(scheme), "{service:?}: the page loads {scheme}");
            }
        }
    }
}
