//! The tour's HTTP client: an ordinary one, plus the two things a partner's backend adds to its requests —
//! a client assertion (RFC 7523) and a request signature (RFC 9421).

use anyhow::{Context, bail};
use http::{HeaderMap, HeaderName, HeaderValue};
use keys::http_signature::{Message, Signer};
use keys::{SigningKey, UnixSeconds, jws};
use serde_json::{Value, json};
use url::Url;

use super::print;
use crate::dev::credentials::Client;

/// The tag of the signature profile (architecture: request signatures).
const SIGNATURE_TAG: &str = "countersign-request";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_LIFE_S: i64 = 60;
/// Headers that are shown when they are sent.
const SHOWN_HEADERS: &[&str] = &[
    "authorization",
    "idempotency-key",
    "signature-input",
    "x-pti-token",
    "x-pti-signature",
    "x-pti-client-id",
];

/// One request, built step by step.
#[derive(Clone)]
pub(crate) struct Call {
    method: &'static str,
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// One answer. A body that is no JSON is kept as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn get(url: &str) -> Self {
        Self { method: "GET", url: url.to_owned(), headers: HeaderMap::new(), body: Vec::new() }
    }

    pub(crate) fn post_json(url: &str, body: &Value) -> anyhow::Result<Self> {
        let call = Self {
            method: "POST",
            url: url.to_owned(),
            headers: HeaderMap::new(),
            body: serde_json::to_vec(body)?,
        };
        call.header("content-type", "application/json")
    }

    pub(crate) fn post_form(url: &str, fields: &[(&str, &str)]) -> anyhow::Result<Self> {
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes();
        let call = Self { method: "POST", url: url.to_owned(), headers: HeaderMap::new(), body };
        call.header("content-type", "application/x-www-form-urlencoded")
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> anyhow::Result<Self> {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        Ok(self)
    }

    pub(crate) fn bearer(self, token: &str) -> anyhow::Result<Self> {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn method(&self) -> &'static str {
        self.method
    }

    pub(crate) fn path(&self) -> anyhow::Result<String> {
        Ok(Url::parse(&self.url)?.path().to_owned())
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Signs the request as it stands (RFC 9421); call it last.
    pub(crate) fn signed(mut self, key: &SigningKey, now: UnixSeconds, nonce: &str) -> anyhow::Result<Self> {
        let url = Url::parse(&self.url)?;
        let message = Message {
            method: self.method,
            authority: url.authority(),
            path: url.path(),
            query: url.query(),
            headers: &self.headers,
            body: &self.body,
        };
        let signer = Signer { key, keyid: key.kid(), tag: SIGNATURE_TAG, created: now, nonce };
        let made = signer.sign(&message).context("sign the request")?;
        if let Some(digest) = made.content_digest {
            self.headers.insert("content-digest", HeaderValue::from_str(&digest)?);
        }
        self.headers.insert("signature-input", HeaderValue::from_str(&made.signature_input)?);
        self.headers.insert("signature", HeaderValue::from_str(&made.signature)?);
        Ok(self)
    }
}

/// Sends requests and prints both sides.
pub(crate) struct Http {
    client: reqwest::Client,
}

impl Http {
    /// A client that trusts, beside the system's, the authority in `ca_file`.
    pub(crate) fn new(ca_file: Option<&str>) -> anyhow::Result<Self> {
        let mut builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca_file {
            let pem = std::fs::read(path).with_context(|| path.to_owned())?;
            builder = builder.tls_certs_merge([reqwest::Certificate::from_pem(&pem)?]);
        }
        Ok(Self { client: builder.build()? })
    }

    /// Sends without printing.
    pub(crate) async fn quiet(&self, call: &Call) -> anyhow::Result<Answer> {
        let method = reqwest::Method::from_bytes(call.method.as_bytes())?;
        let reply = self
            .client
            .request(method, &call.url)
            .headers(call.headers.clone())
            .body(call.body.clone())
            .send()
            .await
            .with_context(|| format!("{} {}", call.method, call.url))?;
        let status = reply.status().as_u16();
        let text = reply.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }

    /// Sends and shows request and answer.
    pub(crate) async fn send(&self, call: &Call) -> anyhow::Result<Answer> {
        let headers: Vec<(&str, String)> = SHOWN_HEADERS
            .iter()
            .filter_map(|name| Some((*name, call.headers.get(*name)?.to_str().ok()?.to_owned())))
            .collect();
        let body = (!call.body.is_empty()).then(|| String::from_utf8_lossy(&call.body).into_owned());
        print::request(call.method, &call.url, &headers, body.as_deref());
        let answer = self.quiet(call).await?;
        print::answer(answer.status, &answer.body);
        Ok(answer)
    }

    /// Sends, shows, and fails unless the answer has this status.
    pub(crate) async fn expect(&self, status: u16, call: &Call) -> anyhow::Result<Value> {
        let answer = self.send(call).await?;
        if answer.status != status {
            bail!("{} {} answered {} where the tour expects {status}", call.method, call.url, answer.status);
        }
        Ok(answer.body)
    }
}

/// The client assertion of `private_key_jwt` (RFC 7523 §3), with the issuer as its audience.
pub(crate) fn client_assertion(
    client: &Client,
    issuer: &str,
    now: UnixSeconds,
    jti: &str,
) -> anyhow::Result<String> {
    let key = assertion_key(client)?;
    let claims = json!({
        "iss": client.client_id, "sub": client.client_id, "aud": issuer, "jti": jti,
        "iat": now, "exp": now.plus(ASSERTION_LIFE_S),
    });
    jws::sign(&key, "client-authentication+jwt", &claims).context("sign the client assertion")
}

/// The form fields that carry a client assertion.
pub(crate) fn assertion_fields(assertion: &str) -> [(&'static str, &str); 2] {
    [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]
}

/// The key a client authenticates with.
pub(crate) fn assertion_key(client: &Client) -> anyhow::Result<SigningKey> {
    held_key(client.private_jwk.as_ref(), &client.alias, "private_jwk")
}

/// The key a client signs its requests with.
pub(crate) fn signature_key(client: &Client) -> anyhow::Result<SigningKey> {
    held_key(client.signature_jwk.as_ref(), &client.alias, "signature_jwk")
}

fn held_key(jwk: Option<&Value>, alias: &str, member: &str) -> anyhow::Result<SigningKey> {
    let jwk = jwk.with_context(|| format!("{alias} has no {member}"))?;
    SigningKey::from_private_jwk(jwk).with_context(|| format!("{member} of {alias}"))
}

/// `Authorization: Basic` of RFC 6749 §2.3.1.
pub(crate) fn basic(client: &Client) -> anyhow::Result<String> {
    use base64::Engine;
    let secret =
        client.client_secret.as_deref().with_context(|| format!("{} has no secret", client.alias))?;
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&client.client_id), encode(secret));
    Ok(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}
