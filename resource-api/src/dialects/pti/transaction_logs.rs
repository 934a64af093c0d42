//! `/users/{userId}/transactionLogs` of the `pti` dialect: transactions that are judged by monitoring and recorded.
//!
//! The list also has the fiat-ins of the user: each was judged. Payment information in a body is read over; no digit of
//! a card gets as far as the hash by which a repeat is known.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chassis::http::{BadInput, StrictJson, TargetUri};
use guard::Caller;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asking::Asking;
use super::funding::money;
use super::{ObjectReference, PtiRefusal, words};
use crate::app::App;
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::transaction_log::TransactionKind;
use crate::operations::fiat_ins::payment::reference;
use crate::operations::transaction_logs::{self, Judged, LogAsk, MORE_NEEDED};
use crate::operations::{Failure, customers};

/// The most entries that a list holds.
const LOGS_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read))
}

/// A transaction as the vendor writes it. Members that monitoring has no use for are read over.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransactionBody {
    /// `FUNDING`, `WITHDRAWAL` or `TRANSFER`.
    #[serde(rename = "type")]
    kind: String,
    /// The partner's own id of the transaction; or it stands in `x-pti-request-id`.
    #[serde(default)]
    id: Option<String>,
    /// A decimal number in the currency of the method.
    #[schema(value_type = f64)]
    amount: Box<RawValue>,
    /// Of a funding.
    #[serde(default)]
    source_method: Option<Method>,
    /// Of a withdrawal.
    #[serde(default)]
    destination_method: Option<Method>,
    /// Of a transfer.
    #[serde(default)]
    transfer_method: Option<Method>,
}

/// What is paid with. Only its currency counts here.
#[derive(Deserialize, ToSchema)]
struct Method {
    /// ISO 4217.
    #[serde(default)]
    currency: Option<String>,
}

impl TransactionBody {
    fn kind(&self) -> Result<TransactionKind, Refusal> {
        let word = self.kind.to_ascii_lowercase().replace('_', "");
        match word.strip_suffix("transaction").unwrap_or(&word) {
            "funding" | "deposit" => Ok(TransactionKind::Funding),
            "withdrawal" => Ok(TransactionKind::Withdrawal),
            "transfer" => Ok(TransactionKind::Transfer),
            _ => {
                let detail = "a transaction is a FUNDING, a WITHDRAWAL or a TRANSFER";
                Err(Refusal::unprocessable("kind_unknown", "/type", detail))
            }
        }
    }

    fn money(&self, kind: TransactionKind) -> Result<Money, Refusal> {
        let (method, pointer) = match kind {
            TransactionKind::Funding => (&self.source_method, "/sourceMethod/currency"),
            TransactionKind::Withdrawal => (&self.destination_method, "/destinationMethod/currency"),
            TransactionKind::Transfer => (&self.transfer_method, "/transferMethod/currency"),
        };
        let currency = method.as_ref().and_then(|method| method.currency.as_deref());
        let currency = currency.ok_or_else(|| {
            Refusal::unprocessable("currency_required", pointer, "only currencies are judged")
        })?;
        money(self.amount.get(), currency, pointer)
    }
}

/// Logs a transaction and has it judged. The same request again gets the same answer. It moves no money itself, but what
/// is judged here was or will be moved elsewhere: on old news about clients and users nothing is judged.
#[utoipa::path(
    post, operation_id = "pti_transaction_logs_create", path = "/users/{userId}/transactionLogs", tag = "pti",
    params(("userId" = String, Path)), request_body = TransactionBody,
    responses(
        (status = 201, description = "Logged: `id`, `link`, `status` `ACCEPTED`, `MANUAL_REVIEW` or `REFUSED`."),
        (status = 400, description = "A field is missing or refused."),
        (status = 403, description = "The user is not active."),
        (status = 404, description = "No such user."),
        (status = 406, description = "More has to be known of the user: `fields`, and the `url` to send them to. Nothing was logged."),
        (status = 409, description = "Another transaction has this id."),
    ),
    extensions(
        ("x-scopes" = json!(["fiat_ins:execute"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn create(
    State(app): State<App>,
    asking: Asking,
    Path(user_id): Path<String>,
    StrictJson { raw, .. }: StrictJson<Value, PtiRefusal>,
) -> Result<Response, PtiRefusal> {
    let bad = BadInput::new("malformed_request", "The body is not a transaction.");
    let body: TransactionBody = serde_json::from_slice(&raw).map_err(|_| bad)?;
    let kind = body.kind()?;
    let money = body.money(kind)?;
    let client_reference = reference(&asking.id(body.id.clone())?, "/id")?;
    let user = customers::find_by_external_id(&app, asking.unnamed.caller(), &user_id).await?;
    let hashed = json!([kind.as_str(), money.amount, money.currency.code()]).to_string();
    let attempt = asking.unnamed.named(&client_reference).over(&app, hashed.as_bytes());
    let ask = LogAsk { customer_id: user.customer_id.clone(), kind, money, client_reference };
    let base = format!("{}/users/{}", asking.target.origin, user.external_id);
    let answer = match transaction_logs::log(&app, attempt, ask).await {
        Err(Failure::Refused(refusal)) if refusal.code == MORE_NEEDED => {
            return Err(PtiRefusal::more_needed(&refusal, base));
        }
        answer => answer?,
    };
    let told: Value =
        serde_json::from_str(&answer.body).map_err(chassis::while_doing("read a stored answer"))?;
    let text = |member: &str| told[member].as_str().unwrap_or_default();
    let mut reply = json!({
        "id": text("client_reference"),
        "link": format!("{base}/transactionLogs/{}", text("id")),
        "status": words::log(text("outcome")),
    });
    if let Some(code) = told["reason_code"].as_str() {
        reply["reason"] = words::reason(code).into();
    }
    Ok((StatusCode::CREATED, Json(reply)).into_response())
}

/// Lists what was judged of a user, newest first, at most 1,000.
#[utoipa::path(
    get, operation_id = "pti_transaction_logs_list", path = "/users/{userId}/transactionLogs", tag = "pti",
    params(("userId" = String, Path)),
    responses(
        (status = 200, description = "References.", body = Vec<ObjectReference>),
        (status = 404, description = "No such user."),
    ),
    extensions(
        ("x-scopes" = json!(["fiat_ins:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
    Path(user_id): Path<String>,
) -> Result<Json<Vec<ObjectReference>>, PtiRefusal> {
    let user = customers::find_by_external_id(&app, &caller, &user_id).await?;
    let found = transaction_logs::list(&app, &user, LOGS_MAX).await?;
    let base = format!("{}/users/{}/transactionLogs", target.origin, user.external_id);
    let reference = |judged: &Judged| ObjectReference {
        id: judged.client_reference().to_owned(),
        link: format!("{base}/{}", judged.id()),
    };
    Ok(Json(found.iter().map(reference).collect()))
}

/// An entry of the log.
#[derive(Serialize)]
struct TransactionView<'a> {
    #[serde(rename = "type")]
    kind: String,
    id: &'a str,
    status: &'static str,
    amount: Box<RawValue>,
    currency: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    date: String,
}

/// Reads an entry, by the id in its link or by the partner's own.
#[utoipa::path(
    get, operation_id = "pti_transaction_logs_read", path = "/users/{userId}/transactionLogs/{transactionLogId}",
    tag = "pti", params(("userId" = String, Path), ("transactionLogId" = String, Path)),
    responses(
        (status = 200, description = "`type`, `id`, `status`, `amount`, `currency`, `reason`, `date`."),
        (status = 404, description = "No such user or entry."),
    ),
    extensions(
        ("x-scopes" = json!(["fiat_ins:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path((user_id, id)): Path<(String, String)>,
) -> Result<Response, PtiRefusal> {
    let user = customers::find_by_external_id(&app, &caller, &user_id).await?;
    let found = transaction_logs::find(&app, &user, &id).await?;
    let (kind, outcome, reason, money, at) = match &found {
        Judged::Log(log) => (log.kind, log.outcome, &log.reason_code, log.money, log.created_at),
        Judged::Order(order) => {
            let funding = TransactionKind::Funding;
            (funding, order.decision, &order.state_reason, order.money, order.created_at)
        }
    };
    let amount = RawValue::from_string(words::decimal(money.amount, money.currency.exponent()));
    let view = TransactionView {
        kind: kind.as_str().to_ascii_uppercase(),
        id: found.client_reference(),
        status: words::log(outcome.as_str()),
        amount: amount.map_err(chassis::while_doing("write an amount"))?,
        currency: money.currency.code(),
        reason: reason.as_deref().map(words::reason),
        date: chassis::outbox::rfc3339(at),
    };
    Ok(Json(view).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> TransactionBody {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_kind_has_its_currency_in_its_own_method() {
        let cases = [
            (
                r#"{"type":"FUNDING","amount":20.5,"sourceMethod":{"currency":"eur"}}"#,
                TransactionKind::Funding,
            ),
            (
                r#"{"type":"withdrawalTransaction","amount":20.5,"destinationMethod":{"currency":"EUR"}}"#,
                TransactionKind::Withdrawal,
            ),
            (
                r#"{"type":"TRANSFER","amount":20.5,"transferMethod":{"currency":"EUR"}}"#,
                TransactionKind::Transfer,
            ),
        ];
        for (text, kind) in cases {
            let body = body(text);
            assert_eq!(body.kind().unwrap(), kind);
            assert_eq!(body.money(kind).unwrap().amount, 2_050);
        }
        let mixed = body(r#"{"type":"TRANSFER","amount":1,"sourceMethod":{"currency":"EUR"}}"#);
        assert_eq!(mixed.money(TransactionKind::Transfer).unwrap_err().code, "currency_required");
        let token = body(r#"{"type":"FUNDING","amount":1,"sourceMethod":{"tokenType":"BTC"}}"#);
        assert_eq!(token.money(TransactionKind::Funding).unwrap_err().code, "currency_required");
        assert_eq!(body(r#"{"type":"GIFT","amount":1}"#).kind().unwrap_err().code, "kind_unknown");
    }
}
