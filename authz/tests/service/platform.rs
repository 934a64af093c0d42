//! The partners and clients of every test, and the clients' own keys.

use authz::{
    PlatformFile,
    apply::{ClientFile, PartnerFile},
    domain::{
        client::{AuthMethod, Profile},
        partner::Dialect,
    },
};
use keys::SigningKey;
use serde_json::Value;

/// The clients' own keys; the same in every test.
pub(crate) fn assertion_key() -> SigningKey {
    SigningKey::es256_from_seed([11; 32]).unwrap()
}

pub(crate) fn signature_key() -> SigningKey {
    SigningKey::ed25519_from_seed([12; 32]).unwrap()
}

pub(crate) fn pti_key() -> SigningKey {
    SigningKey::ed25519_from_seed([13; 32]).unwrap()
}

fn client(alias: &str, method: AuthMethod, scope: &str) -> ClientFile {
    ClientFile::new(alias, method, scope.parse().unwrap())
}

fn public(key: &SigningKey) -> Value {
    key.public_jwk().to_value()
}

const MONEY: &str = "fiat_ins:execute fiat_ins:read transfers:execute";

/// Partners and clients of every sort.
pub(crate) fn platform_file() -> PlatformFile {
    use AuthMethod::{ClientSecretBasic, ClientSecretPost, None, PrivateKeyJwt};
    let mut platform = PartnerFile::new("platform");
    platform.platform = true;
    let mut resource_api = client("resource-api", PrivateKeyJwt, "users:write users:read directory:read");
    resource_api.assertion_keys = vec![public(&SigningKey::es256_from_seed([21; 32]).unwrap())];
    platform.clients = vec![
        resource_api,
        client(
            "admin",
            ClientSecretBasic,
            "platform:admin partners:write clients:read clients:write users:read users:write directory:read audit:read",
        ),
    ];
    let mut acme = PartnerFile::new("acme");
    let mut jwt = client("jwt", PrivateKeyJwt, MONEY);
    jwt.assertion_keys = vec![public(&assertion_key())];
    let mut legacy = client("legacy", PrivateKeyJwt, MONEY);
    legacy.assertion_keys = vec![public(&assertion_key())];
    legacy.legacy_assertion_audience = true;
    let mut issuer = client("issuer", ClientSecretBasic, &format!("{MONEY} user_tokens:write users:write"));
    issuer.signature_keys = vec![public(&signature_key())];
    let mut signed = client("signed", ClientSecretBasic, &format!("{MONEY} users:read"));
    signed.signature_keys = vec![public(&signature_key())];
    signed.profile = Profile::HttpSig;
    let mut narrow = client("narrow", ClientSecretBasic, "transfers:execute user_tokens:write");
    narrow.signature_keys = vec![public(&signature_key())];
    let mut bound =
        client("bound", ClientSecretBasic, &format!("{MONEY} user_tokens:write users:read users:write"));
    bound.signature_keys = vec![public(&signature_key())];
    bound.dpop_required = true;
    acme.clients = vec![
        client("backend", ClientSecretBasic, &format!("{MONEY} users:read users:write")),
        client("post", ClientSecretPost, MONEY),
        client("keyless", ClientSecretBasic, &format!("{MONEY} user_tokens:write")),
        client("public", None, MONEY),
        jwt,
        legacy,
        issuer,
        signed,
        narrow,
        bound,
    ];
    let mut beta = PartnerFile::new("beta");
    beta.clients = vec![client(
        "backend",
        ClientSecretBasic,
        "users:read users:write clients:read clients:write partners:write directory:read audit:read",
    )];
    let mut pti = PartnerFile::new("pti");
    pti.dialects = vec![Dialect::Pti];
    let mut backend = client("backend", None, MONEY);
    backend.profile = Profile::PtiJws;
    backend.signature_keys = vec![public(&pti_key())];
    pti.clients = vec![backend, client("users", ClientSecretBasic, "users:read users:write")];
    PlatformFile { partners: vec![platform, acme, beta, pti] }
}
