//! The head of the OpenAPI document; the paths add themselves.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};

/// The document's head.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Countersign authorization server",
        description = "Issues access tokens to partners' clients and one-time user tokens for their customers' \
            devices.\n\nEvery operation says which scopes (`x-scopes`) and kinds of token (`x-token-kinds`) it takes, \
            whether it takes an `Idempotency-Key` (`x-idempotent`), and whether the request must be signed per RFC \
            9421 (`x-signed`). The service enforces what stands here.",
        license(name = "MIT OR Apache-2.0")
    ),
    modifiers(&Bearer)
)]
pub(crate) struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("bearer", bearer);
    }
}

/// Says of every operation that lists token kinds that it takes a bearer token.
pub(super) fn name_security(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().filter_map(Option::as_mut) {
            let kinds = operation.extensions.as_ref().and_then(|extensions| extensions.get("x-token-kinds"));
            if kinds.and_then(serde_json::Value::as_array).is_some_and(|kinds| !kinds.is_empty()) {
                operation.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
            }
        }
    }
}
