//! Who may call a management path (RFC 6750): an access token of this server for this server, of a kind and with the
//! scopes that the path's OpenAPI extensions list, of an active client, signed where the client or the path demands.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use chassis::http::{Problem, forbidden, internal, unauthorized};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use keys::token::{AccessToken, Expect, Scope, TokenKind, TokenRefusal};
use serde_json::Value;
use utoipa::openapi::OpenApi;

use crate::{
    app::{App, AuthenticatedClient, Caller},
    domain::{
        Status,
        client::{KeyUse, Profile},
    },
    error::DPOP_NONCE,
    http::{
        certificate,
        dpop::{self, Bound, Proved},
        signed,
    },
};

/// What one operation demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    scopes: Vec<String>,
    kinds: Vec<TokenKind>,
    signed: bool,
}

/// What each operation with a bearer token demands, by method and path template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requirements(HashMap<String, Vec<(Method, Requirement)>>);

impl Requirements {
    /// Reads the extensions of every operation. One without token kinds takes no bearer token.
    pub(crate) fn from_document(document: &OpenApi) -> Self {
        let document = serde_json::to_value(document).unwrap_or_default();
        let mut found: HashMap<String, Vec<(Method, Requirement)>> = HashMap::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let method = method.to_ascii_uppercase().parse::<Method>();
                if let (Ok(method), Some(requirement)) = (method, requirement(operation)) {
                    found.entry(path.clone()).or_default().push((method, requirement));
                }
            }
        }
        Self(found)
    }

    fn of(&self, method: &Method, path: &str) -> Option<&Requirement> {
        self.0.get(path)?.iter().find(|(listed, _)| listed == method).map(|(_, requirement)| requirement)
    }
}

fn requirement(operation: &Value) -> Option<Requirement> {
    let texts = |name: &str| {
        let list = operation[name].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(ToOwned::to_owned).collect::<Vec<String>>()
    };
    let kinds: Vec<TokenKind> = texts("x-token-kinds").iter().filter_map(|kind| kind.parse().ok()).collect();
    let signed = operation["x-signed"].as_bool().unwrap_or(false);
    (!kinds.is_empty()).then(|| Requirement { scopes: texts("x-scopes"), kinds, signed })
}

/// What the middleware needs.
#[derive(Clone)]
pub(crate) struct Gatekeeper {
    app: App,
    requirements: Arc<Requirements>,
}

impl Gatekeeper {
    pub(crate) fn new(app: App, requirements: Requirements) -> Self {
        Self { app, requirements: Arc::new(requirements) }
    }
}

/// Lets a request through to its handler, with its [`Caller`] if the operation takes a bearer token.
pub(crate) async fn admit(
    State(gatekeeper): State<Gatekeeper>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(requirement) = gatekeeper.requirements.of(request.method(), path) else {
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    let (caller, proved) = caller(&gatekeeper.app, &parts, requirement).await?;
    parts.extensions.insert(caller);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let nonce = proved.and_then(|key| key.next_nonce).and_then(|nonce| HeaderValue::try_from(nonce).ok());
    response.headers_mut().extend(nonce.map(|nonce| (DPOP_NONCE, nonce)));
    Ok(response)
}

async fn caller(
    app: &App,
    parts: &Parts,
    requirement: &Requirement,
) -> Result<(Caller, Option<Proved>), Problem> {
    let (scheme, text) = access_token(&parts.headers)?;
    let token = verified(app, text)?;
    if token.kind == TokenKind::OneTime {
        return Err(invalid_token(TokenRefusal::WrongType));
    }
    let who = active_client(app, &token)?;
    certificate::possession(&token, parts)?;
    let dpop = possession(app, parts, scheme, (text, &token)).await?;
    if !requirement.kinds.contains(&token.kind) {
        return Err(forbidden("wrong_token_kind", "This call takes another kind of token."));
    }
    let scope = token.scope.intersection(who.client.settings.scope.scope());
    if !requirement.scopes.iter().all(|needed| scope.contains(needed)) {
        return Err(insufficient_scope(&requirement.scopes));
    }
    if requirement.signed && who.client.keys_for(KeyUse::Signature).next().is_none() {
        return Err(forbidden(
            "signature_key_required",
            "Register a signature key: this call must be signed.",
        ));
    }
    if requirement.signed || who.client.settings.profile == Profile::HttpSig {
        signed::verify(app, &who.client, parts).await.map_err(signed::Refusal::into_problem)?;
    }
    Ok((Caller { who, scope, token: Arc::new(token) }, dpop))
}

/// Whether the holder of the token's key sends it. A bound token counts with a proof by its key only, under the scheme
/// DPoP only; another token never under that scheme (RFC 9449 §7.1, §7.2).
async fn possession(
    app: &App,
    parts: &Parts,
    scheme: Scheme,
    (text, token): (&str, &AccessToken),
) -> Result<Option<Proved>, Problem> {
    let unproved = |detail: &'static str| {
        unauthorized("invalid_token", detail).challenge(&dpop::challenge(Some("invalid_token")))
    };
    match (scheme, token.cnf_jkt.as_deref()) {
        (Scheme::Bearer, None) => Ok(None),
        (Scheme::Bearer, Some(_)) => {
            Err(unproved("The access token is bound to a key: send it as DPoP, with a proof."))
        }
        (Scheme::Dpop, None) => Err(unproved("The access token is not bound to a key: send it as Bearer.")),
        (Scheme::Dpop, Some(jkt)) => {
            let bound = Bound { access_token: text, jkt };
            dpop::prove(app, parts, Some(bound)).await.map(Some).map_err(dpop::Refusal::into_problem)
        }
    }
}

/// How an access token is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Dpop,
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1) or `DPoP` (RFC 9449 §7.1). Form body and query are not
/// looked at.
fn access_token(headers: &HeaderMap) -> Result<(Scheme, &str), Problem> {
    let missing = || {
        unauthorized("invalid_token", "Send an access token: Authorization: Bearer …")
            .challenge("Bearer realm=\"countersign\"")
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(missing());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    let token = token.trim_start_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok((Scheme::Bearer, token))
    } else if scheme.eq_ignore_ascii_case("dpop") {
        Ok((Scheme::Dpop, token))
    } else {
        Err(missing())
    }
}

fn verified(app: &App, token: &str) -> Result<AccessToken, Problem> {
    let expect = Expect { issuer: app.audiences.issuer(), audience: app.audiences.issuer() };
    AccessToken::verify(token, &expect, |kid| app.keys.verifying(kid), app.platform.now())
        .map_err(invalid_token)
}

fn active_client(app: &App, token: &AccessToken) -> Result<AuthenticatedClient, Problem> {
    let registry = app.registry.snapshot();
    let client = registry.client(&token.client_id).filter(|client| client.status == Status::Active);
    let partner = registry.partner(&token.partner_id).filter(|partner| partner.status == Status::Active);
    match (client, partner) {
        (Some(client), Some(partner)) if client.partner_id == partner.id => {
            let sub = if token.sub == client.id { "" } else { token.sub.as_str() };
            chassis::http::RequestNotes::asker(&client.id, &partner.id, sub);
            Ok(AuthenticatedClient { client, partner })
        }
        _ => Err(invalid_token(TokenRefusal::BadClaim("client_id: not active"))),
    }
}

fn invalid_token(reason: TokenRefusal) -> Problem {
    unauthorized("invalid_token", "The access token is expired, revoked, malformed, or for another service.")
        .challenge("Bearer realm=\"countersign\", error=\"invalid_token\"")
        .because(reason)
}

fn insufficient_scope(needed: &[String]) -> Problem {
    let needed: Scope = needed.iter().map(String::as_str).collect();
    forbidden("insufficient_scope", format!("This call needs the scope {needed}."))
        .challenge(&format!("Bearer realm=\"countersign\", error=\"insufficient_scope\", scope=\"{needed}\""))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| internal("the operation lists no token kinds"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn extensions_become_requirements() {
        let operation = json!({"x-token-kinds": ["client"], "x-scopes": ["users:write"], "x-signed": true});
        let expected =
            Requirement { scopes: vec!["users:write".into()], kinds: vec![TokenKind::Client], signed: true };
        assert_eq!(requirement(&operation), Some(expected));
        assert_eq!(requirement(&json!({"x-token-kinds": [], "x-scopes": []})), None);
        assert_eq!(requirement(&json!({})), None);
    }

    #[test]
    fn only_one_header_of_a_known_scheme_is_taken() {
        let mut headers = HeaderMap::new();
        assert!(access_token(&headers).is_err());
        headers.insert(header::AUTHORIZATION, "bearer abc".parse().unwrap());
        assert_eq!(access_token(&headers).unwrap(), (Scheme::Bearer, "abc"));
        headers.insert(header::AUTHORIZATION, "dpop abc".parse().unwrap());
        assert_eq!(access_token(&headers).unwrap(), (Scheme::Dpop, "abc"));
        headers.append(header::AUTHORIZATION, "Bearer def".parse().unwrap());
        assert!(access_token(&headers).is_err());
        headers.insert(header::AUTHORIZATION, "Basic abc".parse().unwrap());
        assert!(access_token(&headers).is_err());
    }
}
