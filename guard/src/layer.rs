//! [`Guard`]: the one place that decides whether a request reaches its handler, as a tower layer.
//!
//! Put it inside the router, so that `MatchedPath` is known. What matches no route gets the router's own 404.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::MatchedPath;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Request, StatusCode, request::Parts};
use keys::token::{Expect, TokenKind};
use keys::{RestoreEpoch, UnixSeconds};
use tower::{Layer, Service};

use crate::caller::{Caller, Presented, TokenClient};
use crate::carrier::{self, Carried};
use crate::dpop::{self, Dpop, Scheme};
use crate::jwks::KeyCache;
use crate::refusal::{Refusal, pointing_to, under_dpop};
use crate::requirement::{Entry, Requirement, Requirements};
use crate::standing::{ClientStanding, Profile, ReplayMemory, Standing};
use crate::{signature, token};

/// What never changes while the service runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `iss` of every token.
    pub issuer: String,
    /// The `aud` of every token: this resource.
    pub audience: String,
    /// Where the RFC 9728 document stands; every challenge points there.
    pub metadata_url: String,
    /// What a restore of the service's database has voided.
    pub epoch: RestoreEpoch,
}

/// What the guard needs to know about a request beside its head. The service's own limits and
/// buffering have run before.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The scheme of the target URI, as configured.
    pub scheme: String,
    /// The authority of the target URI: `host[:port]` as configured, never as sent.
    pub authority: String,
    /// The path as sent.
    pub path: String,
    /// The query as sent, without its question mark.
    pub query: Option<String>,
    /// The whole body.
    pub body: Bytes,
    /// base64url of the SHA-256 of the certificate whose key the other side of the connection proved to hold. Never
    /// from a header.
    pub certificate: Option<String>,
}

/// Everything the guard is made of.
pub struct Setup {
    /// Issuer, audience, metadata.
    pub settings: Settings,
    /// The table of operations.
    pub requirements: Requirements,
    /// The issuer's keys.
    pub keys: Arc<KeyCache>,
    /// The directory.
    pub standing: Arc<dyn Standing>,
    /// Nonces, signatures and proofs that were seen.
    pub replay: Arc<dyn ReplayMemory>,
    /// For tokens that are bound to a key.
    pub dpop: Dpop,
    /// The clock.
    pub now: Arc<dyn Fn() -> UnixSeconds + Send + Sync>,
    /// Target URI and body of a request; `None` is a wiring mistake and answers 500.
    pub facts: fn(&Parts) -> Option<Facts>,
    /// Turns a refusal into the service's error body. Headers are set by the guard.
    pub render: fn(&Refusal) -> Response,
}

/// The guard. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Setup>);

/// A refusal, and the client whose token led to it when one was verified.
pub(crate) struct Refused {
    refusal: Refusal,
    client_id: Option<String>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, client_id: None }
    }
}

impl Guard {
    /// Puts a guard together.
    pub fn new(setup: Setup) -> Self {
        Self(Arc::new(setup))
    }

    /// The parts, for layers that stand beside this one.
    pub(crate) fn setup(&self) -> &Setup {
        &self.0
    }

    /// The layer to put before the handlers.
    pub fn layer(&self) -> GuardLayer {
        GuardLayer(self.clone())
    }

    /// The response to a refusal, with its challenge.
    pub(crate) fn respond(&self, refusal: Refusal) -> Response {
        let refusal = refusal.pointing_to(&self.0.settings.metadata_url);
        let mut response = (self.0.render)(&refusal);
        let headers = [
            (WWW_AUTHENTICATE, refusal.challenge),
            (HeaderName::from_static("accept-signature"), refusal.accept_signature.map(str::to_owned)),
            (RETRY_AFTER, refusal.retry_after_s.map(|s| s.to_string())),
            (ALLOW, refusal.allow),
        ];
        for (name, value) in headers {
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    /// What goes on every answer: to one who speaks DPoP the next nonce and challenges under that scheme, to one who
    /// showed nothing a challenge under either.
    fn finish(&self, scheme: Option<Scheme>, response: &mut Response) {
        self.point_to_metadata(response);
        let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
        let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let challenge = challenge.map(under_dpop).and_then(|text| HeaderValue::try_from(text).ok());
        let headers = response.headers_mut();
        match (scheme, challenge) {
            (Some(Scheme::Dpop), Some(challenge)) => drop(headers.insert(WWW_AUTHENTICATE, challenge)),
            (None, Some(challenge)) if unauthorized => drop(headers.append(WWW_AUTHENTICATE, challenge)),
            _ => {}
        }
        if scheme == Some(Scheme::Dpop)
            && let Ok(nonce) = HeaderValue::try_from(self.0.dpop.next_nonce((self.0.now)()))
        {
            headers.insert(dpop::NONCE, nonce);
        }
    }

    /// A 401 that a handler made gets the pointer to the metadata too (RFC 9728 §5.1).
    fn point_to_metadata(&self, response: &mut Response) {
        if response.status() != StatusCode::UNAUTHORIZED {
            return;
        }
        let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let challenge = challenge.unwrap_or("Bearer");
        if challenge.contains("resource_metadata=") {
            return;
        }
        let pointing = pointing_to(challenge, &self.0.settings.metadata_url);
        if let Ok(value) = HeaderValue::from_str(&pointing) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
    }

    /// Judges a request. `Ok(None)`: nothing is asked of it.
    async fn judge(&self, parts: &Parts) -> Result<Option<Presented>, Refused> {
        let Some(path) = parts.extensions.get::<MatchedPath>() else { return Ok(None) };
        let table = &self.0.requirements;
        let requirement = match table.find(path.as_str(), &parts.method) {
            Entry::Public => return Ok(None),
            Entry::Unlisted => return Err(Refusal::not_found().into()),
            Entry::OtherMethod => {
                return Err(Refusal::method_not_allowed(table.methods(path.as_str()).join(", ")).into());
            }
            Entry::Guarded(requirement) => requirement,
        };
        let judged = self.judge_credential(parts, requirement).await;
        judged.map(Some).map_err(|mut refused| {
            refused.refusal = refused.refusal.in_dialect(requirement.dialect);
            refused
        })
    }

    async fn judge_credential(&self, parts: &Parts, requirement: &Requirement) -> Result<Presented, Refused> {
        let now = (self.0.now)();
        match carrier::find(&parts.headers, requirement.dialect)? {
            Carried::Token(Scheme::Bearer, text) if requirement.opaque_bearer && !text.contains('.') => {
                Ok(Presented::Opaque(text.to_owned()))
            }
            Carried::Token(scheme, text) => self.judge_token(parts, requirement, (scheme, text), now).await,
            Carried::PtiToken(text) => {
                let shown = (Scheme::Bearer, text);
                let presented = self.judge_token(parts, requirement, shown, now).await?;
                match &presented {
                    Presented::Caller(caller) if caller.one_time.is_some() => Ok(presented),
                    _ => Err(Refusal::invalid_token("Only a one-time token travels in this header.").into()),
                }
            }
            Carried::PtiSigned => self.judge_signed(parts, requirement, now).await,
            Carried::Nothing => Err(Refusal::no_credentials().into()),
        }
    }

    async fn judge_token(
        &self,
        parts: &Parts,
        requirement: &Requirement,
        (scheme, text): (Scheme, &str),
        now: UnixSeconds,
    ) -> Result<Presented, Refused> {
        let settings = &self.0.settings;
        let expect = Expect { issuer: &settings.issuer, audience: &settings.audience };
        let late_allowed = requirement.kinds.contains(&TokenKind::OneTime);
        let mut verified = token::verify(&self.0.keys, &expect, text, late_allowed, now).await?;
        // Whether it was spent may be forgotten; only an answer that is still on record can be had with it.
        verified.late |= settings.epoch.voids(verified.token.iat);
        let client_id = verified.token.client_id.clone();
        let judged = self.judge_verified(parts, requirement, (scheme, text, verified), now).await;
        judged.map_err(|refusal| Refused { refusal, client_id: Some(client_id) })
    }

    async fn judge_verified(
        &self,
        parts: &Parts,
        requirement: &Requirement,
        (scheme, text, verified): (Scheme, &str, token::Verified),
        now: UnixSeconds,
    ) -> Result<Presented, Refusal> {
        let client = self.standing_of(&verified.token.client_id)?;
        if client.partner_id != verified.token.partner_id || self.0.standing.is_denied(&verified.token) {
            return Err(Refusal::invalid_token("The token has been revoked."));
        }
        let facts = || self.facts(parts);
        token::judge_certificate(&verified.token, || facts().map(|facts| facts.certificate))?;
        let proof = self.0.dpop.judge(parts, facts, (scheme, text, &verified.token), now)?;
        token::judge_kind(&verified.token, requirement)?;
        if verified.token.kind != TokenKind::OneTime {
            token::judge_scope(&verified.token.scope, requirement)?;
        }
        // A scope taken from the client's policy counts at once, whatever an older token says.
        token::judge_scope(&client.scope, requirement)?;
        if verified.token.kind == TokenKind::Client {
            // Other kinds travel to devices that hold no key of the client.
            self.judge_signature(parts, &client, client.profile, now).await?;
        }
        Self::judge_dialect(requirement, &client)?;
        self.judge_freshness(requirement)?;
        if let Some(proof) = proof {
            self.0.dpop.take(self.0.replay.as_ref(), &parts.method, proof, now).await?;
        }
        Ok(Presented::Caller(Box::new(token::caller(verified))))
    }

    /// A vendor's request that is authenticated by its signature alone.
    async fn judge_signed(
        &self,
        parts: &Parts,
        requirement: &Requirement,
        now: UnixSeconds,
    ) -> Result<Presented, Refused> {
        let unknown =
            || Refusal::bad_signature("invalid_signature", "The request's signature does not hold.");
        let client_id = carrier::single(&parts.headers, carrier::PTI_CLIENT_ID)?.ok_or_else(unknown)?;
        let client = self.standing_of(client_id).map_err(|refusal| {
            if refusal.status == StatusCode::UNAUTHORIZED { unknown() } else { refusal }
        })?;
        if client.profile != Profile::PtiJws {
            return Err(unknown().into());
        }
        self.judge_signature(parts, &client, Profile::PtiJws, now).await?;
        let known = |refusal| Refused { refusal, client_id: Some(client.client_id.clone()) };
        if !requirement.kinds.contains(&TokenKind::Client) {
            return Err(known(Refusal::wrong_token_kind(TokenKind::Client.as_str())));
        }
        token::judge_scope(&client.scope, requirement).map_err(known)?;
        Self::judge_dialect(requirement, &client).map_err(known)?;
        self.judge_freshness(requirement).map_err(known)?;
        Ok(Presented::Caller(Box::new(Caller {
            kind: TokenKind::Client,
            partner_id: client.partner_id.clone(),
            client_id: client.client_id.clone(),
            sub: client.client_id.clone(),
            scope: client.scope.clone(),
            jti: None,
            process_id: None,
            one_time: None,
        })))
    }

    fn standing_of(&self, client_id: &str) -> Result<Arc<ClientStanding>, Refusal> {
        if !self.0.standing.is_loaded() {
            return Err(Refusal::unavailable("directory_stale", "The directory has not been read yet."));
        }
        let revoked = || Refusal::invalid_token("The token has been revoked.");
        self.0.standing.client(client_id).ok_or_else(revoked)
    }

    async fn judge_signature(
        &self,
        parts: &Parts,
        client: &ClientStanding,
        profile: Profile,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        if profile == Profile::None {
            return Ok(());
        }
        let facts = self.facts(parts)?;
        let seen = signature::verify(client, parts, &facts, now)?;
        signature::take(self.0.replay.as_ref(), &client.client_id, seen, self.0.settings.epoch).await
    }

    fn facts(&self, parts: &Parts) -> Result<Facts, Refusal> {
        (self.0.facts)(parts).ok_or_else(|| {
            tracing::error!("the guard stands before the layer that buffers the body");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong.")
        })
    }

    fn judge_dialect(requirement: &Requirement, client: &ClientStanding) -> Result<(), Refusal> {
        let switched_on = requirement
            .dialect
            .is_none_or(|dialect| client.dialects.iter().any(|name| name == dialect.as_str()));
        if switched_on { Ok(()) } else { Err(Refusal::not_found()) }
    }

    fn judge_freshness(&self, requirement: &Requirement) -> Result<(), Refusal> {
        if requirement.moves_money && !self.0.standing.is_fresh() {
            return Err(Refusal::unavailable(
                "directory_stale",
                "The directory is too old to move money by. Reads go on.",
            ));
        }
        Ok(())
    }
}

/// The tower layer of a [`Guard`].
#[derive(Clone)]
pub struct GuardLayer(Guard);

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> GuardService<S> {
        GuardService { guard: self.0.clone(), inner }
    }
}

/// The service a [`GuardLayer`] makes.
#[derive(Clone)]
pub struct GuardService<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for GuardService<S>
where
    S: Service<Request<Body>, Response = Response> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guard = self.guard.clone();
        // The instance that was polled ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let scheme = carrier::scheme(&parts.headers);
            let (client_id, mut response) = match guard.judge(&parts).await {
                Ok(presented) => {
                    let client_id = match &presented {
                        Some(Presented::Caller(caller)) => Some(caller.client_id.clone()),
                        Some(Presented::Opaque(_)) | None => None,
                    };
                    if let Some(presented) = presented {
                        parts.extensions.insert(presented);
                    }
                    (client_id, inner.call(Request::from_parts(parts, body)).await?)
                }
                Err(refused) => (refused.client_id, guard.respond(refused.refusal)),
            };
            if let Some(client_id) = client_id {
                response.extensions_mut().get_or_insert(TokenClient(client_id));
            }
            guard.finish(scheme, &mut response);
            Ok(response)
        })
    }
}
