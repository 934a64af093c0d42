//! Certificate authorities of the tests, what they sign, and a service that asks for it over TLS.

use std::{os::unix::fs::PermissionsExt, path::Path};

use authz::Config;
use chassis::{http::TlsFiles, testing::TestDatabase};
use rcgen::{BasicConstraints, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::world::World;

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate with its key.
pub(crate) struct Signed {
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
    pub(crate) pem: String,
    pub(crate) thumbprint: String,
}

/// Parameters with this subject, most specific part last as in a certificate.
pub(crate) fn subject<V: Into<DnValue>>(parts: Vec<(DnType, V)>) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in parts {
        params.distinguished_name.push(kind, value);
    }
    params
}

/// Parameters with the subject `CN=<name>,O=Acme`.
pub(crate) fn named(name: &str) -> CertificateParams {
    subject(vec![(DnType::OrganizationName, "Acme"), (DnType::CommonName, name)])
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn sign(&self, params: CertificateParams) -> Signed {
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap();
        Signed { thumbprint: keys::digest::sha256_b64(own.der()), pem: own.pem(), params, key }
    }
}

impl Signed {
    /// A certificate that nobody but its own key signed.
    pub(crate) fn by_itself(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        Self { thumbprint: keys::digest::sha256_b64(own.der()), pem: own.pem(), params, key }
    }

    /// What somebody signs who holds this certificate and is no authority; this one is sent along.
    pub(crate) fn misused_to_sign(self, params: CertificateParams) -> Self {
        let authority = Authority { pem: String::new(), issuer: Issuer::new(self.params, self.key) };
        let mut signed = authority.sign(params);
        signed.pem.push_str(&self.pem);
        signed
    }
}

/// A service behind TLS that asks for certificates of `partners`.
pub(crate) struct Secure {
    pub(crate) world: World,
    pub(crate) partners: Authority,
    server: Authority,
    _folder: TempDir,
}

impl Secure {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        let (server, partners) = (Authority::new("Server authority"), Authority::new("Partners"));
        let mut own = named("authz");
        own.subject_alt_names = vec![rcgen::SanType::IpAddress([127, 0, 0, 1].into())];
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), &server.sign(own), &partners);
        let over_tls = |config: &mut Config| {
            config.issuer = https(&config.issuer);
            config.public_origins = config.public_origins.iter().map(https).collect();
            config.listener.tls = Some(files);
        };
        let mut world = World::tuned_node(database, 1, None, over_tls).await;
        world.base.clone_from(&world.issuer);
        let mut secure = Self { world, partners, server, _folder: folder };
        secure.world.http = secure.showing(None);
        secure
    }

    /// A caller that trusts the service and shows this certificate.
    pub(crate) fn showing(&self, own: Option<&Signed>) -> reqwest::Client {
        let trusted = reqwest::Certificate::from_pem(self.server.pem.as_bytes()).unwrap();
        let mut client = reqwest::Client::builder().tls_certs_only([trusted]);
        if let Some(own) = own {
            let pem = format!("{}{}", own.pem, own.key.serialize_pem());
            client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        client.build().unwrap()
    }
}

fn https(origin: &chassis::http::Origin) -> chassis::http::Origin {
    origin.to_string().replace("http:", "https:").parse().unwrap()
}

fn files(folder: &Path, own: &Signed, clients: &Authority) -> TlsFiles {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    TlsFiles {
        certificate_file: write("tls.pem", &own.pem),
        key_file: write("tls.key", &own.key.serialize_pem()),
        client_authorities_file: Some(write("clients.pem", &clients.pem)),
    }
}
