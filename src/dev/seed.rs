//! The partners and clients that `dev` starts with, and the secrets drawn for them at the first start.
//!
//! A client is listed with those of its grants that exist in this build; clients of dialects to come arrive with
//! them.

use anyhow::Context;
use authz::apply::{Applied, ClientFile, PartnerFile, PlatformFile};
use authz::domain::client::{AuthMethod, GrantType, Profile};
use authz::domain::partner::Dialect;
use chassis::{Platform, entropy};
use keys::token::{Scope, scopes};
use keys::{Algorithm, SigningKey};
use secrecy::SecretString;
use serde_json::Value;

use super::authority::Authority;
use super::credentials::{Client, Credentials, Partner};

/// RSA keys of the vendor's clients, bits.
const RSA_BITS: usize = 2048;

/// Endings of scopes that a backend does not get: acts that a second person or client may have to do.
const SECOND_PERSON: &[&str] = &[":decide", ":approve", ":adjust", ":sign"];

/// How a seeded client authenticates and signs.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    SecretBasic,
    /// ES256 assertions.
    PrivateKeyJwt,
    /// ES256 assertions, and every request signed with an Ed25519 key.
    Signed,
    /// An RSA key that signs every request in PTI's way.
    Pti,
    /// A certificate of dev's own authority, to which its tokens are bound. Only where `dev` speaks https.
    Certificate,
    Public,
}

struct Seed {
    partner: &'static str,
    alias: &'static str,
    kind: Kind,
    scope: String,
    from_shop: bool,
    /// Whether it gets tokens as itself. The others wait for their grants.
    client_credentials: bool,
}

fn seeds() -> Vec<Seed> {
    let backend = backend_scope();
    let signed = format!("{backend} user_tokens:write");
    let user = "fiat_ins:execute fiat_ins:read customers:read entities:read kyc:read transfers:execute transfers:read";
    let seed = |partner, alias, kind, scope: &str| Seed {
        partner,
        alias,
        kind,
        scope: scope.to_owned(),
        from_shop: matches!(alias, "acme-signed" | "acme-backend" | "acme-spa" | "pti-backend"),
        client_credentials: !matches!(
            alias,
            "acme-web" | "acme-app" | "acme-spa" | "acme-fapi" | "pti-backend"
        ),
    };
    vec![
        seed("acme", "acme-backend", Kind::SecretBasic, &backend),
        seed("acme", "acme-reviewer", Kind::SecretBasic, "reviews:read reviews:decide charges:decide"),
        seed("acme", "acme-signed", Kind::Signed, &signed),
        seed("acme", "acme-web", Kind::SecretBasic, user),
        seed("acme", "acme-app", Kind::Public, user),
        seed("acme", "acme-spa", Kind::Public, user),
        seed("acme", "acme-fapi", Kind::PrivateKeyJwt, user),
        seed("acme", "acme-mtls", Kind::Certificate, "customers:read customers:write users:read users:write"),
        seed("pti", "pti-backend", Kind::Pti, &signed),
        seed("platform", "resource-api", Kind::PrivateKeyJwt, "directory:read users:read users:write"),
        seed(
            "platform",
            "admin-cli",
            Kind::SecretBasic,
            "platform:admin partners:write clients:read clients:write users:read users:write audit:read",
        ),
    ]
}

/// Everything of the payments API but acts of a second person, and the users of the own partner.
fn backend_scope() -> String {
    let allowed = |name: &&str| !SECOND_PERSON.iter().any(|ending| name.ends_with(ending));
    let names = scopes::RESOURCE_API.iter().map(|scope| scope.name).filter(allowed);
    names.chain(["users:read", "users:write"]).collect::<Vec<_>>().join(" ")
}

/// The clients with their secrets: those of the earlier start, or fresh ones. `client_id` is empty until applied.
/// Clients with certificates are there when there is an authority to sign them.
pub(crate) fn clients(
    earlier: Option<&Credentials>,
    authority: Option<&Authority>,
    platform: &Platform,
) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for seed in seeds() {
        let mut client = client(&seed, earlier, platform)?;
        if seed.kind == Kind::Certificate {
            let Some(authority) = authority else { continue };
            let files = authority.sign_client(seed.alias, platform)?;
            client.certificate_file = Some(files.certificate_file.display().to_string());
            client.key_file = Some(files.key_file.display().to_string());
        }
        clients.push(client);
    }
    Ok(clients)
}

fn client(seed: &Seed, earlier: Option<&Credentials>, platform: &Platform) -> anyhow::Result<Client> {
    let known = earlier.and_then(|file| file.client(seed.alias).ok());
    let mut client = Client {
        alias: seed.alias.to_owned(),
        partner: seed.partner.to_owned(),
        client_id: String::new(),
        client_secret: None,
        token_endpoint_auth_method: method(seed.kind).as_str().to_owned(),
        scope: seed.scope.parse::<Scope>()?.to_string(),
        grant_types: grants(seed).iter().map(|grant| grant.as_str().to_owned()).collect(),
        redirect_uris: Vec::new(),
        private_jwk: None,
        signature_jwk: None,
        certificate_file: None,
        key_file: None,
    };
    if let Some(known) = known {
        client.client_secret.clone_from(&known.client_secret);
        client.private_jwk.clone_from(&known.private_jwk);
        client.signature_jwk.clone_from(&known.signature_jwk);
        return Ok(client);
    }
    match seed.kind {
        Kind::SecretBasic => client.client_secret = Some(entropy::secret_b64(&*platform.entropy)),
        Kind::PrivateKeyJwt => client.private_jwk = Some(es256(platform)?),
        Kind::Signed => {
            client.private_jwk = Some(es256(platform)?);
            let key = SigningKey::ed25519_from_seed(platform.random()).context("an Ed25519 key")?;
            client.signature_jwk = Some(key.to_private_jwk()?);
        }
        Kind::Pti => {
            let key = SigningKey::generate_rsa(RSA_BITS).context("an RSA key")?.with_alg(Algorithm::Rs512)?;
            client.private_jwk = Some(key.to_private_jwk()?);
        }
        Kind::Public | Kind::Certificate => {}
    }
    Ok(client)
}

fn es256(platform: &Platform) -> anyhow::Result<Value> {
    Ok(SigningKey::es256_from_seed(platform.random()).context("a P-256 key")?.to_private_jwk()?)
}

fn method(kind: Kind) -> AuthMethod {
    match kind {
        Kind::SecretBasic => AuthMethod::ClientSecretBasic,
        Kind::PrivateKeyJwt | Kind::Signed => AuthMethod::PrivateKeyJwt,
        Kind::Certificate => AuthMethod::TlsClientAuth,
        // PTI's clients sign every request and never use the token endpoint.
        Kind::Public | Kind::Pti => AuthMethod::None,
    }
}

fn grants(seed: &Seed) -> &'static [GrantType] {
    if seed.client_credentials { &[GrantType::ClientCredentials] } else { &[] }
}

/// What `authz` is to hold for these clients, with browsers allowed from `shop`.
pub(crate) fn platform_file(clients: &[Client], shop: &str) -> anyhow::Result<PlatformFile> {
    let mut file = PlatformFile::default();
    for seed in seeds() {
        let Some(client) = clients.iter().find(|client| client.alias == seed.alias) else { continue };
        let entry = client_file(&seed, client, shop)?;
        if let Some(partner) = file.partners.iter_mut().find(|partner| partner.alias == seed.partner) {
            partner.clients.push(entry);
            continue;
        }
        let mut partner = PartnerFile::new(seed.partner);
        partner.platform = seed.partner == "platform";
        partner.dialects = if seed.partner == "pti" { vec![Dialect::Pti] } else { Vec::new() };
        partner.clients.push(entry);
        file.partners.push(partner);
    }
    Ok(file)
}

fn client_file(seed: &Seed, client: &Client, shop: &str) -> anyhow::Result<ClientFile> {
    let mut file = ClientFile::new(seed.alias, method(seed.kind), seed.scope.parse()?);
    file.grant_types = grants(seed).to_vec();
    file.secret = client.client_secret.clone().map(SecretString::from);
    file.allowed_origins = if seed.from_shop { vec![shop.to_owned()] } else { Vec::new() };
    let public = |jwk: &Option<Value>| -> anyhow::Result<Vec<Value>> {
        let Some(jwk) = jwk else { return Ok(Vec::new()) };
        Ok(vec![SigningKey::from_private_jwk(jwk)?.public_jwk().to_value()])
    };
    file.assertion_keys = public(&client.private_jwk)?;
    file.signature_keys = public(&client.signature_jwk)?;
    match seed.kind {
        Kind::Signed => file.profile = Profile::HttpSig,
        Kind::Pti => {
            file.profile = Profile::PtiJws;
            file.signature_keys = std::mem::take(&mut file.assertion_keys);
        }
        Kind::Certificate => {
            file.tls_client_auth_subject_dn = Some(format!("CN={}", seed.alias));
            file.tls_client_certificate_bound_access_tokens = true;
        }
        Kind::SecretBasic | Kind::PrivateKeyJwt | Kind::Public => {}
    }
    Ok(file)
}

/// Fills in the ids that applying gave, and lists the partners.
pub(crate) fn with_ids(clients: &mut [Client], applied: &Applied) -> anyhow::Result<Vec<Partner>> {
    for client in clients {
        let known = applied.client(&client.partner, &client.alias).context("an applied client")?;
        client.client_id.clone_from(&known.id);
    }
    Ok(applied
        .partners
        .iter()
        .map(|known| Partner { id: known.id.clone(), alias: known.alias.clone() })
        .collect())
}
