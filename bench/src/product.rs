//! The product under load: `countersign dev` in a folder of its own, and requests as its clients would send them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use chassis::{Clock, Entropy, SystemClock, SystemEntropy};
use keys::http_signature::{Message, Signer};
use keys::{SigningKey, jws};
use serde_json::{Value, json};

use crate::load;
use crate::process::Server;

/// A running `countersign dev`.
pub(crate) struct Product {
    pub(crate) server: Server,
    credentials: Value,
    http: reqwest::Client,
}

impl Product {
    /// Starts the release binary that stands beside this one and waits for its credentials.
    pub(crate) async fn start(folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let program = beside_this_binary("countersign")?;
        let mut all = vec!["dev".to_owned(), "--data-dir".to_owned(), folder.display().to_string()];
        for flag in ["authz", "resource", "door", "shop", "authz-ops", "resource-ops"] {
            all.extend([format!("--{flag}-listen"), "0".to_owned()]);
        }
        all.extend(arguments.iter().map(|&one| one.to_owned()));
        let file = folder.join("credentials.json");
        std::fs::remove_file(&file).ok();
        let mut server = Server::start(&program, &all)?;
        server.wait_for_file(&file).await?;
        let credentials = serde_json::from_slice(&std::fs::read(&file)?)?;
        Ok(Self { server, credentials, http: reqwest::Client::new() })
    }

    /// A string of `credentials.json` by JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> anyhow::Result<&str> {
        self.credentials
            .pointer(pointer)
            .and_then(Value::as_str)
            .with_context(|| format!("credentials.json {pointer}"))
    }

    /// The port of a service: `/issuer`, `/resource`, `/ops/authz` or `/ops/resource_api`.
    pub(crate) fn port(&self, pointer: &str) -> anyhow::Result<u16> {
        let url = self.text(pointer)?;
        url.rsplit(':').next().and_then(|port| port.parse().ok()).with_context(|| format!("a port in {url}"))
    }

    /// `localhost:PORT`, the Host that the service answers to.
    pub(crate) fn authority(&self, pointer: &str) -> anyhow::Result<String> {
        Ok(format!("localhost:{}", self.port(pointer)?))
    }

    /// One client of `credentials.json`.
    pub(crate) fn client(&self, alias: &str) -> anyhow::Result<&Value> {
        self.credentials["clients"]
            .as_array()
            .and_then(|clients| clients.iter().find(|client| client["alias"] == alias))
            .with_context(|| format!("no client {alias}"))
    }

    /// HTTP Basic of `acme-backend`.
    fn basic(&self) -> anyhow::Result<String> {
        let client = self.client("acme-backend")?;
        let text = |name: &str| client[name].as_str().unwrap_or_default().to_owned();
        Ok(format!("Basic {}", standard_base64(&format!("{}:{}", text("client_id"), text("client_secret")))))
    }

    /// An access token of `acme-backend`, whose requests need no signature.
    pub(crate) async fn client_token(&self, scope: &str) -> anyhow::Result<String> {
        let headers = [("authorization", self.basic()?), ("content-type", FORM.to_owned())]
            .map(|(name, value)| (name.to_owned(), value));
        let body = format!("grant_type=client_credentials&scope={}", scope.replace(':', "%3A"));
        let url = format!("{}/oauth2/token", self.text("/issuer")?);
        let answer = self.send(&url, &headers, body.into_bytes()).await?;
        Ok(answer["access_token"].as_str().context("access_token")?.to_owned())
    }

    /// The `POST /oauth2/token` of `acme-backend`, ready to send.
    pub(crate) fn client_credentials_request(&self) -> anyhow::Result<Vec<u8>> {
        let basic = self.basic()?;
        let headers =
            [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let body = b"grant_type=client_credentials&scope=customers%3Aread";
        Ok(load::request("POST", &self.authority("/issuer")?, "/oauth2/token", &headers, body))
    }

    /// An access token of `acme-signed`, for the audience that `scope` implies.
    pub(crate) async fn signed_client_token(&self, scope: &str) -> anyhow::Result<String> {
        let client = self.client("acme-signed")?;
        let id = client["client_id"].as_str().context("client_id")?;
        let now = SystemClock.now();
        let key = SigningKey::from_private_jwk(&client["private_jwk"]).context("private_jwk")?;
        let claims = json!({ "iss": id, "sub": id, "aud": self.text("/issuer")?, "jti": nonce(), "iat": now, "exp": now.plus(60) });
        let assertion = jws::sign(&key, "client-authentication+jwt", &claims).context("assertion")?;
        let body = [
            ("grant_type", "client_credentials"),
            ("scope", scope),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ]
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace(':', "%3A").replace(' ', "+")))
        .collect::<Vec<_>>()
        .join("&");
        let headers =
            self.signed_headers(("POST", "/issuer", "/oauth2/token"), FORM, None, body.as_bytes())?;
        let answer = self
            .send(&format!("{}/oauth2/token", self.text("/issuer")?), &headers, body.into_bytes())
            .await?;
        Ok(answer["access_token"].as_str().context("access_token")?.to_owned())
    }

    /// Headers of a request signed by `acme-signed` (RFC 9421).
    pub(crate) fn signed_headers(
        &self,
        (method, service, path): (&str, &str, &str),
        content_type: &'static str,
        token: Option<&str>,
        body: &[u8],
    ) -> anyhow::Result<Vec<(String, String)>> {
        let key = SigningKey::from_private_jwk(&self.client("acme-signed")?["signature_jwk"])
            .context("signature_jwk")?;
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("content-type", content_type.parse()?);
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse()?);
            headers.insert("idempotency-key", nonce().parse()?);
        }
        let authority = self.authority(service)?;
        let message = Message { method, authority: &authority, path, query: None, headers: &headers, body };
        let nonce = nonce();
        let signer = Signer {
            key: &key,
            keyid: key.kid(),
            tag: "countersign-request",
            created: SystemClock.now(),
            nonce: &nonce,
        };
        let made = signer.sign(&message).context("sign")?;
        let mut all: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())))
            .collect::<anyhow::Result<_>>()?;
        all.extend(made.content_digest.map(|digest| ("content-digest".to_owned(), digest)));
        all.push(("signature-input".to_owned(), made.signature_input));
        all.push(("signature".to_owned(), made.signature));
        Ok(all)
    }

    /// A signed JSON POST with a client token, outside the measurement. `base` is the issuer or the resource.
    pub(crate) async fn signed_post(
        &self,
        base: &str,
        path: &str,
        token: &str,
        body: String,
    ) -> anyhow::Result<Value> {
        let service = if base == self.text("/issuer")? { "/issuer" } else { "/resource" };
        let headers = self.signed_headers(("POST", service, path), JSON, Some(token), body.as_bytes())?;
        self.send(&format!("{base}{path}"), &headers, body.into_bytes()).await
    }

    /// Sends one POST outside the measurement and gives its JSON.
    pub(crate) async fn send(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> anyhow::Result<Value> {
        let mut request = self.http.post(url).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let reply = request.send().await?;
        let status = reply.status();
        let text = reply.text().await?;
        if !status.is_success() {
            bail!("{url} answered {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// How many SQL statements a service has sent, once its count has been published anew.
    pub(crate) async fn statements(&self, service: &str) -> anyhow::Result<f64> {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let text =
            self.http.get(format!("{}/metrics", self.text("/ops/authz")?)).send().await?.text().await?;
        text.lines()
            .find(|line| line.starts_with("db_statements_total") && line.contains(service))
            .and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .with_context(|| format!("no statement count of {service}"))
    }
}

/// The content type of forms.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// The content type of JSON bodies.
pub(crate) const JSON: &str = "application/json";

/// A fresh nonce or `jti`.
pub(crate) fn nonce() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    keys::b64::encode(bytes.as_slice())
}

/// Base64 of RFC 4648 §4, which HTTP Basic wants, made from the URL-safe form.
fn standard_base64(text: &str) -> String {
    let url_safe = keys::b64::encode(text.as_bytes());
    let padding = (4 - url_safe.len() % 4) % 4;
    url_safe.replace('-', "+").replace('_', "/") + &"=".repeat(padding)
}

/// A binary that was built with this one.
pub(crate) fn beside_this_binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{} is missing: run `make bench`, which builds it", path.display());
    }
    Ok(path)
}
