//! What an operator sets, with its defaults and limits.

use std::{net::SocketAddr, path::PathBuf};

use chassis::{
    config::Checked,
    http::{ListenerConfig, Origin},
};
use keys::{Algorithm, ring::JWKS_MAX_AGE_S_MIN};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::Error};

use crate::domain::{audience::unknown_scopes, operation::AllowedOperation};

/// Settings of the authorization server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The `iss` of every token and the base of every endpoint: an origin without a path.
    pub issuer: Origin,
    /// Further origins under which the service is reached: a front door, a load balancer.
    #[serde(default)]
    pub public_origins: Vec<Origin>,
    /// The resource API's base URL: the `aud` of its tokens.
    pub resource_api: Origin,
    /// Every origin under which the resource API is reached; user tokens are bound to URLs of these. Its base URL
    /// is always among them.
    #[serde(default)]
    pub operation_origins: Vec<Origin>,
    /// Where the public listener binds.
    #[serde(default = "listen_default")]
    pub listen: Vec<SocketAddr>,
    /// Where the listener for probes and metrics binds.
    #[serde(default = "ops_listen_default")]
    pub ops_listen: Vec<SocketAddr>,
    /// TLS, load balancers and rate limits of the public listener.
    #[serde(default)]
    pub listener: ListenerConfig,
    /// `sqlite:PATH` or `postgres://…`. It may hold a password.
    pub database_url: SecretString,
    /// base64url of the 32 bytes that seal private keys and key the MACs of secrets. This or `master_key_file`.
    #[serde(default)]
    pub master_key: Option<SecretString>,
    /// A file with the same text, readable by its owner only.
    #[serde(default)]
    pub master_key_file: Option<PathBuf>,
    /// Master keys that are only opened with: previous ones, or the next one before it is everywhere.
    #[serde(default)]
    pub readable_master_keys: Vec<SecretString>,
    /// Files with such keys, readable by their owner only.
    #[serde(default)]
    pub readable_master_key_files: Vec<PathBuf>,
    /// Algorithm of new signing keys.
    #[serde(default = "signing_algorithm_default", deserialize_with = "algorithm")]
    pub signing_algorithm: Algorithm,
    /// Life of a client's access token unless the client has its own, seconds.
    #[serde(default = "client_token_ttl_s_default")]
    pub client_token_ttl_s: i64,
    /// Life of a one-time user token unless the caller asks for another, seconds.
    #[serde(default = "user_token_ttl_s_default")]
    pub user_token_ttl_s: i64,
    /// Whether a DPoP proof must carry this server's nonce (RFC 9449 §8). A proof's `jti` counts once either way.
    #[serde(default)]
    pub dpop_nonce_required: bool,
    /// How long others may cache the JWKS, seconds; a new key is published at least this long before its use.
    #[serde(default = "jwks_max_age_s_default")]
    pub jwks_max_age_s: i64,
    /// Age at which a signing key is replaced, seconds.
    #[serde(default = "key_rotation_s_default")]
    pub key_rotation_s: i64,
    /// Operations that user tokens may be issued for, for partners without a list of their own.
    #[serde(default = "operations_default")]
    pub operations: Vec<AllowedOperation>,
}

/// Shortest life of a one-time user token, seconds.
pub const USER_TOKEN_TTL_S_MIN: i64 = 30;
/// Longest life of a one-time user token, seconds.
pub const USER_TOKEN_TTL_S_MAX: i64 = 900;
/// Longest life of any access token, seconds.
pub const ACCESS_TOKEN_TTL_S_MAX: i64 = 3600;

fn algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(|_| D::Error::custom("not the JWA name of an algorithm"))
}

fn listen_default() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 8080))]
}

fn ops_listen_default() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 9080))]
}

fn signing_algorithm_default() -> Algorithm {
    Algorithm::Es256
}

fn client_token_ttl_s_default() -> i64 {
    600
}

fn user_token_ttl_s_default() -> i64 {
    300
}

fn jwks_max_age_s_default() -> i64 {
    300
}

fn key_rotation_s_default() -> i64 {
    30 * 24 * 3600
}

/// The money-moving calls of the resource API, in its own paths and in PTI's.
pub fn operations_default() -> Vec<AllowedOperation> {
    [
        ("/v1/fiat-ins", "fiat_ins:execute"),
        ("/v1/transfers", "transfers:execute"),
        ("/users/{userId}/wallets/fiat/{walletId}/funding", "fiat_ins:execute"),
    ]
    .map(|(path, scope)| AllowedOperation { method: "POST".into(), path: path.into(), scope: scope.into() })
    .into()
}

impl Config {
    /// A configuration with every default, for tests and `dev`.
    pub fn new(
        issuer: Origin,
        resource_api: Origin,
        database_url: SecretString,
        master_key: SecretString,
    ) -> Self {
        Self {
            issuer,
            resource_api,
            database_url,
            master_key: Some(master_key),
            public_origins: Vec::new(),
            operation_origins: Vec::new(),
            listen: listen_default(),
            ops_listen: ops_listen_default(),
            listener: ListenerConfig::default(),
            master_key_file: None,
            readable_master_keys: Vec::new(),
            readable_master_key_files: Vec::new(),
            signing_algorithm: signing_algorithm_default(),
            client_token_ttl_s: client_token_ttl_s_default(),
            user_token_ttl_s: user_token_ttl_s_default(),
            dpop_nonce_required: false,
            jwks_max_age_s: jwks_max_age_s_default(),
            key_rotation_s: key_rotation_s_default(),
            operations: operations_default(),
        }
    }

    /// Every origin that the public listener answers for.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        with(&self.issuer, &self.public_origins)
    }

    /// Every origin that a user token's URL may have, as text.
    pub(crate) fn operation_origins(&self) -> Vec<String> {
        with(&self.resource_api, &self.operation_origins).iter().map(ToString::to_string).collect()
    }
}

fn with(first: &Origin, more: &[Origin]) -> Vec<Origin> {
    let others = more.iter().filter(|origin| *origin != first);
    std::iter::once(first).chain(others).cloned().collect()
}

impl Checked for Config {
    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |holds: bool, text: &str| {
            if !holds {
                found.push(text.to_owned());
            }
        };
        check(
            self.master_key.is_some() != self.master_key_file.is_some(),
            "master_key, master_key_file: set exactly one of them",
        );
        check(self.issuer != self.resource_api, "resource_api: must not be the issuer");
        check(
            (30..=ACCESS_TOKEN_TTL_S_MAX).contains(&self.client_token_ttl_s),
            "client_token_ttl_s: 30 to 3600",
        );
        check(
            (USER_TOKEN_TTL_S_MIN..=USER_TOKEN_TTL_S_MAX).contains(&self.user_token_ttl_s),
            "user_token_ttl_s: 30 to 900",
        );
        check((JWKS_MAX_AGE_S_MIN..=86_400).contains(&self.jwks_max_age_s), "jwks_max_age_s: 10 to 86400");
        check(self.key_rotation_s >= 3600, "key_rotation_s: at least 3600");
        check(
            !matches!(self.signing_algorithm, Algorithm::Rs512),
            "signing_algorithm: ES256, EdDSA, PS256 or RS256",
        );
        for operation in &self.operations {
            if let Some(problem) = operation.problem() {
                found.push(format!("operations: {} {}: {problem}", operation.method, operation.path));
            }
            if !operation.scope.parse().is_ok_and(|scope| unknown_scopes(&scope).is_empty()) {
                found.push(format!("operations: {}: there is no scope of this name", operation.scope));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let origin = |text: &str| text.parse::<Origin>().unwrap();
        Config::new(
            origin("http://localhost:8080"),
            origin("http://localhost:8081"),
            "sqlite:test.db".to_owned().into(),
            "key".to_owned().into(),
        )
    }

    #[test]
    fn the_defaults_have_no_problem() {
        assert_eq!(config().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut broken = config();
        broken.master_key_file = Some("key".into());
        broken.resource_api = broken.issuer.clone();
        broken.client_token_ttl_s = 1;
        broken.user_token_ttl_s = 901;
        broken.jwks_max_age_s = 1;
        broken.key_rotation_s = 1;
        broken.signing_algorithm = Algorithm::Rs512;
        broken.operations =
            vec![AllowedOperation { method: "post".into(), path: "/x".into(), scope: "nope".into() }];
        assert_eq!(broken.problems().len(), 9);
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", config()).contains("test.db"));
    }
}
