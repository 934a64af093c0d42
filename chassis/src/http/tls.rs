//! TLS for listeners (RFC 8446, RFC 5246; nothing older): certificates that are replaced without a restart, and
//! client certificates that reach the handlers (RFC 8705).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use keys::UnixSeconds;
use keys::digest::sha256;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::read_secret_file;
use crate::shutdown::Shutdown;

mod certificate;
mod name;
mod present;

pub use certificate::{BadCertificate, ClientCertificate};
pub use name::{BadName, DistinguishedName};

use present::AnyCertificate;

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The files a listener's TLS is made of, all PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its authority.
    pub certificate_file: PathBuf,
    /// Its private key, readable by owner and group only.
    pub key_file: PathBuf,
    /// Authorities whose client certificates count (RFC 8705 §2.1). Without it no client is asked for one.
    #[serde(default)]
    pub client_authorities_file: Option<PathBuf>,
}

/// The TLS of a listener cannot be set up; one sentence that names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTls(String);

/// The TLS of a listener. Clones share the certificate that is current.
#[derive(Clone)]
pub struct Tls(Arc<Held>);

struct Held {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    digest: [u8; 32],
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`BadTls`] when a file cannot be read or does not fit the others.
    pub fn open(files: TlsFiles) -> Result<Self, BadTls> {
        let loaded = Contents::read(&files)?.load(&files)?;
        Ok(Self(Arc::new(Held { files, current: ArcSwap::from_pointee(loaded) })))
    }

    /// Reads the files again. Connections that are open keep what they began with.
    ///
    /// # Errors
    /// [`BadTls`]; then everything stays as it was.
    pub fn reload(&self) -> Result<bool, BadTls> {
        let contents = Contents::read(&self.0.files)?;
        if contents.digest() == self.0.current.load().digest {
            return Ok(false);
        }
        self.0.current.store(Arc::new(contents.load(&self.0.files)?));
        Ok(true)
    }

    /// Reads changed files within two seconds, and at once on SIGHUP, until the shutdown.
    pub async fn keep_current(self, shutdown: Shutdown) {
        let Ok(mut hang_up) = signal(SignalKind::hangup()) else {
            tracing::error!("SIGHUP cannot be listened to: certificates stay as they are");
            return;
        };
        let mut complained = None;
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                _ = hang_up.recv() => complained = None,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(true)) => {
                    complained = None;
                    tracing::info!("the listener's certificate was replaced");
                }
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(problem)) => {
                    // A half-written pair of files is whole at the next look; say it once.
                    if complained.as_ref() != Some(&problem) {
                        tracing::warn!(%problem, "the listener's certificate was not replaced");
                    }
                    complained = Some(problem);
                }
            }
        }
    }

    /// Shakes hands. The certificate is there when the client sent one, whoever signed it.
    pub(super) async fn accept<S>(
        &self,
        stream: S,
    ) -> std::io::Result<(TlsStream<S>, Option<ClientCertificate>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let current = self.0.current.load_full();
        let stream = TlsAcceptor::from(Arc::clone(&current.config)).accept(stream).await?;
        let Some(chain) = stream.get_ref().1.peer_certificates() else { return Ok((stream, None)) };
        let certificate = current.judge(chain).map_err(std::io::Error::other)?;
        Ok((stream, certificate))
    }
}

impl Loaded {
    fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<Option<ClientCertificate>, BadCertificate> {
        let Some((own, intermediates)) = chain.split_first() else { return Ok(None) };
        let now = UnixSeconds(i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX));
        let trusted_at = |moment: UnixSeconds| {
            let moment = Duration::from_secs(u64::try_from(moment.0).unwrap_or_default());
            let moment = UnixTime::since_unix_epoch(moment);
            self.clients
                .as_ref()
                .is_some_and(|authorities| authorities.verify_client_cert(own, intermediates, moment).is_ok())
        };
        ClientCertificate::parse(own, now, trusted_at).map(Some)
    }
}

/// What the files hold.
struct Contents {
    certificate: Vec<u8>,
    key: secrecy::SecretString,
    authorities: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, BadTls> {
        let authorities = files.client_authorities_file.as_deref();
        Ok(Self {
            certificate: read_file(&files.certificate_file)?,
            key: read_secret_file(&files.key_file).map_err(BadTls)?,
            authorities: authorities.map(read_file).transpose()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let parts = [
            self.certificate.as_slice(),
            self.key.expose_secret().as_bytes(),
            self.authorities.as_deref().unwrap_or_default(),
        ];
        sha256(parts.map(sha256).concat())
    }

    fn load(&self, files: &TlsFiles) -> Result<Loaded, BadTls> {
        let bad = |path: &Path, what: &str| BadTls(format!("{}: {what}", path.display()));
        let no_certificate = || bad(&files.certificate_file, "holds no certificate in PEM");
        let chain = certificates(&self.certificate).ok_or_else(no_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes())
            .map_err(|_| bad(&files.key_file, "holds no private key in PEM"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = match (&self.authorities, &files.client_authorities_file) {
            (Some(pem), Some(path)) => {
                let judged = client_authorities(pem, &provider);
                Some(judged.ok_or_else(|| bad(path, "holds no certificate of an authority in PEM"))?)
            }
            _ => None,
        };
        let versions = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| BadTls(error.to_string()))?;
        let asking = match &clients {
            Some(authorities) => {
                versions.with_client_cert_verifier(Arc::new(AnyCertificate::hinting(Arc::clone(authorities))))
            }
            None => versions.with_no_client_auth(),
        };
        let mut config = asking.with_single_cert(chain, key).map_err(|error| {
            bad(&files.certificate_file, &format!("does not go with {}: {error}", files.key_file.display()))
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), clients, digest: self.digest() })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, BadTls> {
    std::fs::read(path).map_err(|error| BadTls(format!("{}: cannot be read: {error}", path.display())))
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!found.is_empty()).then_some(found)
}

fn client_authorities(pem: &[u8], provider: &Arc<CryptoProvider>) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).ok()?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().ok()
}
