//! `/v1/fiat-ins`: place an order, follow it, list them.

use axum::extract::{Path, State};
use axum::response::Response;
use chassis::claim::StoredAnswer;
use chassis::http::{Problem, StrictJson, StrictQuery};
use guard::{Caller, Presented, TokenClient};
use http::{HeaderValue, header};
use keys::UnixSeconds;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Asked, reply};
use crate::domain::card::Card;
use crate::domain::cursor;
use crate::domain::customer::is_country;
use crate::domain::fiat_in::{FiatIn, Origin};
use crate::domain::money::Money;
use crate::domain::pii::{Pii, PiiInput};
use crate::domain::refusal::{Class, Refusal};
use crate::operations::fiat_ins::payment::{Paid, by_card, by_token, reference};
use crate::operations::fiat_ins::{FiatInAsk, place, status_token};
use crate::store::fiat_ins::{FiatInFilter, find_any_fiat_in, find_fiat_in, list_fiat_ins};

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read))
}

/// An amount in minor units.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoneyBody {
    /// Minor units, at least 1.
    amount: i64,
    /// ISO 4217, upper case.
    currency: String,
}

/// A card. It is turned into a token in memory and stored nowhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CardBody {
    /// 12 to 19 digits.
    number: String,
    /// 1 to 12.
    exp_month: u8,
    /// Four digits.
    exp_year: u16,
    /// Three or four digits.
    #[serde(default)]
    cvc: Option<String>,
}

/// What pays: a gateway token or a card, one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentMethodBody {
    /// A token of the payment gateway.
    #[serde(default)]
    token: Option<String>,
    /// A card.
    #[serde(default)]
    card: Option<CardBody>,
}

/// What is known of the payer's device. Only a keyed hash of it is kept.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceBody {
    /// The partner's id of the device or session.
    #[serde(default)]
    id: Option<String>,
    /// The browser's own name.
    #[serde(default)]
    user_agent: Option<String>,
    /// Country of the payer's network address, ISO 3166-1 alpha-2.
    #[serde(default)]
    ip_country: Option<String>,
}

/// An order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FiatInBody {
    /// The wallet to credit.
    entity_id: String,
    /// How much.
    money: MoneyBody,
    /// What pays.
    payment_method: PaymentMethodBody,
    /// The partner's own id of the order, unique among its orders.
    client_reference: String,
    /// The customer; needed from a client, otherwise the token says it.
    #[serde(default)]
    customer: Option<String>,
    /// Personal data to be brought up to date with the order.
    #[serde(default)]
    pii: Option<PiiInput>,
    /// The payer's device.
    #[serde(default)]
    device: Option<DeviceBody>,
}

/// Places an order. Repeating the same request is safe: it gets the first answer.
#[utoipa::path(
    post, operation_id = "fiat_ins_create", path = "/v1/fiat-ins", tag = "fiat-in", request_body = FiatInBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Needed unless a one-time token is used.")),
    responses(
        (status = 201, description = "Settled: `completed`, `refused` or `failed`."),
        (status = 202, description = "Open: `processing` or `in_review`; follow it with the `status_token`."),
        (status = 401, description = "`invalid_token`, `token_already_used`"),
        (status = 403, description = "`operation_mismatch`, `customer_blocked`"),
        (status = 404, description = "No such wallet or customer; a one-time token stays unused."),
        (status = 409, description = "`client_reference_taken`"),
        (status = 422, description = "A value is refused; a one-time token stays unused."),
    ),
    extensions(
        ("x-scopes" = json!(["fiat_ins:execute"])),
        ("x-token-kinds" = json!(["one_time", "client", "user", "exchanged"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
    ),
)]
async fn create(
    State(app): State<App>,
    asked: Asked,
    StrictJson { value: body, raw, .. }: StrictJson<FiatInBody>,
) -> Result<Response, Problem> {
    let now = app.platform.now();
    let Paid { instrument, hashed } = paid(&app, &body.payment_method, &raw).await?;
    let ask = FiatInAsk {
        money: Money::checked(body.money.amount, &body.money.currency, "/money")?,
        client_reference: reference(&body.client_reference, "/client_reference")?,
        pii: body.pii.map(|pii| Pii::checked(&pii, "/pii", now)).transpose()?,
        device: device(&app, body.device.as_ref())?,
        entity_id: body.entity_id,
        customer: body.customer,
        instrument,
    };
    let answer = place(&app, asked.over(&app, &hashed), ask).await?;
    answered(&app, answer)
}

/// Finds out what pays. A card becomes a token before anything is hashed, logged or stored: the body is
/// recognised with number and code blanked out, by the gateway's own name of the card.
async fn paid(app: &App, method: &PaymentMethodBody, raw: &[u8]) -> Result<Paid, Problem> {
    match (&method.token, &method.card) {
        (Some(token), None) => {
            Ok(Paid { instrument: by_token(token, "/payment_method/token")?, hashed: raw.to_vec() })
        }
        (None, Some(card)) => {
            let checked = Card::new(card.number.clone(), card.cvc.clone(), card.exp_month, card.exp_year);
            let card = checked.map_err(|bad| {
                Refusal::unprocessable(
                    "invalid_card",
                    "/payment_method/card",
                    format!("the card is refused: {bad}"),
                )
            })?;
            Ok(by_card(app, &card, raw, "/payment_method/card").await?)
        }
        _ => {
            let detail = "a payment method is either a token or a card";
            Err(Refusal::unprocessable("payment_method_invalid", "/payment_method", detail).into())
        }
    }
}

/// What is kept of the device: a keyed hash and a country.
fn device(app: &App, device: Option<&DeviceBody>) -> Result<Origin, Refusal> {
    let Some(device) = device else { return Ok(Origin::default()) };
    if device.ip_country.as_deref().is_some_and(|country| !is_country(country)) {
        return Err(Refusal::unprocessable(
            "country_invalid",
            "/device/ip_country",
            "not an ISO 3166-1 alpha-2 code",
        ));
    }
    let parts = [&device.id, &device.user_agent].map(|part| part.as_deref().unwrap_or_default().as_bytes());
    let known = parts.iter().any(|part| !part.is_empty());
    Ok(Origin {
        ip_country: device.ip_country.clone(),
        device_hash: known.then(|| app.fingerprint_key.mac_b64(&parts)),
        ..Origin::default()
    })
}

/// The response of an order's stored answer: with where to look, when to look again, and the status token,
/// which is made anew each time and stored nowhere.
fn answered(app: &App, answer: StoredAnswer) -> Result<Response, Problem> {
    if answer.status >= 400 {
        return Ok(reply(answer));
    }
    let (status, mut body) = (answer.status, answer.body);
    let told: Told = serde_json::from_str(&body).map_err(|_| chassis::Fault::new("read a stored answer"))?;
    let token = status_token::issue(&app.status_token_key, &told.id, UnixSeconds(told.created_at));
    body.truncate(body.len().saturating_sub(1));
    body.push_str(",\"status_token\":\"");
    body.push_str(&token);
    body.push_str("\"}");
    let mut response = reply(StoredAnswer { status, body });
    let location = HeaderValue::try_from(format!("/v1/fiat-ins/{}", told.id));
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if status == 202 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    Ok(response)
}

/// What is read back of a stored answer.
#[derive(Deserialize)]
struct Told {
    id: String,
    created_at: i64,
}

/// Reads an order. Besides tokens it takes the `status_token` of the order's answer.
#[utoipa::path(
    get, operation_id = "fiat_ins_read", path = "/v1/fiat-ins/{id}", tag = "fiat-in", params(("id" = String, Path)),
    responses((status = 200, description = "The order."), (status = 404, description = "No such order.")),
    extensions(
        ("x-scopes" = json!(["fiat_ins:read"])),
        ("x-token-kinds" = json!(["client", "user", "one_time"])),
        ("x-idempotent" = json!(false)),
        ("x-opaque-bearer" = json!(true)),
    ),
)]
async fn read(
    State(app): State<App>,
    presented: Presented,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (order, client) = match presented {
        Presented::Caller(caller) => (read_for(&app, &caller, id).await?, None),
        Presented::Opaque(token) => {
            let order = read_by_status_token(&app, &token, id).await?;
            let client = TokenClient(order.client_id.clone());
            (order, Some(client))
        }
    };
    let body = order.body().map_err(|_| chassis::Fault::new("write the view of a fiat-in"))?;
    let mut response = reply(StoredAnswer { status: 200, body });
    if let Some(client) = client {
        response.extensions_mut().insert(client);
    }
    Ok(response)
}

async fn read_for(app: &App, caller: &Caller, id: String) -> Result<FiatIn, Problem> {
    not_late(caller)?;
    let partner_id = caller.partner_id.clone();
    let found =
        app.db.read(move |tx| Box::pin(async move { find_fiat_in(tx, &partner_id, &id).await })).await?;
    let own = |order: &FiatIn| {
        let spent = caller.one_time.as_ref().is_none_or(|token| order.token_jti.as_ref() == Some(&token.jti));
        caller.may_see(&order.sub) && spent
    };
    Ok(found.filter(own).ok_or_else(|| Refusal::not_found("fiat-in"))?)
}

/// A one-time token that has expired repeats its own request and reads nothing.
fn not_late(caller: &Caller) -> Result<(), Refusal> {
    if caller.one_time.as_ref().is_some_and(|token| token.late) {
        return Err(Refusal::new(
            Class::Unauthorized,
            "invalid_token",
            "The token has expired or was voided.",
        ));
    }
    Ok(())
}

async fn read_by_status_token(app: &App, token: &str, id: String) -> Result<FiatIn, Problem> {
    if !status_token::is_good(&app.status_token_key, token, &id, app.platform.now()) {
        return Err(
            Refusal::new(Class::Unauthorized, "invalid_token", "The token does not count here.").into()
        );
    }
    let found = app.db.read(move |tx| Box::pin(async move { find_any_fiat_in(tx, &id).await })).await?;
    Ok(found.ok_or_else(|| Refusal::not_found("fiat-in"))?)
}

/// Query of a list.
#[derive(Debug, Deserialize)]
struct ListQuery {
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Lists orders, newest first.
#[utoipa::path(
    get, operation_id = "fiat_ins_list", path = "/v1/fiat-ins", tag = "fiat-in",
    params(("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "`data`, `has_more`, `next_cursor`")),
    extensions(
        ("x-scopes" = json!(["fiat_ins:read"])),
        ("x-token-kinds" = json!(["client", "user", "one_time"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<ListQuery>,
) -> Result<axum::Json<Value>, Problem> {
    not_late(&caller)?;
    let limit = cursor::checked_limit(query.limit)?;
    let filter = FiatInFilter {
        sub: caller.own_sub().map(str::to_owned),
        token_jti: caller.one_time.as_ref().map(|token| token.jti.clone()),
    };
    let narrowed = format!("{:?}|{:?}", filter.sub, filter.token_jti);
    let scope = cursor::ListScope { partner_id: &caller.partner_id, list: "fiat-ins", filter: &narrowed };
    let after =
        query.cursor.map(|text| cursor::open(&app.cursor_key, scope, &text)).transpose()?.unwrap_or_default();
    let partner_id = caller.partner_id.clone();
    let rows = app
        .db
        .read(move |tx| {
            Box::pin(
                async move { list_fiat_ins(tx, &partner_id, &filter, &after, limit.saturating_add(1)).await },
            )
        })
        .await?;
    let page = cursor::page(rows, limit, |order| cursor::sign(&app.cursor_key, scope, &order.fiat_in_id));
    let data: Result<Vec<Value>, _> = page.data.iter().map(FiatIn::value).collect();
    let data = data.map_err(|_| chassis::Fault::new("write the view of a fiat-in"))?;
    Ok(axum::Json(
        json!({ "data": data, "has_more": page.next_cursor.is_some(), "next_cursor": page.next_cursor }),
    ))
}
