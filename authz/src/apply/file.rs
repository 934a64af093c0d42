//! `PLATFORM.toml`. The same types are built in memory by `dev`.

use keys::token::Scope;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::domain::{
    Status,
    certificate::{BadCertificateName, CertificateMember, CertificateName},
    client::{AuthMethod, GrantType, Profile},
    operation::AllowedOperation,
    partner::Dialect,
};

/// The whole file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformFile {
    /// `[[partner]]`
    #[serde(default, rename = "partner")]
    pub partners: Vec<PartnerFile>,
}

/// A partner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerFile {
    /// Its short name, by which it is known.
    pub alias: String,
    /// Its name for people; the alias when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `active` or `disabled`.
    #[serde(default = "active")]
    pub status: Status,
    /// Whether its clients may act for every partner.
    #[serde(default)]
    pub platform: bool,
    /// Vendor shapes to switch on.
    #[serde(default)]
    pub dialects: Vec<Dialect>,
    /// Operations that its clients may issue user tokens for; none means the configured ones.
    #[serde(default)]
    pub operations: Vec<AllowedOperation>,
    /// `[[partner.client]]`
    #[serde(default, rename = "client")]
    pub clients: Vec<ClientFile>,
}

/// A client.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFile {
    /// Its short name, by which it is known within its partner.
    pub alias: String,
    /// `active` or `disabled`.
    #[serde(default = "active")]
    pub status: Status,
    /// Its one authentication method.
    pub token_endpoint_auth_method: AuthMethod,
    /// Its secret. Without one a new client is given a secret that is printed once, and an existing one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub secret: Option<SecretString>,
    /// The most it may be granted, space-separated.
    pub scope: Scope,
    /// Grant types it may use.
    #[serde(default)]
    pub grant_types: Vec<GrantType>,
    /// How its requests must be signed.
    #[serde(default = "unsigned")]
    pub profile: Profile,
    /// Browser origins from which its tokens may be used.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Life of its access tokens, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_ttl_s: Option<i64>,
    /// Its assertions may name the token endpoint as `aud`.
    #[serde(default)]
    pub legacy_assertion_audience: bool,
    /// Its tokens must be bound to a DPoP key.
    #[serde(default)]
    pub dpop_required: bool,
    /// For `tls_client_auth`: the whole subject of its certificate, as in `CN=backend,O=Acme` (RFC 4514).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_subject_dn: Option<String>,
    /// For `tls_client_auth`, instead: a DNS name in its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_dns: Option<String>,
    /// For `tls_client_auth`, instead: a URI in its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_uri: Option<String>,
    /// Its tokens must be bound to its certificate (RFC 8705 §3).
    #[serde(default)]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// Public JWKs for `private_key_jwt`.
    #[serde(default)]
    pub assertion_keys: Vec<Value>,
    /// Public JWKs for request signatures.
    #[serde(default)]
    pub signature_keys: Vec<Value>,
}

fn active() -> Status {
    Status::Active
}

fn unsigned() -> Profile {
    Profile::None
}

/// The operator's own file is the one place where a secret is written out.
#[allow(clippy::ref_option, reason = "serde gives a reference to the field")]
fn exposed<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(ExposeSecret::expose_secret).serialize(serializer)
}

impl PlatformFile {
    /// Reads the TOML text.
    ///
    /// # Errors
    /// What is wrong and where, without quoting values.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|bad| {
            let line = bad.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            format!("line {line}: {}", bad.message())
        })
    }
}

impl PartnerFile {
    /// An active partner without anything.
    pub fn new(alias: &str) -> Self {
        Self {
            alias: alias.to_owned(),
            name: None,
            status: Status::Active,
            platform: false,
            dialects: Vec::new(),
            operations: Vec::new(),
            clients: Vec::new(),
        }
    }
}

impl ClientFile {
    /// The name in its certificate, if it has one.
    pub(super) fn certificate(
        &self,
    ) -> Result<Option<CertificateName>, (CertificateMember, BadCertificateName)> {
        CertificateName::one_of([
            (CertificateMember::SubjectDn, self.tls_client_auth_subject_dn.as_deref()),
            (CertificateMember::SanDns, self.tls_client_auth_san_dns.as_deref()),
            (CertificateMember::SanUri, self.tls_client_auth_san_uri.as_deref()),
        ])
    }

    /// An active client that may use `client_credentials` if its method authenticates it, and may do nothing else.
    pub fn new(alias: &str, method: AuthMethod, scope: Scope) -> Self {
        let grant_types =
            if method == AuthMethod::None { vec![] } else { vec![GrantType::ClientCredentials] };
        Self {
            alias: alias.to_owned(),
            status: Status::Active,
            token_endpoint_auth_method: method,
            secret: None,
            scope,
            grant_types,
            profile: Profile::None,
            allowed_origins: Vec::new(),
            access_token_ttl_s: None,
            legacy_assertion_audience: false,
            dpop_required: false,
            tls_client_auth_subject_dn: None,
            tls_client_auth_san_dns: None,
            tls_client_auth_san_uri: None,
            tls_client_certificate_bound_access_tokens: false,
            assertion_keys: Vec::new(),
            signature_keys: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_with_its_defaults() {
        let file = PlatformFile::parse(
            r#"
            [[partner]]
            alias = "acme"

            [[partner.client]]
            alias = "backend"
            token_endpoint_auth_method = "client_secret_basic"
            scope = "users:write fiat_ins:execute"
            grant_types = ["client_credentials"]
            "#,
        )
        .unwrap();
        let partner = &file.partners[0];
        assert_eq!((partner.alias.as_str(), partner.status), ("acme", Status::Active));
        assert_eq!(partner.clients[0].scope.to_string(), "fiat_ins:execute users:write");
        assert!(partner.clients[0].secret.is_none());
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_without_values() {
        let said = PlatformFile::parse("[[partner]]\nalias = \"a\"\nstatsu = \"hush-hush\"\n").unwrap_err();
        assert!(
            said.starts_with("line 3") && said.contains("statsu") && !said.contains("hush-hush"),
            "{said}"
        );
    }

    #[test]
    fn what_is_built_in_memory_can_be_written_and_read() {
        let mut partner = PartnerFile::new("acme");
        let mut client =
            ClientFile::new("backend", AuthMethod::ClientSecretPost, "users:read".parse().unwrap());
        client.secret = Some("s3cret".to_owned().into());
        partner.clients.push(client);
        let text = toml::to_string(&PlatformFile { partners: vec![partner] }).unwrap();
        let read = PlatformFile::parse(&text).unwrap();
        let secret = read.partners[0].clients[0].secret.as_ref().unwrap();
        assert_eq!(secret.expose_secret(), "s3cret");
        assert!(!format!("{read:?}").contains("s3cret"));
    }
}
