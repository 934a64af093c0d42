//! A fiat-in order: outside money that is to credit a wallet. States and what is told of them.
//!
//! The top-level state is terminal or not; `stages` say where the order stands or why it ended, in the
//! order in which they happen: identity, monitoring, payment, credit.

use keys::UnixSeconds;
use serde::Serialize;

pub use super::charge::{ChargeState, ChargeView};
use super::customer::words;
use super::money::Money;
use crate::monitoring::Outcome;

words! {
    /// Where an order stands. `Refused`, `Failed`, `Cancelled`, `Expired`, `Refunded` and `ChargedBack` are final.
    FiatInState {
        /// Waits for a person.
        InReview = "in_review",
        /// Accepted; the charge is under way or its outcome is not known yet.
        Processing = "processing",
        /// The payer has to prove to the bank who they are (3-D Secure).
        RequiresAction = "requires_action",
        /// Collected and credited.
        Completed = "completed",
        /// Refused by monitoring or by a reviewer. Nothing was charged.
        Refused = "refused",
        /// Definitely declined by the gateway. Nothing was charged.
        Failed = "failed",
        /// Withdrawn by its caller before a charge was submitted.
        Cancelled = "cancelled",
        /// Nobody reviewed it, or the payer did not act, in time. Nothing was charged.
        Expired = "expired",
        /// Part of it went back to the payer.
        PartiallyRefunded = "partially_refunded",
        /// All of it went back to the payer.
        Refunded = "refunded",
        /// The payer contests the charge at the bank.
        Disputed = "disputed",
        /// The bank took the charge back.
        ChargedBack = "charged_back",
    }
}

words! {
    /// Where a review stands.
    ReviewState {
        /// Waits for a decision.
        Open = "open",
        /// The order went on.
        Accepted = "accepted",
        /// The order ended.
        Refused = "refused",
        /// The order was cancelled by its caller before anybody decided.
        Withdrawn = "withdrawn",
        /// Nobody decided in time.
        Expired = "expired",
    }
}

/// An order as stored, with its charge where one exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiatIn {
    /// `fin_…`
    pub fiat_in_id: String,
    /// The tenant.
    pub partner_id: String,
    /// Who pays in.
    pub customer_id: String,
    /// The customer's subject.
    pub sub: String,
    /// The partner's own id of the customer.
    pub external_id: String,
    /// The wallet that is credited.
    pub entity_id: String,
    /// The client that made the order.
    pub client_id: String,
    /// The one-time token that was spent on it.
    pub token_jti: Option<String>,
    /// What is paid in.
    pub money: Money,
    /// The amount in the limits' currency, minor units; `None` when there is no rate.
    pub limit_value: Option<i64>,
    /// The partner's own id of the order, unique for the partner.
    pub client_reference: String,
    /// What is kept of the instrument and of where the order came from.
    pub origin: Origin,
    /// Where it stands.
    pub state: FiatInState,
    /// Why it ended or waits, as a public code.
    pub state_reason: Option<String>,
    /// What monitoring last said.
    pub decision: Outcome,
    /// One more with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it last changed.
    pub updated_at: UnixSeconds,
    /// When it ends by itself unless a person or the payer acts; only while it waits for one of them.
    pub expires_at: Option<UnixSeconds>,
    /// Its charge, when monitoring or a reviewer let it through.
    pub charge: Option<ChargeView>,
}

/// What is kept of the instrument and the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Card brand.
    pub brand: Option<String>,
    /// Last four digits of the card.
    pub last4: Option<String>,
    /// Country that issued the instrument, ISO 3166-1 alpha-2.
    pub instrument_country: Option<String>,
    /// Country of the payer's network address, as the partner told it.
    pub ip_country: Option<String>,
    /// Keyed hash of the device data.
    pub device_hash: Option<String>,
}

#[derive(Serialize)]
struct Stage<'a> {
    kind: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct MoneyBody {
    amount: i64,
    currency: &'static str,
}

#[derive(Serialize)]
struct MethodBody<'a> {
    brand: Option<&'a str>,
    last4: Option<&'a str>,
}

#[derive(Serialize)]
struct ChargeBody<'a> {
    id: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_category: Option<&'a str>,
}

/// What the payer has to do next.
#[derive(Serialize)]
struct NextAction<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    redirect_url: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    state: &'static str,
    state_reason: Option<&'a str>,
    customer_id: &'a str,
    entity_id: &'a str,
    money: MoneyBody,
    client_reference: &'a str,
    payment_method: MethodBody<'a>,
    decision: &'static str,
    stages: [Stage<'a>; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_action: Option<NextAction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    charge: Option<ChargeBody<'a>>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl FiatIn {
    /// The status of an answer that tells this state (reference: responses): what is settled is 201,
    /// what is still open 202.
    pub fn answer_status(&self) -> u16 {
        match self.state {
            FiatInState::InReview | FiatInState::Processing | FiatInState::RequiresAction => 202,
            _ => 201,
        }
    }

    /// The public view. Equal orders give equal bytes.
    ///
    /// # Errors
    /// Never for these types; passed on rather than hidden.
    pub fn body(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.view())
    }

    /// The public view as a JSON value, for lists.
    ///
    /// # Errors
    /// As [`FiatIn::body`].
    pub fn value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self.view())
    }

    fn view(&self) -> Body<'_> {
        Body {
            id: &self.fiat_in_id,
            state: self.state.as_str(),
            state_reason: self.state_reason.as_deref(),
            customer_id: &self.customer_id,
            entity_id: &self.entity_id,
            money: MoneyBody { amount: self.money.amount, currency: self.money.currency.code() },
            client_reference: &self.client_reference,
            payment_method: MethodBody {
                brand: self.origin.brand.as_deref(),
                last4: self.origin.last4.as_deref(),
            },
            decision: self.decision.as_str(),
            stages: self.stages(),
            next_action: self.next_action(),
            expires_at: self.expires_at.map(|at| at.0),
            charge: self.charge.as_ref().map(|charge| ChargeBody {
                id: &charge.charge_id,
                state: charge.state.as_str(),
                decline_code: charge.decline_code.as_deref(),
                decline_category: charge.decline_category.as_deref(),
            }),
            version: self.version,
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
        }
    }

    /// Where the payer has to go, while the order waits for that.
    fn next_action(&self) -> Option<NextAction<'_>> {
        let url = self.charge.as_ref().and_then(|charge| charge.action_url.as_deref());
        url.filter(|_| self.state == FiatInState::RequiresAction)
            .map(|redirect_url| NextAction { kind: "redirect", redirect_url })
    }

    fn stages(&self) -> [Stage<'_>; 4] {
        let reason = self.state_reason.as_deref();
        let (monitoring, payment, credit) = match self.state {
            FiatInState::InReview => ("in_progress", "not_started", "not_started"),
            FiatInState::Processing | FiatInState::RequiresAction => {
                ("completed", "in_progress", "not_started")
            }
            FiatInState::Completed
            | FiatInState::PartiallyRefunded
            | FiatInState::Refunded
            | FiatInState::Disputed
            | FiatInState::ChargedBack => ("completed", "completed", "completed"),
            FiatInState::Cancelled | FiatInState::Expired => ("completed", "not_started", "not_started"),
            FiatInState::Refused => ("failed", "not_started", "not_started"),
            FiatInState::Failed => ("completed", "failed", "not_started"),
        };
        let stage =
            |kind, status| Stage { kind, status, failure_reason: reason.filter(|_| status == "failed") };
        [
            stage("identity", "completed"),
            stage("monitoring", monitoring),
            stage("payment", payment),
            stage("credit", credit),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(state: FiatInState, reason: Option<&str>) -> FiatIn {
        FiatIn {
            fiat_in_id: "fin_1".to_owned(),
            partner_id: "ptn_1".to_owned(),
            customer_id: "cus_1".to_owned(),
            sub: "usr_1".to_owned(),
            external_id: "alice".to_owned(),
            entity_id: "ent_1".to_owned(),
            client_id: "cli_1".to_owned(),
            token_jti: Some("jti".to_owned()),
            money: Money { amount: 1050, currency: "EUR".parse().unwrap() },
            limit_value: Some(1050),
            client_reference: "order-1".to_owned(),
            origin: Origin { device_hash: Some("secret".to_owned()), ..Origin::default() },
            state,
            state_reason: reason.map(str::to_owned),
            decision: Outcome::Accept,
            version: 1,
            created_at: UnixSeconds(5),
            updated_at: UnixSeconds(6),
            expires_at: None,
            charge: None,
        }
    }

    #[test]
    fn open_states_answer_202_and_settled_ones_201() {
        let statuses: Vec<_> =
            FiatInState::ALL.iter().map(|state| order(*state, None).answer_status()).collect();
        assert_eq!(statuses, [202, 202, 202, 201, 201, 201, 201, 201, 201, 201, 201, 201]);
    }

    #[test]
    fn a_failed_stage_says_why_and_only_it() {
        let body = order(FiatInState::Failed, Some("insufficient_funds")).value().unwrap();
        assert_eq!(body["stages"][2]["failure_reason"], "insufficient_funds");
        assert_eq!(body["stages"][2]["status"], "failed");
        assert!(body["stages"][1].get("failure_reason").is_none());
        assert_eq!(body["stages"][3]["status"], "not_started");
    }

    #[test]
    fn only_an_order_that_waits_for_the_payer_says_where_to_go() {
        for state in FiatInState::ALL {
            let mut order = order(*state, None);
            let mut charge = ChargeView::new("chg_1", ChargeState::RequiresAction);
            charge.action_url = Some("https://bank.example/prove".to_owned());
            order.charge = Some(charge);
            let body = order.value().unwrap();
            assert_eq!(body.get("next_action").is_some(), *state == FiatInState::RequiresAction, "{state}");
        }
    }

    #[test]
    fn the_view_shows_neither_token_nor_client_nor_device() {
        let text = order(FiatInState::Completed, None).body().unwrap();
        for hidden in ["jti", "cli_1", "secret", "ptn_1", "limit_value"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
}
