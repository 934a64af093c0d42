//! The one outbound HTTP fetcher: webhooks, `jwks_uri`, gateways and call-backs all go through it.
//!
//! A URL may come from a partner, so the fetcher speaks https only, connects only to addresses it has checked itself
//! (the name is resolved once, and that answer is what is connected to), follows no redirect, and caps time and size.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderMap, Method, StatusCode};
use ipnet::IpNet;
use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;
use url::{Host, Url};

mod address;

use address::{Checked, Resolver};

/// Where the fetcher may go, and how long and how much it takes.
#[derive(Debug, Clone)]
pub struct FetchPolicy {
    /// Whether http and the loopback interface are allowed, for each other: a developer's machine.
    pub allow_loopback_http: bool,
    /// Networks that are not public and yet allowed, over https.
    pub allow_networks: Vec<IpNet>,
    /// Certificates (PEM) of authorities trusted beside the system's.
    pub extra_authorities_pem: Vec<u8>,
    /// How long a connection may take to open, TLS included.
    pub connect_deadline: Duration,
    /// How long one whole exchange may take when the request does not say.
    pub deadline: Duration,
    /// Largest answer body, bytes.
    pub body_bytes_max: usize,
}

impl Default for FetchPolicy {
    /// https to public addresses; 5 s to connect, 10 s in all, 1 MiB of answer.
    fn default() -> Self {
        Self {
            allow_loopback_http: false,
            allow_networks: Vec::new(),
            extra_authorities_pem: Vec::new(),
            connect_deadline: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
            body_bytes_max: 1024 * 1024,
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The method.
    pub method: Method,
    /// Where to; checked before anything is sent.
    pub url: Url,
    /// Headers beside `Host`, `Content-Length` and `User-Agent`.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// How long the whole exchange may take; `None`: as the policy says.
    pub deadline: Option<Duration>,
}

impl FetchRequest {
    /// A GET without headers of its own.
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), deadline: None }
    }
}

/// The answer, whole.
#[derive(Debug, Clone)]
pub struct FetchReply {
    /// Any status but a redirect.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body, not decompressed.
    pub body: Bytes,
}

/// Why there is no answer. The texts hold neither the URL nor anything the other side sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL or every address of its host is off limits. Nothing was sent.
    #[error("the address is not allowed: {0}")]
    NotAllowed(&'static str),
    /// The host's name has no address. Nothing was sent.
    #[error("the host's name cannot be resolved")]
    Unresolved,
    /// No connection, or no TLS. Nothing was sent.
    #[error("cannot connect: {0}")]
    NotConnected(String),
    /// The time was up. The request may have arrived.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke. The request may have arrived.
    #[error("the exchange broke off: {0}")]
    BrokenOff(String),
    /// The answer is a redirect, and those are not followed.
    #[error("the answer is a redirect ({0}), which is not followed")]
    Redirected(StatusCode),
    /// The answer is larger than the policy allows.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl FetchError {
    /// Whether the other side may have received the request, so that its effect is open.
    pub fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::NotAllowed(_) | Self::Unresolved | Self::NotConnected(_))
    }
}

/// The fetcher. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Fetcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: FetchPolicy,
    checked: Checked,
    plain: OnceCell<Client>,
    secure: OnceCell<Client>,
}

impl Fetcher {
    /// A fetcher under this policy. The system's certificates are read when first needed.
    pub fn new(policy: FetchPolicy) -> Self {
        let checked = Checked::new(policy.allow_loopback_http, policy.allow_networks.clone());
        Self(Arc::new(Inner { policy, checked, plain: OnceCell::new(), secure: OnceCell::new() }))
    }

    /// Whether a URL could be fetched: its form, and the addresses that its host has now. For the moment a partner
    /// registers it; [`fetch`](Self::fetch) checks again.
    ///
    /// # Errors
    /// [`FetchError::NotAllowed`] or [`FetchError::Unresolved`].
    pub async fn check_url(&self, url: &Url) -> Result<(), FetchError> {
        self.check_form(url)?;
        match url.host() {
            Some(Host::Domain(name)) => self.0.checked.resolve(name).await.map(drop),
            _ => Ok(()),
        }
    }

    /// What can be said of a URL without resolving its host. An IP address in any spelling that the URL standard
    /// knows (decimal, octal, hexadecimal) is judged like the address it means.
    ///
    /// # Errors
    /// [`FetchError::NotAllowed`].
    pub fn check_form(&self, url: &Url) -> Result<(), FetchError> {
        let loopback_only = match url.scheme() {
            "https" => false,
            "http" if self.0.policy.allow_loopback_http => true,
            _ => return Err(FetchError::NotAllowed("only https is")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::NotAllowed("it holds a user or a password"));
        }
        let Some(host) = url.host() else { return Err(FetchError::NotAllowed("it has no host")) };
        self.0.checked.judge_host(&host, loopback_only)
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// Every way there can be no answer; an HTTP status is not among them.
    pub async fn fetch(&self, request: FetchRequest) -> Result<FetchReply, FetchError> {
        self.check_form(&request.url)?;
        let deadline = request.deadline.unwrap_or(self.0.policy.deadline);
        match tokio::time::timeout(deadline, self.exchange(request)).await {
            Ok(ended) => ended,
            Err(_) => Err(FetchError::TimedOut),
        }
    }

    async fn exchange(&self, request: FetchRequest) -> Result<FetchReply, FetchError> {
        let client = self.client(&request.url).await?;
        let FetchRequest { method, url, headers, body, .. } = request;
        let mut asking = client.request(method, url).headers(headers);
        if !body.is_empty() {
            asking = asking.body(body);
        }
        let mut answer = asking.send().await.map_err(failure)?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(FetchError::Redirected(status));
        }
        let at_most = self.0.policy.body_bytes_max;
        if answer.content_length().is_some_and(|length| length > at_most as u64) {
            return Err(FetchError::TooLarge(at_most));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failure)? {
            if body.len() + piece.len() > at_most {
                return Err(FetchError::TooLarge(at_most));
            }
            body.extend_from_slice(&piece);
        }
        Ok(FetchReply { status, headers: std::mem::take(answer.headers_mut()), body: body.into() })
    }

    async fn client(&self, url: &Url) -> Result<&Client, FetchError> {
        let inner = &self.0;
        if url.scheme() == "http" {
            return inner.plain.get_or_try_init(async || build(inner, plain_config()?)).await;
        }
        let secure = async || {
            let authorities = inner.policy.extra_authorities_pem.clone();
            // Reading the system's certificates blocks for some milliseconds.
            let config = tokio::task::spawn_blocking(move || secure_config(&authorities)).await;
            build(inner, config.map_err(|_| unusable("reading certificates panicked"))??)
        };
        inner.secure.get_or_try_init(secure).await
    }
}

fn build(inner: &Inner, mut tls: ClientConfig) -> Result<Client, FetchError> {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Resolver(inner.checked.clone())))
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(inner.policy.connect_deadline)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(16)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(unusable)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// For http alone: no certificate is trusted.
fn plain_config() -> Result<ClientConfig, FetchError> {
    let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(versions.map_err(unusable)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn secure_config(extra_authorities_pem: &[u8]) -> Result<ClientConfig, FetchError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let extra = CertificateDer::pem_slice_iter(extra_authorities_pem).collect::<Result<Vec<_>, _>>();
    let extra = extra.map_err(|_| unusable("an extra authority is not a PEM certificate"))?;
    let verifier = Verifier::new_with_extra_roots(extra, provider()).map_err(unusable)?;
    let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let trusting =
        versions.map_err(unusable)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(trusting.with_no_client_auth())
}

/// The client itself cannot be made, as where the system has no certificates.
fn unusable(reason: impl std::fmt::Display) -> FetchError {
    FetchError::NotConnected(format!("no client: {reason}"))
}

fn failure(failed: reqwest::Error) -> FetchError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&failed);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<FetchError>() {
            return refused.clone();
        }
        source = cause.source();
    }
    if failed.is_connect() {
        return FetchError::NotConnected(innermost(&failed.without_url()));
    }
    if failed.is_timeout() {
        return FetchError::TimedOut;
    }
    FetchError::BrokenOff(innermost(&failed.without_url()))
}

/// The last cause says most: `connection refused`, `certificate expired`.
fn innermost(failed: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = failed;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
