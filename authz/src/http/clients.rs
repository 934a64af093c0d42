//! `/v1/clients`: a partner's clients; the platform reaches those of every partner.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chassis::http::{Problem, StrictJson, StrictQuery, conflict, forbidden, not_found, unprocessable};
use keys::token::Scope;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    app::{App, Caller},
    domain::{
        Status,
        audience::Policy,
        certificate::{CertificateMember, CertificateName},
        client::{AuthMethod, Client, ClientKey, ClientSettings, GrantType, KeyUse, Profile},
    },
    http::partners::PageQuery,
    operations::{
        clients::{self, Refusal},
        tenant,
    },
};

/// A new client.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewClient {
    /// A short name, unique within the partner: `a-z 0-9 - _`.
    alias: String,
    /// For which partner: only clients of the platform may name another than their own.
    partner_id: Option<String>,
    token_endpoint_auth_method: AuthMethod,
    /// The most it may be granted, space-separated.
    #[schema(value_type = String)]
    scope: Scope,
    #[serde(default)]
    grant_types: Vec<GrantType>,
    /// How every request of the client must be signed.
    #[serde(default = "no_profile")]
    profile: Profile,
    /// Browser origins from which its tokens may be used.
    #[serde(default)]
    allowed_origins: Vec<String>,
    /// Life of its access tokens, 30 to 3600 seconds.
    access_token_ttl_s: Option<i64>,
    /// Whether its tokens must be bound to a DPoP key (RFC 9449).
    #[serde(default)]
    dpop_required: bool,
    /// For `tls_client_auth`: the whole subject of its certificate, as in `CN=backend,O=Acme` (RFC 4514). One of the
    /// three names.
    tls_client_auth_subject_dn: Option<String>,
    /// For `tls_client_auth`: a DNS name in its certificate.
    tls_client_auth_san_dns: Option<String>,
    /// For `tls_client_auth`: a URI in its certificate.
    tls_client_auth_san_uri: Option<String>,
    /// Whether its tokens must be bound to its certificate (RFC 8705 §3).
    #[serde(default)]
    tls_client_certificate_bound_access_tokens: bool,
    /// Public JWKs for `private_key_jwt`.
    #[serde(default)]
    assertion_keys: Vec<Value>,
    /// Public JWKs for request signatures.
    #[serde(default)]
    signature_keys: Vec<Value>,
}

fn no_profile() -> Profile {
    Profile::None
}

/// A client. Its secret is in the answer that made it and in no other.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ClientBody {
    client_id: String,
    partner_id: String,
    alias: String,
    status: Status,
    token_endpoint_auth_method: AuthMethod,
    #[schema(value_type = String)]
    scope: Scope,
    grant_types: Vec<GrantType>,
    profile: Profile,
    allowed_origins: Vec<String>,
    access_token_ttl_s: Option<i64>,
    dpop_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_client_auth_subject_dn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_client_auth_san_dns: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_client_auth_san_uri: Option<String>,
    tls_client_certificate_bound_access_tokens: bool,
    assertion_keys: Vec<Value>,
    signature_keys: Vec<Value>,
    /// Unix seconds.
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

impl From<Client> for ClientBody {
    fn from(client: Client) -> Self {
        let keys = |key_use| client.keys_for(key_use).map(ClientKey::published).collect();
        let certificate = client.settings.certificate.as_ref();
        let named = |member| certificate.and_then(|name| name.text_of(member));
        Self {
            tls_client_auth_subject_dn: named(CertificateMember::SubjectDn),
            tls_client_auth_san_dns: named(CertificateMember::SanDns),
            tls_client_auth_san_uri: named(CertificateMember::SanUri),
            tls_client_certificate_bound_access_tokens: client.settings.certificate_bound,
            assertion_keys: keys(KeyUse::Assertion),
            signature_keys: keys(KeyUse::Signature),
            client_id: client.id,
            partner_id: client.partner_id,
            alias: client.settings.alias,
            status: client.status,
            token_endpoint_auth_method: client.settings.auth_method,
            scope: client.settings.scope.scope().clone(),
            grant_types: client.settings.grant_types,
            profile: client.settings.profile,
            allowed_origins: client.settings.allowed_origins,
            access_token_ttl_s: client.settings.access_token_ttl_s,
            dpop_required: client.settings.dpop_required,
            created_at: client.created_at.0,
            client_secret: None,
        }
    }
}

/// A page of clients.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ClientPage {
    data: Vec<ClientBody>,
    /// Whether there are more after the last one here.
    has_more: bool,
}

impl NewClient {
    fn settings(self) -> Result<ClientSettings, Problem> {
        let mut keys = Vec::new();
        let lists = [
            (KeyUse::Assertion, "assertion_keys", self.assertion_keys),
            (KeyUse::Signature, "signature_keys", self.signature_keys),
        ];
        for (key_use, member, list) in lists {
            for (index, jwk) in list.iter().enumerate() {
                let key = ClientKey::from_jwk(key_use, jwk).map_err(|bad| {
                    unprocessable("value_refused", bad.to_string())
                        .field(format!("/{member}/{index}"), "bad_key")
                })?;
                keys.push(key);
            }
        }
        let certificate = CertificateName::one_of([
            (CertificateMember::SubjectDn, self.tls_client_auth_subject_dn.as_deref()),
            (CertificateMember::SanDns, self.tls_client_auth_san_dns.as_deref()),
            (CertificateMember::SanUri, self.tls_client_auth_san_uri.as_deref()),
        ]);
        let certificate = certificate.map_err(|(member, bad)| {
            unprocessable("value_refused", bad.to_string()).field(format!("/{}", member.as_str()), "bad_name")
        })?;
        Ok(ClientSettings {
            alias: self.alias,
            auth_method: self.token_endpoint_auth_method,
            scope: Policy::new(self.scope),
            grant_types: self.grant_types,
            profile: self.profile,
            allowed_origins: self.allowed_origins,
            access_token_ttl_s: self.access_token_ttl_s,
            legacy_assertion_audience: false,
            dpop_required: self.dpop_required,
            certificate,
            certificate_bound: self.tls_client_certificate_bound_access_tokens,
            keys,
        })
    }
}

/// Creates a client. A secret is shown here once.
#[utoipa::path(
    post, operation_id = "clients_create",
    path = "/v1/clients",
    tag = "Clients",
    request_body = NewClient,
    responses(
        (status = 201, description = "Created", body = ClientBody),
        (status = 403, description = "`scope_not_grantable`"),
        (status = 404, description = "`not_found`: no such partner"),
        (status = 409, description = "`alias_taken`"),
        (status = 422, description = "`value_refused`"),
    ),
    extensions(
        ("x-scopes" = json!(["clients:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    StrictJson { value: new, .. }: StrictJson<NewClient>,
) -> Result<(StatusCode, Json<ClientBody>), Problem> {
    let partner_id = tenant::settle(&app, &caller, new.partner_id.as_deref())
        .map_err(|_| not_found("There is no such partner.").field("/partner_id", "not_found"))?;
    let (client, secret) = clients::create(&app, &caller, partner_id, new.settings()?).await?;
    let mut body = ClientBody::from(client);
    body.client_secret = secret.map(|secret| secret.expose_secret().to_owned());
    Ok((StatusCode::CREATED, Json(body)))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let said = refusal.to_string();
        match refusal {
            Refusal::Settings(problems) => problems
                .into_iter()
                .fold(unprocessable("value_refused", "A setting is refused."), |problem, bad| {
                    problem.field(format!("/{}", bad.member), bad.code)
                }),
            Refusal::ScopeNotGrantable => forbidden("scope_not_grantable", said),
            Refusal::AliasTaken => conflict("alias_taken", said),
            Refusal::Internal(fault) => fault.into(),
        }
    }
}

/// The partner's clients by id; for the platform those of every partner.
#[utoipa::path(
    get, operation_id = "clients_list",
    path = "/v1/clients",
    tag = "Clients",
    params(PageQuery),
    responses((status = 200, description = "A page", body = ClientPage)),
    extensions(
        ("x-scopes" = json!(["clients:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<PageQuery>,
) -> Result<Json<ClientPage>, Problem> {
    let (after, limit) = query.settle()?;
    let mut found = clients::list(&app, tenant::reach(&caller), after, limit + 1).await?;
    let has_more = i64::try_from(found.len()).is_ok_and(|found| found > limit);
    found.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(Json(ClientPage { data: found.into_iter().map(ClientBody::from).collect(), has_more }))
}

/// One client.
#[utoipa::path(
    get, operation_id = "clients_find",
    path = "/v1/clients/{client_id}",
    tag = "Clients",
    params(("client_id" = String, Path, description = "The client's id")),
    responses((status = 200, description = "The client", body = ClientBody), (status = 404, description = "`not_found`")),
    extensions(
        ("x-scopes" = json!(["clients:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn find(
    State(app): State<App>,
    caller: Caller,
    Path(client_id): Path<String>,
) -> Result<Json<ClientBody>, Problem> {
    Ok(Json(within_reach(&app, &caller, client_id).await?.into()))
}

async fn within_reach(app: &App, caller: &Caller, client_id: String) -> Result<Client, Problem> {
    let found = clients::find(app, tenant::reach(caller), client_id).await?;
    found.ok_or_else(|| not_found("There is no such client."))
}

/// Disables a client: within a second it gets no token and its tokens are refused.
#[utoipa::path(
    post, operation_id = "clients_disable",
    path = "/v1/clients/{client_id}/disable",
    tag = "Clients",
    params(("client_id" = String, Path, description = "The client's id")),
    responses((status = 200, description = "The client", body = ClientBody), (status = 404, description = "`not_found`")),
    extensions(
        ("x-scopes" = json!(["clients:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn disable(
    State(app): State<App>,
    caller: Caller,
    Path(client_id): Path<String>,
) -> Result<Json<ClientBody>, Problem> {
    set_status(&app, &caller, client_id, Status::Disabled).await
}

/// Enables a disabled client.
#[utoipa::path(
    post, operation_id = "clients_enable",
    path = "/v1/clients/{client_id}/enable",
    tag = "Clients",
    params(("client_id" = String, Path, description = "The client's id")),
    responses((status = 200, description = "The client", body = ClientBody), (status = 404, description = "`not_found`")),
    extensions(
        ("x-scopes" = json!(["clients:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn enable(
    State(app): State<App>,
    caller: Caller,
    Path(client_id): Path<String>,
) -> Result<Json<ClientBody>, Problem> {
    set_status(&app, &caller, client_id, Status::Active).await
}

async fn set_status(
    app: &App,
    caller: &Caller,
    client_id: String,
    status: Status,
) -> Result<Json<ClientBody>, Problem> {
    let mut client = within_reach(app, caller, client_id).await?;
    clients::set_status(app, caller.actor(), &client, status).await?;
    client.status = status;
    Ok(Json(client.into()))
}

/// Replaces a client's secret. The old one is void at once; the new one is shown here once.
#[utoipa::path(
    post,
    path = "/v1/clients/{client_id}/rotate-secret",
    tag = "Clients",
    params(("client_id" = String, Path, description = "The client's id")),
    responses(
        (status = 200, description = "The client with its new secret", body = ClientBody),
        (status = 404, description = "`not_found`"),
        (status = 409, description = "`no_secret`: the client authenticates in another way"),
    ),
    extensions(
        ("x-scopes" = json!(["clients:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn rotate_secret(
    State(app): State<App>,
    caller: Caller,
    Path(client_id): Path<String>,
) -> Result<Json<ClientBody>, Problem> {
    let client = within_reach(&app, &caller, client_id).await?;
    let secret = clients::rotate_secret(&app, caller.actor(), &client).await?;
    let secret =
        secret.ok_or_else(|| conflict("no_secret", "This client authenticates without a secret."))?;
    let mut body = ClientBody::from(client);
    body.client_secret = Some(secret.expose_secret().to_owned());
    Ok(Json(body))
}
