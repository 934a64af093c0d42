//! One operation of one service, as its OpenAPI document describes it, and how to call it.

use std::fmt;

use keys::token::{AccessToken, Scope, TokenKind};
use serde_json::{Value, json};

use crate::world::{Call, Client, World};

/// Whose operation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Authz,
    Api,
}

/// An operation with its demands.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) service: Service,
    pub(super) method: &'static str,
    /// The template.
    pub(super) path: String,
    pub(super) scopes: Vec<String>,
    pub(super) kinds: Vec<TokenKind>,
    pub(super) idempotent: bool,
    pub(super) dialect: bool,
    /// All that the document says of it.
    pub(super) document: Value,
}

pub(super) const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"];

/// A service's document, as it publishes it.
pub(super) async fn document(world: &World, service: Service) -> Value {
    let base = if service == Service::Authz { &world.issuer } else { &world.resource };
    world.send(Call::get(format!("{base}/openapi.json"))).await.expect(200)
}

/// Every operation of both services.
pub(super) async fn operations(world: &World) -> Vec<Operation> {
    let mut found = Vec::new();
    for service in [Service::Authz, Service::Api] {
        let document = document(world, service).await;
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in METHODS {
                if let Some(operation) = item.get(method.to_ascii_lowercase()) {
                    found.push(Operation::read(service, method, path, operation));
                }
            }
        }
    }
    found
}

impl Operation {
    fn read(service: Service, method: &'static str, path: &str, document: &Value) -> Self {
        let texts = |name: &str| -> Vec<String> {
            let list = document[name].as_array().unwrap_or_else(|| panic!("{method} {path} has no {name}"));
            list.iter().map(|text| text.as_str().expect("text").to_owned()).collect()
        };
        let kinds = texts("x-token-kinds").iter().map(|kind| kind.parse().expect("a token kind")).collect();
        let idempotent = document["x-idempotent"].as_bool();
        Self {
            service,
            method,
            path: path.to_owned(),
            scopes: texts("x-scopes"),
            kinds,
            idempotent: idempotent.unwrap_or_else(|| panic!("{method} {path} has no x-idempotent")),
            dialect: document.get("x-dialect").is_some(),
            document: document.clone(),
        }
    }

    pub(super) fn is_of_api(&self) -> bool {
        self.service == Service::Api
    }

    fn base<'w>(&self, world: &'w World) -> &'w str {
        if self.is_of_api() { &world.resource } else { &world.issuer }
    }

    /// The `aud` that its service is.
    pub(super) fn audience(&self, world: &World) -> String {
        self.base(world).to_owned()
    }

    /// The `aud` of the other service.
    pub(super) fn other_audience(&self, world: &World) -> String {
        if self.is_of_api() { world.issuer.clone() } else { world.resource.clone() }
    }

    /// The names in the path's braces.
    pub(super) fn parameters(&self) -> Vec<String> {
        let names = self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        names.map(str::to_owned).collect()
    }

    /// The URL with each parameter replaced.
    pub(super) fn url(&self, world: &World, value: impl Fn(&str) -> String) -> String {
        let segments = self.path.split('/').map(|segment| {
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            name.map_or_else(|| segment.to_owned(), &value)
        });
        format!("{}{}", self.base(world), segments.collect::<Vec<_>>().join("/"))
    }

    /// A well-formed request to it without any credential; ids are those of nothing.
    pub(super) fn call(&self, world: &World) -> Call {
        self.call_to(world, self.url(world, |_| "unknown".to_owned()))
    }

    /// The same, to this URL.
    pub(super) fn call_to(&self, world: &World, url: String) -> Call {
        let call = match self.method {
            "POST" => Call::post(url, &self.body()),
            "PUT" => Call::put(url, &self.body()),
            method => Call::new(method, url),
        };
        if self.idempotent { call.key(&world.unique("key")) } else { call }
    }

    /// A body that gets past the first checks where one is needed to reach the question of whose thing it is.
    fn body(&self) -> Value {
        if self.path.starts_with("/v1/reviews/") || self.path.ends_with("/refunds") {
            return json!({ "reason": "because of a test" });
        }
        if self.path.ends_with("/refunds/{refund_id}/resolve") {
            return json!({ "outcome": "succeeded", "evidence": "because of a test" });
        }
        if self.path.ends_with("/resolve") {
            return json!({ "outcome": "captured", "evidence": "because of a test" });
        }
        json!({})
    }

    /// A client that may do it.
    pub(super) fn client<'w>(&self, world: &'w World) -> &'w Client {
        let able = |name: &&str| {
            let policy: Scope = world.client(name).scope.parse().expect("a scope");
            self.scopes.iter().all(|scope| policy.contains(scope))
        };
        let candidates: &[&str] = if self.dialect {
            &["pti/backend"]
        } else if self.is_of_api() {
            &["ta/backend", "ta/both"]
        } else {
            &["ta/backend", "ta/signed", "platform/admin"]
        };
        let name = candidates.iter().find(|name| able(name));
        world.client(name.unwrap_or_else(|| panic!("no client of the tests may {self}")))
    }

    /// The claims of a token with everything the operation could ask for, of this kind.
    pub(super) fn claims(&self, world: &World, kind: TokenKind) -> AccessToken {
        let client = self.client(world);
        let mut claims = world.claims(kind, &client.name, None, &self.scopes.join(" "));
        claims.aud = self.audience(world);
        if kind != TokenKind::Client {
            claims.sub = "usr_00000000000000000000000000000001".to_owned();
        }
        claims
    }

    /// Adds the signature that its client or the operation itself demands.
    pub(super) fn signed(&self, world: &World, call: Call) -> Call {
        call.signed_by(self.client(world), world)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.path)
    }
}
