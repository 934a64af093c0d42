//! Partners and clients of every sort, applied as an operator would.

use std::sync::OnceLock;

use authz::apply::{ClientFile, PartnerFile, PlatformFile, apply as apply_file};
use authz::domain::client::{AuthMethod, Profile};
use authz::domain::partner::Dialect;
use authz::{Applied, Config};
use chassis::Platform;
use keys::token::scopes;
use keys::{Algorithm, SigningKey};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Databases, World};

/// The origin of a shop whose browsers may call the payments API.
const SHOP: &str = "http://shop.test";

/// The secrets that seal private keys.
pub(super) const AUTHZ_MASTER: [u8; 32] = [7; 32];
pub(super) const API_MASTER: [u8; 32] = [8; 32];

/// How often applying the platform file is tried again.
const APPLY_AGAIN: usize = 2;

/// RSA keys of the vendor's clients, bits.
const RSA_BITS: usize = 2048;

/// Scopes of acts that a second person or client has to do.
const SECOND_PERSON: &[&str] = &[":decide", ":approve", ":adjust", ":sign"];

/// A client as its owner knows it.
#[derive(Clone)]
pub(crate) struct Client {
    /// `partner/alias`.
    pub(crate) name: String,
    pub(crate) partner_id: String,
    pub(crate) client_id: String,
    pub(crate) secret: Option<String>,
    pub(crate) assertion_key: Option<SigningKey>,
    /// Signs requests per RFC 9421.
    pub(crate) signature_key: Option<SigningKey>,
    /// Signs requests in PTI's way.
    pub(crate) pti_key: Option<SigningKey>,
    /// All it may ask for.
    pub(crate) scope: String,
}

/// Everything of the payments API but acts of a second person, and the users of the own partner.
fn backend_scope() -> String {
    let allowed = |name: &&str| !SECOND_PERSON.iter().any(|ending| name.ends_with(ending));
    let names = scopes::RESOURCE_API.iter().map(|scope| scope.name).filter(allowed);
    names.chain(["users:read", "users:write"]).collect::<Vec<_>>().join(" ")
}

fn es256(seed: u8) -> SigningKey {
    SigningKey::es256_from_seed([seed; 32]).expect("a P-256 key")
}

fn ed25519(seed: u8) -> SigningKey {
    SigningKey::ed25519_from_seed([seed; 32]).expect("an Ed25519 key")
}

/// The vendor's RSA key: one for the whole process, because drawing one takes long.
fn rsa() -> SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let key = SigningKey::generate_rsa(RSA_BITS).expect("an RSA key");
        key.with_alg(Algorithm::Rs512).expect("an RS512 key")
    });
    key.clone()
}

/// One line of the table below.
struct Row {
    partner: &'static str,
    alias: &'static str,
    scope: String,
    assertion_key: Option<SigningKey>,
    signature_key: Option<SigningKey>,
    pti_key: Option<SigningKey>,
    signs_all: bool,
}

/// `ta` and `tb` are partners alike; `pti` speaks the vendor's dialect; `platform` runs the house.
///
/// | client | what it is |
/// |---|---|
/// | `backend` | a secret, all scopes but a second person's |
/// | `signed` | `private_key_jwt`, every request signed, issues user tokens |
/// | `reviewer` | decides reviews and nothing else |
/// | `both` | orders and decides: the one whom four eyes stop |
/// | `narrow` | issues user tokens, but may only transfer |
/// | `second` | one more backend |
fn rows() -> Vec<Row> {
    let backend = backend_scope();
    let row = |partner, alias, scope: &str| Row {
        partner,
        alias,
        scope: scope.to_owned(),
        assertion_key: None,
        signature_key: None,
        pti_key: None,
        signs_all: false,
    };
    let signed = |partner, seed| Row {
        assertion_key: Some(es256(seed)),
        signature_key: Some(ed25519(seed + 1)),
        signs_all: true,
        ..row(partner, "signed", &format!("{backend} user_tokens:write"))
    };
    let review = "reviews:read reviews:decide charges:decide";
    vec![
        row("ta", "backend", &backend),
        row("ta", "second", &backend),
        signed("ta", 11),
        row("ta", "reviewer", review),
        row("ta", "both", &format!("{backend} {review}")),
        Row {
            signature_key: Some(ed25519(13)),
            ..row("ta", "narrow", "transfers:execute entities:read user_tokens:write")
        },
        row("tb", "backend", &backend),
        signed("tb", 15),
        row("tb", "reviewer", review),
        Row { pti_key: Some(rsa()), ..row("pti", "backend", &format!("{backend} user_tokens:write")) },
        Row {
            assertion_key: Some(es256(17)),
            ..row("platform", "resource-api", "directory:read users:read users:write")
        },
        row(
            "platform",
            "admin",
            "platform:admin partners:write clients:read clients:write users:read users:write directory:read audit:read",
        ),
    ]
}

fn file_of(row: &Row) -> ClientFile {
    let public = |key: &Option<SigningKey>| -> Vec<Value> {
        key.iter().map(|key| key.public_jwk().to_value()).collect()
    };
    let method = match (&row.assertion_key, &row.pti_key) {
        (Some(_), _) => AuthMethod::PrivateKeyJwt,
        (None, Some(_)) => AuthMethod::None,
        (None, None) => AuthMethod::ClientSecretBasic,
    };
    let mut file = ClientFile::new(row.alias, method, row.scope.parse().expect("a scope"));
    file.allowed_origins = vec![SHOP.to_owned()];
    file.assertion_keys = public(&row.assertion_key);
    file.signature_keys = public(&row.signature_key);
    if row.signs_all {
        file.profile = Profile::HttpSig;
    }
    if row.pti_key.is_some() {
        file.profile = Profile::PtiJws;
        file.signature_keys = public(&row.pti_key);
    }
    file
}

fn platform_file(rows: &[Row]) -> PlatformFile {
    let mut file = PlatformFile::default();
    for row in rows {
        match file.partners.iter_mut().find(|partner| partner.alias == row.partner) {
            Some(partner) => partner.clients.push(file_of(row)),
            None => {
                let mut partner = PartnerFile::new(row.partner);
                partner.platform = row.partner == "platform";
                partner.dialects = if row.partner == "pti" { vec![Dialect::Pti] } else { Vec::new() };
                partner.clients.push(file_of(row));
                file.partners.push(partner);
            }
        }
    }
    file
}

/// Applies the platform file to the empty database and tells what the clients' owners got.
pub(super) async fn apply(
    databases: &Databases,
    platform: &Platform,
    [issuer, resource, door]: [&str; 3],
) -> (Config, Vec<Client>) {
    let origin = |text: &str| text.parse().expect("an origin");
    let mut config = Config::new(
        origin(issuer),
        origin(resource),
        SecretString::from(databases.authz.url().expose().to_owned()),
        SecretString::from(keys::b64::encode(AUTHZ_MASTER)),
    );
    config.public_origins = vec![origin(door)];
    config.operation_origins = vec![origin(door)];
    let rows = rows();
    let file = platform_file(&rows);
    let mut applied = apply_file(&config, platform, &file).await;
    // On a very busy machine it may take longer than a transaction is given; then nothing was applied.
    for _ in 0..APPLY_AGAIN {
        if applied.is_err() {
            applied = apply_file(&config, platform, &file).await;
        }
    }
    let applied = applied.expect("the platform file applies");
    let clients = rows.into_iter().map(|row| client(row, &applied)).collect();
    (config, clients)
}

fn client(row: Row, applied: &Applied) -> Client {
    let partner =
        applied.partners.iter().find(|partner| partner.alias == row.partner).expect("an applied partner");
    let made = applied.client(row.partner, row.alias).expect("an applied client");
    Client {
        name: format!("{}/{}", row.partner, row.alias),
        partner_id: partner.id.clone(),
        client_id: made.id.clone(),
        secret: made.secret.as_ref().map(|secret| secret.expose_secret().to_owned()),
        assertion_key: row.assertion_key,
        signature_key: row.signature_key,
        pti_key: row.pti_key,
        scope: row.scope,
    }
}

impl World {
    /// A client by `partner/alias`.
    pub(crate) fn client(&self, name: &str) -> &Client {
        self.clients
            .iter()
            .find(|client| client.name == name)
            .unwrap_or_else(|| panic!("there is no client {name}"))
    }
}
