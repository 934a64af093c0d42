//! A client: how it authenticates, how it signs, and what it may ask for (RFC 6749 §2, RFC 7591 §2).

use keys::{PublicJwk, VerifyingKey};
use url::Url;

use super::{
    Status,
    audience::{Policy, unknown_scopes},
    is_alias, text_enum,
};

text_enum! {
    /// `token_endpoint_auth_method`: the one way in which a client may authenticate.
    AuthMethod {
        /// HTTP Basic (RFC 6749 §2.3.1).
        ClientSecretBasic = "client_secret_basic",
        /// Secret in the form body (RFC 6749 §2.3.1).
        ClientSecretPost = "client_secret_post",
        /// A signed assertion (RFC 7523 §2.2).
        PrivateKeyJwt = "private_key_jwt",
        /// None: the client cannot use the token endpoint as itself.
        None = "none",
    }
}

text_enum! {
    /// How a client must sign every request, beside authenticating.
    Profile {
        /// Not at all.
        None = "none",
        /// HTTP message signatures (RFC 9421), tag `countersign-request`.
        HttpSig = "http_sig",
        /// PTI's JWS over method, body hash, date and path.
        PtiJws = "pti_jws",
    }
}

text_enum! {
    /// A grant type of the token endpoint that this build has.
    GrantType {
        /// RFC 6749 §4.4.
        ClientCredentials = "client_credentials",
    }
}

text_enum! {
    /// What a client's public key is for.
    KeyUse {
        /// Client assertions (RFC 7523).
        Assertion = "assertion",
        /// Request signatures.
        Signature = "signature",
    }
}

/// A client's public key, parsed once.
#[derive(Debug, Clone)]
pub struct ClientKey {
    /// Names the key within its client.
    pub kid: String,
    /// What it is for.
    pub key_use: KeyUse,
    /// The published form.
    pub jwk: PublicJwk,
    /// Ready to verify with.
    pub verifying: VerifyingKey,
}

/// Why a JWK cannot be a client's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable public JWK (EC P-256, Ed25519 or RSA 2048 to 4096, without private members)")]
pub struct BadClientKey;

impl ClientKey {
    /// Takes a public JWK; without a `kid` its RFC 7638 thumbprint names it.
    ///
    /// # Errors
    /// [`BadClientKey`] for another key type, private members or a `kid` longer than 128 characters.
    pub fn from_jwk(key_use: KeyUse, jwk: &serde_json::Value) -> Result<Self, BadClientKey> {
        let jwk = PublicJwk::try_from(jwk).map_err(|_| BadClientKey)?;
        let kid = jwk.kid().map_or_else(|| jwk.thumbprint(), ToOwned::to_owned);
        if kid.is_empty() || kid.len() > 128 {
            return Err(BadClientKey);
        }
        let verifying = jwk.verifying_key();
        Ok(Self { kid, key_use, jwk, verifying })
    }

    /// The public JWK, always with the `kid` that names it.
    pub fn published(&self) -> serde_json::Value {
        let mut jwk = self.jwk.to_value();
        jwk["kid"] = self.kid.as_str().into();
        jwk
    }
}

/// A client as it is cached.
#[derive(Debug, Clone)]
pub struct Client {
    /// `cli_…`; never equal to a user's `sub`.
    pub id: String,
    /// The tenant.
    pub partner_id: String,
    /// Whether it may be used.
    pub status: Status,
    /// base64url of the keyed MAC of its secret.
    pub secret_mac: Option<String>,
    /// The secret before the last rotation, as long as it is good too.
    pub old_secret: Option<OldSecret>,
    /// Moment of creation, Unix seconds.
    pub created_at: keys::UnixSeconds,
    /// What its operator set.
    pub settings: ClientSettings,
}

/// A secret that a rotation left good for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSecret {
    /// As [`Client::secret_mac`].
    pub mac: String,
    /// From then on it is refused.
    pub expires_at: keys::UnixSeconds,
}

/// What an operator sets on a client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The operator's own name, unique within the partner.
    pub alias: String,
    /// The pinned authentication method.
    pub auth_method: AuthMethod,
    /// The policy: the most it may be granted.
    pub scope: Policy,
    /// Grant types it may use.
    pub grant_types: Vec<GrantType>,
    /// How its requests must be signed.
    pub profile: Profile,
    /// Browser origins from which its tokens may be used.
    pub allowed_origins: Vec<String>,
    /// Life of its access tokens, seconds; `None` is the service's default.
    pub access_token_ttl_s: Option<i64>,
    /// Assertions may also name the URL of the endpoint as `aud` (security decision DEC4).
    pub legacy_assertion_audience: bool,
    /// Its tokens must be bound to a DPoP key (RFC 9449 §5.2, `dpop_bound_access_tokens`).
    pub dpop_required: bool,
    /// Its public keys.
    pub keys: Vec<ClientKey>,
}

impl Client {
    /// The MACs of the secrets that are good at this moment.
    pub fn secret_macs(&self, now: keys::UnixSeconds) -> Vec<&str> {
        let old = self.old_secret.as_ref().filter(|old| now < old.expires_at);
        self.secret_mac.as_deref().into_iter().chain(old.map(|old| old.mac.as_str())).collect()
    }

    /// The key `kid` for `key_use`.
    pub fn key(&self, key_use: KeyUse, kid: &str) -> Option<&ClientKey> {
        self.keys_for(key_use).find(|key| key.kid == kid)
    }

    /// Its keys for `key_use`.
    pub fn keys_for(&self, key_use: KeyUse) -> impl Iterator<Item = &ClientKey> {
        self.settings.keys.iter().filter(move |key| key.key_use == key_use)
    }
}

/// One thing wrong with a client's settings: the member and a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The member's name.
    pub member: &'static str,
    /// Stable code.
    pub code: &'static str,
}

impl ClientSettings {
    /// Everything that is wrong with the settings.
    pub fn problems(&self) -> Vec<SettingsProblem> {
        let mut found = Vec::new();
        let mut check = |holds: bool, member, code| {
            if !holds {
                found.push(SettingsProblem { member, code });
            }
        };
        let has = |key_use| self.keys.iter().any(|key| key.key_use == key_use);
        check(is_alias(&self.alias), "alias", "malformed");
        check(unknown_scopes(self.scope.scope()).is_empty(), "scope", "unknown_scope");
        check(
            self.allowed_origins.iter().all(|origin| is_origin(origin)),
            "allowed_origins",
            "not_an_origin",
        );
        check(
            self.access_token_ttl_s.is_none_or(|ttl| (30..=3600).contains(&ttl)),
            "access_token_ttl_s",
            "out_of_range",
        );
        let uses_assertions = self.auth_method == AuthMethod::PrivateKeyJwt;
        check(
            has(KeyUse::Assertion) == uses_assertions,
            "assertion_keys",
            "only_and_always_for_private_key_jwt",
        );
        check(
            self.profile == Profile::None || has(KeyUse::Signature),
            "signature_keys",
            "required_by_profile",
        );
        check(
            self.auth_method != AuthMethod::None || self.grant_types.is_empty(),
            "grant_types",
            "needs_client_authentication",
        );
        check(
            !self.dpop_required || self.profile != Profile::PtiJws,
            "dpop_required",
            "the_vendor_has_no_dpop",
        );
        let mut kids: Vec<&str> = self.keys.iter().map(|key| key.kid.as_str()).collect();
        kids.sort_unstable();
        check(kids.windows(2).all(|pair| pair[0] != pair[1]), "keys", "kid_repeated");
        check(self.keys.len() <= 16, "keys", "too_many");
        found
    }
}

/// Exactly scheme, host and port of an http or https URL, as a browser sends it in `Origin`.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ClientSettings {
        ClientSettings {
            alias: "backend".into(),
            auth_method: AuthMethod::ClientSecretBasic,
            scope: Policy::new("users:write".parse().unwrap()),
            grant_types: vec![GrantType::ClientCredentials],
            profile: Profile::None,
            allowed_origins: vec!["http://localhost:8082".into()],
            access_token_ttl_s: None,
            legacy_assertion_audience: false,
            dpop_required: false,
            keys: Vec::new(),
        }
    }

    fn key(key_use: KeyUse, seed: u8) -> ClientKey {
        let pair = keys::SigningKey::ed25519_from_seed([seed; 32]).unwrap();
        ClientKey::from_jwk(key_use, &pair.public_jwk().to_value()).unwrap()
    }

    #[test]
    fn sound_settings_have_no_problem() {
        assert_eq!(settings().problems(), []);
    }

    #[test]
    fn each_broken_rule_is_named() {
        type Break = fn(&mut ClientSettings);
        let cases: [(Break, &str); 9] = [
            (|it| it.alias = "No Good".into(), "alias"),
            (|it| it.scope = Policy::new("users:write nope".parse().unwrap()), "scope"),
            (|it| it.allowed_origins = vec!["http://localhost:8082/".into()], "allowed_origins"),
            (|it| it.access_token_ttl_s = Some(29), "access_token_ttl_s"),
            (|it| it.auth_method = AuthMethod::PrivateKeyJwt, "assertion_keys"),
            (|it| it.profile = Profile::HttpSig, "signature_keys"),
            (|it| it.auth_method = AuthMethod::None, "grant_types"),
            (
                |it| {
                    it.dpop_required = true;
                    it.profile = Profile::PtiJws;
                    it.keys = vec![key(KeyUse::Signature, 1)];
                },
                "dpop_required",
            ),
            (|it| it.keys = vec![key(KeyUse::Signature, 1), key(KeyUse::Signature, 1)], "keys"),
        ];
        for (break_it, member) in cases {
            let mut broken = settings();
            break_it(&mut broken);
            let members: Vec<_> = broken.problems().iter().map(|problem| problem.member).collect();
            assert_eq!(members, [member]);
        }
    }

    #[test]
    fn a_private_or_symmetric_jwk_is_no_client_key() {
        let private = keys::SigningKey::ed25519_from_seed([7; 32]).unwrap().to_private_jwk().unwrap();
        assert!(ClientKey::from_jwk(KeyUse::Signature, &private).is_err());
        let symmetric = serde_json::json!({"kty": "oct", "k": "c2VjcmV0"});
        assert!(ClientKey::from_jwk(KeyUse::Assertion, &symmetric).is_err());
    }
}
