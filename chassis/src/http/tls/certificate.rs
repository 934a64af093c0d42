//! What a client's certificate says (RFC 5280, RFC 8705).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use keys::UnixSeconds;
use keys::digest::sha256_b64;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::name::DistinguishedName;

/// The certificate does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate that can be read")]
pub struct BadCertificate;

/// The certificate that the peer of a connection proved to hold the key of. It lies in the extensions of every
/// request of that connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientCertificate(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    thumbprint: String,
    trusted: bool,
    valid: (UnixSeconds, UnixSeconds),
    subject: DistinguishedName,
    dns_names: Vec<String>,
    uris: Vec<String>,
    emails: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl ClientCertificate {
    /// Reads a certificate. `trusted_at`: whether its chain leads to an authority that was configured, as of the
    /// moment of its own life that is nearest to `now`. Its own life is judged at each request, by the service's clock.
    ///
    /// # Errors
    /// [`BadCertificate`] when it, or a subject alternative name in it, cannot be read.
    pub fn parse(
        der: &[u8],
        now: UnixSeconds,
        trusted_at: impl FnOnce(UnixSeconds) -> bool,
    ) -> Result<Self, BadCertificate> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| BadCertificate)?;
        if !rest.is_empty() {
            return Err(BadCertificate);
        }
        let valid = (
            UnixSeconds(parsed.validity().not_before.timestamp()),
            UnixSeconds(parsed.validity().not_after.timestamp()),
        );
        let mut found = Parsed {
            thumbprint: sha256_b64(der),
            trusted: trusted_at(now.max(valid.0).min(valid.1)),
            valid,
            subject: DistinguishedName::of(parsed.subject()),
            dns_names: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            addresses: Vec::new(),
        };
        let names = parsed.subject_alternative_name().map_err(|_| BadCertificate)?;
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            found.add(name)?;
        }
        Ok(Self(Arc::new(found)))
    }

    /// base64url of the SHA-256 of the certificate: `x5t#S256` (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> &str {
        &self.0.thumbprint
    }

    /// Whether an authority that was configured stands behind it and `now` is within its life (RFC 8705 §2.1).
    pub fn is_trusted(&self, now: UnixSeconds) -> bool {
        self.0.trusted && self.is_current(now)
    }

    /// Whether `now` is within its life.
    pub fn is_current(&self, now: UnixSeconds) -> bool {
        self.0.valid.0 <= now && now <= self.0.valid.1
    }

    /// Its subject.
    pub fn subject(&self) -> &DistinguishedName {
        &self.0.subject
    }

    /// Whether a `dNSName` is this one; case does not matter.
    pub fn has_dns_name(&self, name: &str) -> bool {
        self.0.dns_names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether a `uniformResourceIdentifier` is this one, letter by letter.
    pub fn has_uri(&self, uri: &str) -> bool {
        self.0.uris.iter().any(|known| known == uri)
    }

    /// Whether an `rfc822Name` is this one, letter by letter.
    pub fn has_email(&self, email: &str) -> bool {
        self.0.emails.iter().any(|known| known == email)
    }

    /// Whether an `iPAddress` is this one.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.0.addresses.contains(&address)
    }
}

impl Parsed {
    fn add(&mut self, name: &GeneralName<'_>) -> Result<(), BadCertificate> {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::RFC822Name(email) => self.emails.push((*email).to_owned()),
            GeneralName::IPAddress(octets) => self.addresses.push(address(octets).ok_or(BadCertificate)?),
            GeneralName::Invalid(..) => return Err(BadCertificate),
            _ => {}
        }
        Ok(())
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

impl<S: Send + Sync> FromRequestParts<S> for ClientCertificate {
    type Rejection = crate::http::Problem;

    /// The certificate of the connection; 401 without one. Use `Option<Extension<_>>` where it is optional.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let certificate = parts.extensions.get::<Self>().cloned();
        certificate.ok_or_else(|| {
            let detail = "This needs a connection with a client certificate.";
            crate::http::Problem::new(http::StatusCode::UNAUTHORIZED, "certificate_required", detail)
        })
    }
}
