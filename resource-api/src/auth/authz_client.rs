//! Calls to the authorization server, as the client `resource-api` (`private_key_jwt`, RFC 7523).

use std::sync::Arc;
use std::time::Duration;

use chassis::Platform;
use chassis::fetch::{FetchReply, FetchRequest, Fetcher};
use chassis::http::Origin;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keys::{SigningKey, UnixSeconds, jws};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::directory::poller::Feed;
use crate::domain::refusal::{Class, Refusal};

/// What this service needs of the authorization server, and no more.
const SCOPE: &str = "directory:read users:read users:write";
/// Life of a client assertion, seconds.
const ASSERTION_TTL_S: i64 = 60;
/// A token is renewed when it has less than this left, seconds.
const TOKEN_RESERVE_S: i64 = 30;
/// How long an ordinary call may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// The authorization server did not give a usable answer; the text is for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the authorization server: {0}")]
pub struct AuthzUnavailable(String);

/// Why a user was not registered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegisterFault {
    /// It says so: the external id is not acceptable, or the user is disabled.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is not known whether the user is registered; asking again is safe.
    #[error(transparent)]
    Unavailable(#[from] AuthzUnavailable),
}

impl From<RegisterFault> for Refusal {
    fn from(fault: RegisterFault) -> Self {
        match fault {
            RegisterFault::Refused(refusal) => refusal,
            RegisterFault::Unavailable(reason) => {
                tracing::warn!(%reason, "a user could not be registered");
                Refusal::new(Class::Unavailable, "unavailable", "The registry of users cannot be reached.")
            }
        }
    }
}

/// A user that is registered under its partner's own id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RegisteredUser {
    /// The stable subject id.
    pub sub: String,
    /// The partner's own id.
    pub external_id: String,
    /// `active` or `disabled`.
    pub status: String,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct AuthzClient(Arc<Inner>);

struct Inner {
    setup: AuthzSetup,
    token: Mutex<Option<Held>>,
}

/// What the client is made of.
pub struct AuthzSetup {
    /// The `iss`: the audience of assertions (RFC 7523 §3) and of the token.
    pub issuer: String,
    /// Where its endpoints are.
    pub base: Origin,
    /// Who we are there.
    pub client_id: String,
    /// How we prove it.
    pub key: SigningKey,
    /// The way out.
    pub fetcher: Fetcher,
    /// Clock and entropy.
    pub platform: Platform,
}

#[derive(Clone)]
struct Held {
    token: String,
    renew_at: UnixSeconds,
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: String,
    expires_in: i64,
}

impl AuthzClient {
    /// A client without a token yet.
    pub fn new(setup: AuthzSetup) -> Self {
        Self(Arc::new(Inner { setup, token: Mutex::new(None) }))
    }

    /// The URL of the issuer's key set.
    ///
    /// # Errors
    /// When the base cannot be joined with a path.
    pub fn jwks_url(&self) -> Result<Url, AuthzUnavailable> {
        self.url("/oauth2/jwks")
    }

    /// What the directory feed has after `after_seq`; everything when that is `None`. Held open by
    /// the server for up to `wait_s` seconds while there is nothing.
    ///
    /// # Errors
    /// [`AuthzUnavailable`] for everything but a readable feed.
    pub async fn directory(&self, after_seq: Option<i64>, wait_s: u32) -> Result<Feed, AuthzUnavailable> {
        let mut url = self.url("/v1/directory")?;
        if let Some(seq) = after_seq {
            url.query_pairs_mut()
                .append_pair("after_seq", &seq.to_string())
                .append_pair("wait_s", &wait_s.to_string());
        }
        let deadline = DEADLINE + Duration::from_secs(u64::from(wait_s));
        let reply = self.send(FetchRequest { deadline: Some(deadline), ..FetchRequest::get(url) }).await?;
        if reply.status != StatusCode::OK {
            return Err(unexpected("the directory", &reply));
        }
        serde_json::from_slice(&reply.body)
            .map_err(|error| AuthzUnavailable(format!("the directory: {error}")))
    }

    /// Registers a user of `partner_id` under the partner's own id, or finds the one that is.
    ///
    /// # Errors
    /// [`RegisterFault`]
    pub async fn register_user(
        &self,
        partner_id: &str,
        external_id: &str,
    ) -> Result<RegisteredUser, RegisterFault> {
        let body = json!({ "external_id": external_id, "partner_id": partner_id }).to_string();
        let reply = self.send(self.post("/v1/users", "application/json", body)?).await?;
        if reply.status.is_success() {
            return serde_json::from_slice(&reply.body)
                .map_err(|error| AuthzUnavailable(format!("registering a user: {error}")).into());
        }
        // Only what concerns the value we were given is the caller's to know.
        if reply.status == StatusCode::UNPROCESSABLE_ENTITY {
            return Err(Refusal::unprocessable(
                "external_id_invalid",
                "/external_id",
                "The external id must be the partner's own opaque id: no e-mail address, no phone number, no spaces.",
            )
            .into());
        }
        Err(unexpected("registering a user", &reply).into())
    }

    /// Sends a request with our token; once more with a new one when it is no longer accepted.
    async fn send(&self, request: FetchRequest) -> Result<FetchReply, AuthzUnavailable> {
        let reply = self.send_with_token(request.clone()).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        *self.0.token.lock().await = None;
        self.send_with_token(request).await
    }

    async fn send_with_token(&self, mut request: FetchRequest) -> Result<FetchReply, AuthzUnavailable> {
        let token = self.token().await?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| AuthzUnavailable("the token endpoint gave no token".to_owned()))?;
        value.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, value);
        self.fetch(request).await
    }

    fn post(
        &self,
        path: &str,
        content_type: &'static str,
        body: String,
    ) -> Result<FetchRequest, AuthzUnavailable> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let url = self.url(path)?;
        Ok(FetchRequest { method: Method::POST, url, headers, body: body.into(), deadline: Some(DEADLINE) })
    }

    async fn token(&self) -> Result<String, AuthzUnavailable> {
        let now = self.0.setup.platform.now();
        let mut held = self.0.token.lock().await;
        if let Some(found) = held.as_ref().filter(|found| now < found.renew_at) {
            return Ok(found.token.clone());
        }
        let reply = self.ask_for_token(now).await?;
        let renew_at = now.plus((reply.expires_in - TOKEN_RESERVE_S).max(1));
        *held = Some(Held { token: reply.access_token.clone(), renew_at });
        Ok(reply.access_token)
    }

    /// RFC 6749 §4.4 with RFC 7523 §2.2.
    async fn ask_for_token(&self, now: UnixSeconds) -> Result<TokenReply, AuthzUnavailable> {
        let AuthzSetup { issuer, client_id, key, platform, .. } = &self.0.setup;
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": issuer,
            "jti": platform.new_id("asr"),
            "iat": now.0,
            "exp": now.plus(ASSERTION_TTL_S).0,
        });
        let assertion = jws::sign(key, "client-authentication+jwt", &claims)
            .map_err(|error| AuthzUnavailable(format!("signing an assertion: {error}")))?;
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", SCOPE)
            .append_pair("resource", issuer)
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", &assertion)
            .finish();
        let reply =
            self.fetch(self.post("/oauth2/token", "application/x-www-form-urlencoded", form)?).await?;
        if reply.status != StatusCode::OK {
            return Err(unexpected("the token endpoint", &reply));
        }
        serde_json::from_slice(&reply.body)
            .map_err(|error| AuthzUnavailable(format!("the token endpoint: {error}")))
    }

    async fn fetch(&self, request: FetchRequest) -> Result<FetchReply, AuthzUnavailable> {
        self.0.setup.fetcher.fetch(request).await.map_err(|error| AuthzUnavailable(error.to_string()))
    }

    fn url(&self, path: &str) -> Result<Url, AuthzUnavailable> {
        Url::parse(&format!("{}{path}", self.0.setup.base))
            .map_err(|error| AuthzUnavailable(error.to_string()))
    }
}

/// Status and stable code of an answer nobody hoped for; never its text.
fn unexpected(what: &str, reply: &FetchReply) -> AuthzUnavailable {
    let document = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
    let code = document.get("code").or(document.get("error")).and_then(Value::as_str).unwrap_or("no code");
    AuthzUnavailable(format!("{what} answered {} ({code})", reply.status))
}
