//! The certificate authority of `dev --tls`, made in the data directory, and the certificate that it signs for this
//! machine's own names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chassis::Platform;
use chassis::http::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::credentials::write_private;

/// The names that the listeners have.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long a certificate counts. Every start makes a new one.
const CERTIFICATE_LIFE: Duration = Duration::from_hours(30 * 24);
/// How long the authority counts.
const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// How far before now a certificate begins, for clocks that differ.
const BEFORE: Duration = Duration::from_hours(1);

/// The files of the authority and of what it signed.
pub(super) struct Authority {
    /// What clients trust.
    pub(super) ca_file: PathBuf,
    /// What the listeners show. Client certificates of the same authority count.
    pub(super) tls: TlsFiles,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate and its key.
pub(super) struct ClientFiles {
    pub(super) certificate_file: PathBuf,
    pub(super) key_file: PathBuf,
}

impl Authority {
    /// Opens the authority, or makes it at the first start, and has it sign a certificate.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub(super) fn in_directory(data_dir: &Path, platform: &Platform) -> anyhow::Result<Self> {
        let data_dir = std::path::absolute(data_dir)?;
        let (ca_file, ca_key) = (data_dir.join("ca.pem"), data_dir.join("ca.key"));
        let key = if ca_key.exists() && ca_file.exists() {
            let text = std::fs::read_to_string(&ca_key)?;
            KeyPair::from_pem(&text).with_context(|| ca_key.display().to_string())?
        } else {
            let key = KeyPair::generate()?;
            write_private(&ca_key, key.serialize_pem().as_bytes())?;
            let own = authority(platform)?.self_signed(&key)?;
            write_private(&ca_file, own.pem().as_bytes())?;
            key
        };
        let issuer = Issuer::new(authority(platform)?, key);
        let own_key = KeyPair::generate()?;
        let own = certificate(platform)?.signed_by(&own_key, &issuer)?;
        let tls = TlsFiles {
            certificate_file: data_dir.join("tls.pem"),
            key_file: data_dir.join("tls.key"),
            client_authorities_file: Some(ca_file.clone()),
        };
        write_private(&tls.certificate_file, own.pem().as_bytes())?;
        write_private(&tls.key_file, own_key.serialize_pem().as_bytes())?;
        Ok(Self { ca_file, tls, issuer })
    }

    /// Has it sign a certificate with the subject `CN=<alias>` for a client (RFC 8705 §2.1), anew at each start.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub(super) fn sign_client(&self, alias: &str, platform: &Platform) -> anyhow::Result<ClientFiles> {
        let mut params = living(CertificateParams::new(Vec::new())?, CERTIFICATE_LIFE, platform);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, alias);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let own = params.signed_by(&key, &self.issuer)?;
        let file = |ending: &str| self.ca_file.with_file_name(format!("{alias}.{ending}"));
        let files = ClientFiles { certificate_file: file("pem"), key_file: file("key") };
        write_private(&files.certificate_file, own.pem().as_bytes())?;
        write_private(&files.key_file, key.serialize_pem().as_bytes())?;
        Ok(files)
    }
}

fn authority(platform: &Platform) -> anyhow::Result<CertificateParams> {
    let mut params = living(CertificateParams::new(Vec::new())?, AUTHORITY_LIFE, platform);
    params.distinguished_name.push(DnType::CommonName, "Countersign development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn certificate(platform: &Platform) -> anyhow::Result<CertificateParams> {
    let names: Vec<String> = NAMES.map(str::to_owned).into();
    let mut params = living(CertificateParams::new(names)?, CERTIFICATE_LIFE, platform);
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn living(mut params: CertificateParams, life: Duration, platform: &Platform) -> CertificateParams {
    let since_1970 = Duration::from_secs(u64::try_from(platform.now().0).unwrap_or_default());
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970.saturating_sub(BEFORE);
    params.not_after = epoch + since_1970 + life;
    params
}
