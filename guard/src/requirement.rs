//! What each operation demands of its caller, read from the OpenAPI document, so that the document
//! and the enforcement cannot disagree.
//!
//! Extensions of an operation: `x-scopes` (all are needed), `x-token-kinds`, `x-idempotent`,
//! `x-moves-money`, and where they apply `x-dialect` (`"pti"`) and `x-opaque-bearer`.
//! An operation with no token kinds is public.

use std::collections::{BTreeMap, HashMap};

use http::Method;
use keys::token::TokenKind;
use serde_json::Value;

/// A vendor's shape in front of our operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Carriers `x-pti-token` and `x-pti-signature`.
    Pti,
}

impl Dialect {
    /// The name under which a partner has it switched on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pti => "pti",
        }
    }
}

/// What one operation demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Every one of these is needed.
    pub scopes: Vec<String>,
    /// The kinds of token it takes; empty: it is public.
    pub kinds: Vec<TokenKind>,
    /// Whether an `Idempotency-Key` (or a one-time token) is needed.
    pub idempotent: bool,
    /// Whether it moves money: then the directory must be fresh.
    pub moves_money: bool,
    /// The dialect it belongs to.
    pub dialect: Option<Dialect>,
    /// Whether a bearer credential that is no JWT is left to the handler.
    pub opaque_bearer: bool,
}

impl Requirement {
    /// Whether no token is asked for.
    pub fn is_public(&self) -> bool {
        self.kinds.is_empty()
    }
}

/// What the table says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A path outside the document that was declared public, or a public operation.
    Public,
    /// An operation with demands.
    Guarded(&'a Requirement),
    /// The path is known, the method is not.
    OtherMethod,
    /// A route that is neither documented nor declared public. Nobody gets in.
    Unlisted,
}

/// The table of all operations by path template and method.
#[derive(Debug, Clone, Default)]
pub struct Requirements {
    operations: HashMap<String, BTreeMap<&'static str, Requirement>>,
    public: Vec<String>,
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

impl Requirements {
    /// Reads an OpenAPI 3.1 document.
    ///
    /// # Errors
    /// Every operation that lacks an extension, or whose extension has another shape, one sentence each.
    pub fn from_openapi(document: &Value) -> Result<Self, Vec<String>> {
        let mut table = Self::default();
        let mut problems = Vec::new();
        let paths = document.get("paths").and_then(Value::as_object);
        for (path, item) in paths.into_iter().flatten() {
            let mut methods = BTreeMap::new();
            for name in METHODS {
                let Some(operation) = item.get(name) else { continue };
                match read(operation) {
                    Ok(requirement) => {
                        methods.insert(name, requirement);
                    }
                    Err(problem) => problems.push(format!("{name} {path}: {problem}")),
                }
            }
            table.operations.insert(path.clone(), methods);
        }
        if problems.is_empty() { Ok(table) } else { Err(problems) }
    }

    /// Declares a route outside the document that anybody may read.
    #[must_use]
    pub fn with_public(mut self, path: &str) -> Self {
        self.public.push(path.to_owned());
        self
    }

    /// The entry for a matched path template. HEAD is judged as GET.
    pub fn find(&self, path: &str, method: &Method) -> Entry<'_> {
        if let Some(methods) = self.operations.get(path) {
            return match methods.get(table_name(method)) {
                Some(requirement) if requirement.is_public() => Entry::Public,
                Some(requirement) => Entry::Guarded(requirement),
                None => Entry::OtherMethod,
            };
        }
        if self.public.iter().any(|public| public == path) { Entry::Public } else { Entry::Unlisted }
    }

    /// The methods of a path, for `Allow` and for CORS.
    pub fn methods(&self, path: &str) -> Vec<String> {
        let Some(methods) = self.operations.get(path) else { return vec!["GET".to_owned()] };
        methods.keys().map(|name| name.to_ascii_uppercase()).collect()
    }

    /// Every operation as (path, method in capitals, requirement), sorted: for generated tests.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String, &Requirement)> {
        let sorted: BTreeMap<_, _> = self.operations.iter().collect();
        sorted.into_iter().flat_map(|(path, methods)| {
            methods.iter().map(|(name, requirement)| (path.as_str(), name.to_ascii_uppercase(), requirement))
        })
    }
}

fn table_name(method: &Method) -> &'static str {
    if *method == Method::HEAD {
        return "get";
    }
    METHODS.into_iter().find(|name| method.as_str().eq_ignore_ascii_case(name)).unwrap_or("")
}

fn read(operation: &Value) -> Result<Requirement, String> {
    let texts = |name: &str| -> Result<Vec<String>, String> {
        let list = operation.get(name).and_then(Value::as_array).ok_or(format!("{name} is not a list"))?;
        list.iter()
            .map(|item| {
                item.as_str().map(str::to_owned).ok_or(format!("{name} holds something else than text"))
            })
            .collect()
    };
    let flag = |name: &str, default: Option<bool>| match operation.get(name) {
        Some(value) => value.as_bool().ok_or(format!("{name} is not true or false")),
        None => default.ok_or(format!("{name} is missing")),
    };
    let kinds: Vec<TokenKind> = texts("x-token-kinds")?
        .iter()
        .map(|kind| kind.parse().map_err(|_| format!("x-token-kinds: {kind} is no kind")))
        .collect::<Result<_, _>>()?;
    let scopes = texts("x-scopes")?;
    if scopes.is_empty() && !kinds.is_empty() {
        return Err("x-scopes is empty although a token is asked for".to_owned());
    }
    let dialect = match operation.get("x-dialect").map(Value::as_str) {
        None => None,
        Some(Some("pti")) => Some(Dialect::Pti),
        Some(_) => return Err("x-dialect is none that is known".to_owned()),
    };
    Ok(Requirement {
        scopes,
        kinds,
        idempotent: flag("x-idempotent", None)?,
        moves_money: flag("x-moves-money", Some(false))?,
        dialect,
        opaque_bearer: flag("x-opaque-bearer", Some(false))?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(operation: &Value) -> Value {
        json!({ "paths": { "/v1/things/{id}": { "get": operation } } })
    }

    #[test]
    fn an_operation_is_read_with_its_defaults() {
        let table = Requirements::from_openapi(&document(
            &json!({"x-scopes": ["things:read"], "x-token-kinds": ["client", "user"], "x-idempotent": false}),
        ))
        .unwrap();
        let Entry::Guarded(found) = table.find("/v1/things/{id}", &Method::HEAD) else {
            panic!("not guarded")
        };
        assert_eq!(found.scopes, ["things:read"]);
        assert_eq!(found.kinds, [TokenKind::Client, TokenKind::User]);
        assert!(!found.moves_money && !found.opaque_bearer && found.dialect.is_none());
    }

    #[test]
    fn what_is_not_in_the_document_is_not_let_in() {
        let table = Requirements::from_openapi(&document(
            &json!({"x-scopes": [], "x-token-kinds": [], "x-idempotent": false}),
        ))
        .unwrap()
        .with_public("/docs");
        assert_eq!(table.find("/v1/things/{id}", &Method::GET), Entry::Public);
        assert_eq!(table.find("/v1/things/{id}", &Method::POST), Entry::OtherMethod);
        assert_eq!(table.find("/docs", &Method::GET), Entry::Public);
        assert_eq!(table.find("/debug", &Method::GET), Entry::Unlisted);
        assert_eq!(table.methods("/v1/things/{id}"), ["GET"]);
    }

    #[test]
    fn every_operation_with_a_bad_extension_is_named() {
        let cases = [
            json!({"x-token-kinds": ["client"], "x-idempotent": false}),
            json!({"x-scopes": "a", "x-token-kinds": ["client"], "x-idempotent": false}),
            json!({"x-scopes": ["a"], "x-token-kinds": ["robot"], "x-idempotent": false}),
            json!({"x-scopes": ["a"], "x-token-kinds": ["client"]}),
            json!({"x-scopes": [], "x-token-kinds": ["client"], "x-idempotent": true}),
            json!({"x-scopes": ["a"], "x-token-kinds": ["client"], "x-idempotent": true, "x-dialect": "zz"}),
        ];
        for case in cases {
            let problems = Requirements::from_openapi(&document(&case)).unwrap_err();
            assert_eq!(problems.len(), 1, "{case}");
            assert!(problems[0].starts_with("get /v1/things/{id}: "), "{problems:?}");
        }
    }
}
