//! Refunds at the gateway: the port, and the adapter for the sandbox's interface.
//!
//! Definite are: 200 with `succeeded`, our reference and charge, and exactly the money asked for; 402 with `declined`,
//! our reference, and a code of [`DEFINITE_DECLINES`]. Everything else is unknown, also `pending`.

use axum::body::Bytes;
use chassis::fetch::FetchReply;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use keys::token::Money;
use serde::Deserialize;
use serde_json::json;

use super::http::HttpGateway;

/// One refund, as it is sent. Sent again it is the same in every member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundOrder {
    /// Our refund id: idempotency key and reference at the gateway.
    pub refund_id: String,
    /// Our id of the charge that collected the money.
    pub charge_id: String,
    /// What goes back.
    pub money: Money,
}

/// What became of a refund, as far as one call could tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundAnswer {
    /// The payer has the money, all of it.
    Succeeded {
        /// The gateway's own id of the refund.
        provider_ref: String,
    },
    /// Definitely not returned, and this refund never will be.
    Declined {
        /// The gateway's code, one of the adapter's list of definite declines.
        code: String,
        /// The gateway's own id of the refund.
        provider_ref: Option<String>,
    },
    /// Anything else. The text is for the log and holds no data of the answer.
    Unknown(&'static str),
}

/// The part of a payment gateway that gives money back.
pub trait RefundGateway: Send + Sync {
    /// Sends a refund, the first time or again.
    fn refund<'a>(&'a self, order: &'a RefundOrder) -> BoxFuture<'a, RefundAnswer>;

    /// Looks for a refund by our own id. `None`: the gateway says it does not know it, which soon after a timeout
    /// proves nothing.
    fn find_refund<'a>(&'a self, order: &'a RefundOrder) -> BoxFuture<'a, Option<RefundAnswer>>;
}

/// Codes after which the gateway will never pay this refund.
const DEFINITE_DECLINES: [&str; 5] = [
    "refund_declined",
    "charge_not_refundable",
    "charge_disputed",
    "amount_exceeds_charge",
    "instrument_closed",
];

/// Whether a refund that was declined with this code never comes back.
pub(super) fn is_definite_decline(code: &str) -> bool {
    DEFINITE_DECLINES.contains(&code)
}

#[derive(Deserialize)]
struct RefundBody {
    id: String,
    reference: String,
    charge: String,
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    decline_code: Option<String>,
}

/// Reads what a gateway said of a refund.
fn judge(reply: &FetchReply, order: &RefundOrder) -> RefundAnswer {
    let Ok(body) = serde_json::from_slice::<RefundBody>(&reply.body) else {
        return RefundAnswer::Unknown("an answer that is no refund");
    };
    if body.reference != order.refund_id || body.charge != order.charge_id {
        return RefundAnswer::Unknown("the answer is about another refund");
    }
    if body.amount != order.money.amount || body.currency != order.money.currency {
        return RefundAnswer::Unknown("the gateway speaks of another amount");
    }
    match (reply.status, body.status.as_str(), body.decline_code) {
        (StatusCode::OK, "succeeded", None) => RefundAnswer::Succeeded { provider_ref: body.id },
        (StatusCode::PAYMENT_REQUIRED, "declined", Some(code)) => {
            match DEFINITE_DECLINES.into_iter().find(|known| *known == code) {
                Some(code) => RefundAnswer::Declined { code: code.to_owned(), provider_ref: Some(body.id) },
                None => RefundAnswer::Unknown("a decline that is not known to be definite"),
            }
        }
        _ => RefundAnswer::Unknown("neither succeeded nor declined"),
    }
}

impl RefundGateway for HttpGateway {
    fn refund<'a>(&'a self, order: &'a RefundOrder) -> BoxFuture<'a, RefundAnswer> {
        let body = json!({
            "charge": order.charge_id, "amount": order.money.amount, "currency": order.money.currency,
            "reference": order.refund_id,
        });
        Box::pin(async move {
            let key = Some(order.refund_id.as_str());
            match self.call(Method::POST, "/v1/refunds", key, body.to_string().into()).await {
                Ok(reply) => judge(&reply, order),
                Err(failed) => RefundAnswer::Unknown(failed.0),
            }
        })
    }

    fn find_refund<'a>(&'a self, order: &'a RefundOrder) -> BoxFuture<'a, Option<RefundAnswer>> {
        Box::pin(async move {
            let path = format!("/v1/refunds/{}", order.refund_id);
            match self.call(Method::GET, &path, None, Bytes::new()).await {
                Ok(reply) if reply.status == StatusCode::NOT_FOUND => None,
                Ok(reply) => Some(judge(&reply, order)),
                Err(failed) => Some(RefundAnswer::Unknown(failed.0)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::Value;

    use super::*;

    fn judged(status: u16, change: &Value) -> RefundAnswer {
        let order = RefundOrder {
            refund_id: "rfd_1".to_owned(),
            charge_id: "chg_1".to_owned(),
            money: Money { amount: 500, currency: "EUR".to_owned() },
        };
        let mut body = json!({"id": "grf_1", "reference": "rfd_1", "charge": "chg_1", "amount": 500, "currency": "EUR",
            "status": "succeeded"});
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let status = StatusCode::from_u16(status).unwrap();
        judge(&FetchReply { status, headers: HeaderMap::new(), body: body.to_string().into() }, &order)
    }

    #[test]
    fn only_the_return_of_exactly_this_money_counts() {
        let paid = judged(200, &json!({}));
        assert_eq!(paid, RefundAnswer::Succeeded { provider_ref: "grf_1".to_owned() });
        let others = [
            (200, json!({"amount": 499})),
            (200, json!({"currency": "USD"})),
            (200, json!({"reference": "rfd_2"})),
            (200, json!({"charge": "chg_2"})),
            (200, json!({"status": "pending"})),
            (200, json!({"decline_code": "refund_declined"})),
            (500, json!({})),
            (402, json!({})),
        ];
        for (status, change) in others {
            let judged = judged(status, &change);
            assert!(matches!(judged, RefundAnswer::Unknown(_)), "{status} {change}: {judged:?}");
        }
    }

    #[test]
    fn a_decline_is_definite_only_with_402_and_a_code_of_the_list() {
        let declined =
            |status, code: &str| judged(status, &json!({"status": "declined", "decline_code": code}));
        for code in DEFINITE_DECLINES {
            let expected =
                RefundAnswer::Declined { code: code.to_owned(), provider_ref: Some("grf_1".to_owned()) };
            assert_eq!(declined(402, code), expected);
        }
        for (status, code) in
            [(402, "try_again_later"), (200, "refund_declined"), (409, "refund_declined"), (429, "x")]
        {
            assert!(matches!(declined(status, code), RefundAnswer::Unknown(_)), "{status} {code}");
        }
    }
}
