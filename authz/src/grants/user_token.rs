//! One-time user tokens: a grant for one operation of one registered user, handed to an untrusted device.

use std::sync::Arc;

use chassis::{Fault, while_doing};
use keys::{
    dpop::is_thumbprint,
    token::{AccessToken, Money, OperationGrant, Scope, TokenKind},
};

use crate::{
    app::{App, AuthenticatedClient},
    config::{USER_TOKEN_TTL_S_MAX, USER_TOKEN_TTL_S_MIN},
    domain::{
        Status,
        operation::{AllowedOperation, BadOperationUri, OperationUri},
        subject::Subject,
    },
    store::subjects,
};

/// How the caller names the user.
#[derive(Debug, Clone)]
pub enum Whom {
    /// By the partner's own id.
    ExternalId(String),
    /// By our id.
    Sub(String),
    /// By the `{userId}` in the URL's path, as one vendor does.
    InPath,
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whose token.
    pub whom: Whom,
    /// The HTTP method; `None` is the one that is allowed for the path.
    pub method: Option<String>,
    /// The URL of the operation.
    pub url: String,
    /// The amount it must have.
    pub money: Option<Money>,
    /// The account it must be about.
    pub entity_id: Option<String>,
    /// The thumbprint of the one key whose holder may use it (RFC 9449 §6).
    pub dpop_jkt: Option<String>,
    /// Life, seconds; `None` is the service's default.
    pub expires_in: Option<i64>,
}

/// What it gets.
#[derive(Debug)]
pub struct Granted {
    /// The signed token.
    pub access_token: String,
    /// The token as issued.
    pub token: AccessToken,
    /// Its life, seconds.
    pub expires_in: i64,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The URL cannot name an operation.
    #[error("the URL is refused: {0}")]
    Url(#[from] BadOperationUri),
    /// Method and path are not on the allow-list.
    #[error("no user token is issued for this operation")]
    NotAvailable,
    /// The client's policy lacks the operation's scope.
    #[error("the client may not do this itself")]
    ScopeNotGranted,
    /// Amount and currency are not a positive sum of a known currency.
    #[error("the amount must be positive and the currency known")]
    Money,
    /// The entity's id is malformed.
    #[error("not an entity's id")]
    EntityId,
    /// The thumbprint is none.
    #[error("dpop_jkt is the base64url SHA-256 thumbprint of a key")]
    DpopKey,
    /// Every token of the client must be bound to a key.
    #[error("the client's tokens must be bound to a key")]
    DpopKeyRequired,
    /// The life is out of range.
    #[error("a life of 30 to 900 seconds")]
    ExpiresIn,
    /// Nobody is registered under this id.
    #[error("no such user")]
    UnknownUser,
    /// The user is disabled.
    #[error("the user is disabled")]
    UserDisabled,
    /// The path names another user.
    #[error("the path names another user")]
    OtherUser,
    /// The store or a key failed.
    #[error(transparent)]
    Internal(#[from] Fault),
}

/// Issues a one-time token (`operation+jwt`) for an allow-listed operation of a registered, active user.
///
/// # Errors
/// [`Refusal`]; nothing is stored either way.
pub async fn issue(app: &App, who: &AuthenticatedClient, ask: Ask) -> Result<Granted, Refusal> {
    let uri = OperationUri::parse(&ask.url, &app.operation_origins)?;
    let expires_in = ask.expires_in.unwrap_or(app.config.user_token_ttl_s);
    if !(USER_TOKEN_TTL_S_MIN..=USER_TOKEN_TTL_S_MAX).contains(&expires_in) {
        return Err(Refusal::ExpiresIn);
    }
    if ask.money.as_ref().is_some_and(|money| !is_payable(money)) {
        return Err(Refusal::Money);
    }
    if ask.entity_id.as_deref().is_some_and(|id| !is_entity_id(id)) {
        return Err(Refusal::EntityId);
    }
    if ask.dpop_jkt.as_deref().is_some_and(|jkt| !is_thumbprint(jkt)) {
        return Err(Refusal::DpopKey);
    }
    if ask.dpop_jkt.is_none() && who.client.settings.dpop_required {
        return Err(Refusal::DpopKeyRequired);
    }
    let allowed = allow_list(app, who);
    let (operation, user_in_path) = allowed_operation(&allowed, ask.method.as_deref(), uri.path())?;
    if !who.client.settings.scope.scope().contains(&operation.scope) {
        return Err(Refusal::ScopeNotGranted);
    }
    let subject = find_user(app, who, &ask.whom, user_in_path.as_deref()).await?;
    let now = app.platform.now();
    let token = AccessToken {
        iss: app.audiences.issuer().to_owned(),
        aud: app.audiences.resource_api().to_owned(),
        sub: subject.sub,
        client_id: who.client.id.clone(),
        jti: app.platform.new_id("otk"),
        partner_id: who.partner.id.clone(),
        iat: now,
        exp: now.plus(expires_in),
        kind: TokenKind::OneTime,
        scope: Scope::default(),
        sid: None,
        act: None,
        cnf_jkt: ask.dpop_jkt,
        cnf_x5t: None,
        operation: Some(OperationGrant {
            method: operation.method.clone(),
            uri: uri.as_str().to_owned(),
            money: ask.money,
            entity_id: ask.entity_id,
        }),
        process_id: None,
        roles: Vec::new(),
        acr: None,
        auth_time: None,
        external_id: Some(subject.external_id),
    };
    let access_token = token.sign(&app.keys.active()).map_err(while_doing("sign user token"))?;
    app.issued(&token);
    Ok(Granted { access_token, token, expires_in })
}

/// The partner's own list, or the configured one.
fn allow_list(app: &App, who: &AuthenticatedClient) -> Arc<[AllowedOperation]> {
    let own = app.registry.snapshot().operations(&who.partner.id);
    own.unwrap_or_else(|| app.config.operations.clone().into())
}

/// The entry that allows `method` on `path`, and the user whom the path names. Without a method, exactly one entry
/// must match.
fn allowed_operation<'l>(
    list: &'l [AllowedOperation],
    method: Option<&str>,
    path: &str,
) -> Result<(&'l AllowedOperation, Option<String>), Refusal> {
    let mut matching = list
        .iter()
        .filter(|entry| method.is_none_or(|method| entry.method == method))
        .filter_map(|entry| entry.parameters(path).map(|parameters| (entry, parameters)));
    let (entry, parameters) = matching.next().ok_or(Refusal::NotAvailable)?;
    if method.is_none() && matching.any(|(other, _)| other.method != entry.method) {
        return Err(Refusal::NotAvailable);
    }
    let user = parameters.iter().find(|(name, _)| *name == "userId").map(|(_, value)| (*value).to_owned());
    Ok((entry, user))
}

/// The user, registered and active, and the same as the one in the path.
async fn find_user(
    app: &App,
    who: &AuthenticatedClient,
    whom: &Whom,
    user_in_path: Option<&str>,
) -> Result<Subject, Refusal> {
    let partner_id = who.partner.id.clone();
    let (sub, external_id) = match whom {
        Whom::Sub(sub) => (Some(sub.clone()), None),
        Whom::ExternalId(id) => (None, Some(id.clone())),
        Whom::InPath => (None, Some(user_in_path.ok_or(Refusal::NotAvailable)?.to_owned())),
    };
    let found = app.db.read(move |tx| {
        Box::pin(async move {
            match (&sub, &external_id) {
                (Some(sub), _) => subjects::find_subject(tx, &partner_id, sub).await,
                (None, Some(id)) => subjects::find_registered(tx, &partner_id, id).await,
                (None, None) => Ok(None),
            }
        })
    });
    let subject = found.await?.ok_or(Refusal::UnknownUser)?;
    if subject.status != Status::Active {
        return Err(Refusal::UserDisabled);
    }
    if user_in_path.is_some_and(|user| user != subject.external_id) {
        return Err(Refusal::OtherUser);
    }
    Ok(subject)
}

fn is_payable(money: &Money) -> bool {
    (1..1 << 53).contains(&money.amount) && iso_currency::Currency::from_code(&money.currency).is_some()
}

fn is_entity_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::operations_default;

    #[test]
    fn only_listed_operations_are_available() {
        let list = operations_default();
        let found = |method: Option<&str>, path: &str| {
            allowed_operation(&list, method, path).ok().map(|(entry, user)| (entry.scope.clone(), user))
        };
        let fiat_in = Some(("fiat_ins:execute".to_owned(), None));
        assert_eq!(found(Some("POST"), "/v1/fiat-ins"), fiat_in);
        assert_eq!(found(None, "/v1/fiat-ins"), fiat_in);
        let funding = found(None, "/users/u-1/wallets/fiat/w/funding");
        assert_eq!(funding, Some(("fiat_ins:execute".to_owned(), Some("u-1".to_owned()))));
        for (method, path) in
            [(Some("GET"), "/v1/fiat-ins"), (Some("post"), "/v1/fiat-ins"), (None, "/v1/entities")]
        {
            assert_eq!(found(method, path), None, "{method:?} {path}");
        }
    }

    #[test]
    fn a_path_with_two_methods_needs_the_method() {
        let entry = |method: &str| AllowedOperation {
            method: method.into(),
            path: "/v1/things".into(),
            scope: "things:write".into(),
        };
        let list = [entry("POST"), entry("PUT")];
        assert!(allowed_operation(&list, None, "/v1/things").is_err());
        assert!(allowed_operation(&list, Some("PUT"), "/v1/things").is_ok());
    }

    #[test]
    fn sums_are_positive_and_of_a_known_currency() {
        let payable = |amount, currency: &str| is_payable(&Money { amount, currency: currency.into() });
        assert!(payable(1, "EUR") && payable(1_000, "JPY"));
        for (amount, currency) in [(0, "EUR"), (-1, "EUR"), (1, "eur"), (1, "XXY"), (1, ""), (1 << 53, "EUR")]
        {
            assert!(!payable(amount, currency), "{amount} {currency}");
        }
    }
}
