//! Certificate authorities of the tests, and files of what they sign.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chassis::http::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
}

/// A certificate with its key.
pub(crate) struct Signed {
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        Self { pem: own.pem(), der: own.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for a name, as server and as client.
    pub(crate) fn sign(&self, common_name: &str, alternative: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![alternative.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        let own = params.signed_by(&key, &self.issuer).unwrap();
        Signed { pem: own.pem(), der: own.der().clone(), key }
    }

    /// A client that trusts this authority and shows `own`.
    pub(crate) fn client(&self, own: Option<&Signed>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let trusting = versions.unwrap().with_root_certificates(roots);
        Arc::new(match own {
            Some(own) => {
                let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
                trusting.with_client_auth_cert(vec![own.der.clone()], key).unwrap()
            }
            None => trusting.with_no_client_auth(),
        })
    }
}

/// Writes certificate and key where a listener reads them.
pub(crate) fn files(folder: &Path, own: &Signed, clients: Option<&Authority>) -> TlsFiles {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let client_authorities_file: Option<PathBuf> = clients.map(|one| write("clients.pem", &one.pem));
    TlsFiles {
        certificate_file: write("tls.pem", &own.pem),
        key_file: write("tls.key", &own.key.serialize_pem()),
        client_authorities_file,
    }
}
