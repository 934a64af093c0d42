//! Which certificate is a client's (RFC 8705 §2.1.2): one name that an authority wrote into it.

use std::fmt;

use chassis::http::{ClientCertificate, DistinguishedName};
use url::Url;

use super::text_enum;

/// Longest registered name, bytes.
const NAME_BYTES_MAX: usize = 1024;

text_enum! {
    /// Where in the certificate the registered name stands (RFC 8705 §2.1.2).
    CertificateMember {
        /// The whole subject.
        SubjectDn = "tls_client_auth_subject_dn",
        /// A `dNSName` of the subject alternative names.
        SanDns = "tls_client_auth_san_dns",
        /// A `uniformResourceIdentifier` of the subject alternative names.
        SanUri = "tls_client_auth_san_uri",
    }
}

/// The one name by which a client's certificate is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateName {
    /// The whole subject, compared attribute by attribute and never as text.
    SubjectDn(DistinguishedName),
    /// A DNS name, without regard to case.
    SanDns(String),
    /// A URI, letter by letter.
    SanUri(String),
}

/// The text is no name of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificateName {
    /// A subject that does not parse.
    #[error("not a distinguished name as in CN=backend,O=Acme (RFC 4514)")]
    SubjectDn,
    /// Not one full host name; a wildcard stands for many and so names nobody.
    #[error("not one host name without wildcards")]
    SanDns,
    /// Not an absolute URI.
    #[error("not an absolute URI")]
    SanUri,
    /// More than one of the members.
    #[error("a certificate is known by one name: give one of the tls_client_auth members")]
    Several,
}

impl CertificateName {
    /// Takes the name of this kind.
    ///
    /// # Errors
    /// [`BadCertificateName`].
    pub fn parse(member: CertificateMember, text: &str) -> Result<Self, BadCertificateName> {
        let short = text.len() <= NAME_BYTES_MAX;
        match member {
            CertificateMember::SubjectDn => {
                let name = text.parse().ok().filter(|_| short);
                name.map(Self::SubjectDn).ok_or(BadCertificateName::SubjectDn)
            }
            CertificateMember::SanDns if text.len() <= 253 && is_host_name(text) => {
                Ok(Self::SanDns(text.to_ascii_lowercase()))
            }
            CertificateMember::SanDns => Err(BadCertificateName::SanDns),
            CertificateMember::SanUri if short && text.is_ascii() && Url::parse(text).is_ok() => {
                Ok(Self::SanUri(text.to_owned()))
            }
            CertificateMember::SanUri => Err(BadCertificateName::SanUri),
        }
    }

    /// The one name among these members, if one is given.
    ///
    /// # Errors
    /// [`BadCertificateName`] with the member at fault.
    pub fn one_of(
        given: [(CertificateMember, Option<&str>); 3],
    ) -> Result<Option<Self>, (CertificateMember, BadCertificateName)> {
        let mut found = None;
        for (member, text) in given {
            let Some(text) = text else { continue };
            if found.is_some() {
                return Err((member, BadCertificateName::Several));
            }
            found = Some(Self::parse(member, text).map_err(|bad| (member, bad))?);
        }
        Ok(found)
    }

    /// Which member registers it.
    pub fn member(&self) -> CertificateMember {
        match self {
            Self::SubjectDn(_) => CertificateMember::SubjectDn,
            Self::SanDns(_) => CertificateMember::SanDns,
            Self::SanUri(_) => CertificateMember::SanUri,
        }
    }

    /// Its text, if it is of this member.
    pub fn text_of(&self, member: CertificateMember) -> Option<String> {
        (self.member() == member).then(|| self.to_string())
    }

    /// Whether the certificate carries it. Who signed the certificate is for others to judge.
    pub fn is_in(&self, certificate: &ClientCertificate) -> bool {
        match self {
            Self::SubjectDn(name) => certificate.subject() == name,
            Self::SanDns(name) => certificate.has_dns_name(name),
            Self::SanUri(uri) => certificate.has_uri(uri),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SubjectDn(name) => name.fmt(f),
            Self::SanDns(text) | Self::SanUri(text) => f.write_str(text),
        }
    }
}

/// At least two labels of letters, digits and inner hyphens (RFC 1123 §2.1).
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.contains('.') && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_read_and_written() {
        let cases = [
            (CertificateMember::SubjectDn, "CN=backend,O=Acme\\, Inc.", "CN=backend,O=Acme\\, Inc."),
            (CertificateMember::SanDns, "Backend.Acme.example", "backend.acme.example"),
            (CertificateMember::SanUri, "spiffe://acme.example/Backend", "spiffe://acme.example/Backend"),
        ];
        for (member, given, written) in cases {
            let name = CertificateName::parse(member, given).unwrap();
            assert_eq!((name.member(), name.to_string()), (member, written.to_owned()));
            assert_eq!(CertificateName::parse(member, written), Ok(name));
        }
    }

    #[test]
    fn what_names_nobody_or_many_is_refused() {
        for text in ["", "backend", "CN=", "CN=a,", "CN=a;O=b"] {
            let bad = CertificateName::parse(CertificateMember::SubjectDn, text);
            assert_eq!(bad, Err(BadCertificateName::SubjectDn), "{text}");
        }
        for text in ["", "backend", "*.acme.example", "a..b", ".a.b", "-a.b", "a b.c", "ä.example"] {
            let bad = CertificateName::parse(CertificateMember::SanDns, text);
            assert_eq!(bad, Err(BadCertificateName::SanDns), "{text}");
        }
        for text in ["", "backend", "/backend", "spiffe://ä/"] {
            let bad = CertificateName::parse(CertificateMember::SanUri, text);
            assert_eq!(bad, Err(BadCertificateName::SanUri), "{text}");
        }
    }

    #[test]
    fn of_the_members_one_may_be_given() {
        let given = |dn, dns| {
            CertificateName::one_of([
                (CertificateMember::SubjectDn, dn),
                (CertificateMember::SanDns, dns),
                (CertificateMember::SanUri, None),
            ])
        };
        assert_eq!(given(None, None), Ok(None));
        assert_eq!(given(None, Some("a.b")), Ok(Some(CertificateName::SanDns("a.b".into()))));
        let several = Err((CertificateMember::SanDns, BadCertificateName::Several));
        assert_eq!(given(Some("CN=a"), Some("a.b")), several);
    }
}
