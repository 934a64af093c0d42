//! One HTTP request, built step by step, and its reply.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use keys::http_signature::{Message, Signer, TAG_REQUEST};
use keys::pti_jws;
use serde_json::Value;
use url::Url;

use super::{Client, World};

/// How often a racing call is sent again while the answer is "try again".
const INSISTENCE: usize = 3;

/// A request. Header methods replace, so that a test can spoil what was set before.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Where to send it instead of where the URL says: another node behind the same name.
    via: Option<SocketAddr>,
}

impl Call {
    pub(crate) fn new(method: &'static str, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: Vec::new(), via: None }
    }

    pub(crate) fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    pub(crate) fn post(url: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", url).json(body)
    }

    pub(crate) fn put(url: impl Into<String>, body: &Value) -> Self {
        Self::new("PUT", url).json(body)
    }

    /// A POST with these very bytes as JSON.
    pub(crate) fn post_text(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let call = Self::new("POST", url).header("content-type", "application/json");
        Self { body: body.into(), ..call }
    }

    pub(crate) fn form(url: impl Into<String>, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let call = Self::new("POST", url).header("content-type", "application/x-www-form-urlencoded");
        Self { body: body.into_bytes(), ..call }
    }

    fn json(self, body: &Value) -> Self {
        let call = self.header("content-type", "application/json");
        Self { body: body.to_string().into_bytes(), ..call }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers
            .insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sets `Idempotency-Key`.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// The same with another body, byte for byte.
    pub(crate) fn with_body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// The same at another URL.
    pub(crate) fn to(self, url: impl Into<String>) -> Self {
        Self { url: url.into(), ..self }
    }

    /// Sends it to this address, under the name in the URL.
    pub(crate) fn via(mut self, node: SocketAddr) -> Self {
        self.via = Some(node);
        self
    }

    fn parsed(&self) -> Url {
        Url::parse(&self.url).expect("an absolute URL")
    }

    /// Adds what this client adds to each of its requests: nothing, an RFC 9421 signature, or PTI's. Call it last.
    pub(crate) fn signed_by(self, client: &Client, world: &World) -> Self {
        if client.pti_key.is_some() { self.signed_for_pti(client, world) } else { self.signed(client, world) }
    }

    /// Signs per RFC 9421 with the client's signature key, if it has one.
    fn signed(mut self, client: &Client, world: &World) -> Self {
        let Some(key) = &client.signature_key else { return self };
        let url = self.parsed();
        let message = Message {
            method: self.method,
            authority: url.authority(),
            path: url.path(),
            query: url.query(),
            headers: &self.headers,
            body: &self.body,
        };
        let nonce = world.unique("nonce");
        let signer = Signer { key, keyid: key.kid(), tag: TAG_REQUEST, created: world.now(), nonce: &nonce };
        let signed = signer.sign(&message).expect("a signature");
        if let Some(digest) = signed.content_digest {
            self = self.header("content-digest", &digest);
        }
        self.header("signature-input", &signed.signature_input).header("signature", &signed.signature)
    }

    /// Signs as PTI's own signer does.
    fn signed_for_pti(self, client: &Client, world: &World) -> Self {
        let Some(key) = &client.pti_key else { return self };
        let url = self.parsed();
        let content_type = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        let others: Vec<(String, String)> = self
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-pti-"))
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect();
        let others: Vec<(&str, &str)> = others.iter().map(|(name, value)| (&**name, &**value)).collect();
        let parts = pti_jws::Parts {
            method: self.method,
            path: url.path(),
            query: url.query(),
            body: &self.body,
            content_type,
            date: None,
            other_fields: &others,
        };
        let signature = pti_jws::sign(key, &client.client_id, &parts, world.now()).expect("a signature");
        self.header(pti_jws::CLIENT_ID, &client.client_id).header(pti_jws::SIGNATURE, &signature)
    }
}

/// What came back. A body that is no JSON is kept as a JSON string.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }

    /// Asserts a refusal's status and stable code, and that it can be found again.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        let error_id = self.body["error_id"].as_str().unwrap_or_default();
        assert!(error_id.starts_with("err_"), "no error_id: {}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
    }

    /// Asserts that the refusal points at this member.
    #[track_caller]
    pub(crate) fn points_at(&self, pointer: &str) {
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "no {pointer} in {}", self.text);
    }

    /// Status and text: what two equal answers have in common.
    pub(crate) fn same(&self) -> (u16, &str) {
        (self.status, &self.text)
    }
}

/// The HTTP client of a world.
pub(super) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("an HTTP client")
}

impl World {
    /// Sends a request.
    pub(crate) async fn send(&self, call: Call) -> Reply {
        self.try_send(call).await.expect("an answer")
    }

    /// Sends a request; the line may break.
    pub(crate) async fn try_send(&self, call: Call) -> Result<Reply, reqwest::Error> {
        let mut url = call.parsed();
        let mut headers = call.headers;
        if let Some(node) = call.via {
            headers.insert("host", HeaderValue::from_str(url.authority()).expect("an authority"));
            url.set_ip_host(node.ip()).and_then(|()| url.set_port(Some(node.port()))).expect("an http URL");
        }
        let method = reqwest::Method::from_bytes(call.method.as_bytes()).expect("a method");
        let reply = self.http.request(method, url).headers(headers).body(call.body).send().await?;
        let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
        let text = reply.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        Ok(Reply { status, headers, text, body })
    }
}

impl World {
    /// Sends all of them at once; the replies in the order of the calls. What is answered "try again" (a lock that took
    /// too long on a busy machine) is sent again unchanged, as a client would.
    pub(crate) async fn race(&self, calls: Vec<Call>) -> Vec<Reply> {
        futures_util::future::join_all(calls.into_iter().map(|call| self.insist(call))).await
    }

    async fn insist(&self, call: Call) -> Reply {
        for _ in 0..INSISTENCE {
            let reply = self.send(call.clone()).await;
            if reply.status != 503 {
                return reply;
            }
            tokio::time::sleep(super::PAUSE).await;
        }
        self.send(call).await
    }
}

/// How many replies have this status.
pub(crate) fn with_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}
