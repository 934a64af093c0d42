//! What the body of an event says. By its type it is about a charge, a refund or a dispute:
//!
//! | type | `data` |
//! |---|---|
//! | `charge.*` | `id`, `reference` (our charge), `amount`, `currency`, `status`, `decline_code?` |
//! | `refund.succeeded`, `.failed`, `.pending` | `id`, `reference` (our refund), `charge`, `amount`, `currency`, `status`, `decline_code?` |
//! | `dispute.opened`, `.won`, `.lost` | `id`, `charge`, `amount`, `currency` |

use keys::token::Money;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::DeclineCategory;
use super::judge::definite_decline;
use super::refund::is_definite_decline;
use crate::domain::charge_event::Told;
use crate::domain::telling::{RefundWord, Telling};

/// Longest id, reference or type that is kept, bytes.
const NAME_BYTES_MAX: usize = 128;

/// What an event says of one charge, refund or dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What is told, and of what.
    pub telling: Telling,
    /// Our own id of the charge or refund; of a dispute, that of the charge.
    pub reference: String,
    /// Our own id of the charge.
    pub charge_id: String,
    /// The gateway's own id of the charge, refund or dispute.
    pub provider_ref: String,
    /// The account it is about, when the gateway says.
    pub merchant: Option<String>,
    /// The money it is about.
    pub money: Money,
    /// Code of a definite decline, and of a charge its category.
    pub decline: Option<(String, Option<DeclineCategory>)>,
}

/// The body of an event without its data.
#[derive(Deserialize)]
pub(super) struct Head {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    merchant: Option<String>,
    #[serde(default)]
    pub(super) created_at: Option<i64>,
}

/// The data alone.
#[derive(Deserialize)]
struct Rest<T> {
    data: T,
}

#[derive(Deserialize)]
struct ChargeData {
    id: String,
    reference: String,
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    decline_code: Option<String>,
}

#[derive(Deserialize)]
struct RefundData {
    id: String,
    reference: String,
    charge: String,
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    decline_code: Option<String>,
}

#[derive(Deserialize)]
struct DisputeData {
    id: String,
    charge: String,
    amount: i64,
    currency: String,
}

/// What the body says; `None` unless it is about one charge, refund or dispute in words that are known.
pub(super) fn said(head: Head, body: &[u8]) -> Option<Said> {
    let (about, _) = head.kind.split_once('.')?;
    let said = match about {
        "charge" => of_charge(read(body)?),
        "refund" => of_refund(&head.kind, read(body)?),
        "dispute" => of_dispute(&head.kind, read(body)?),
        _ => None,
    }?;
    let said = Said { merchant: head.merchant, ..said };
    let names =
        [Some(&said.reference), Some(&said.charge_id), Some(&said.provider_ref), said.merchant.as_ref()];
    let currency = said.money.currency.as_bytes();
    let fits = names.into_iter().flatten().all(|name| is_name(name))
        && currency.len() == 3
        && currency.iter().all(u8::is_ascii_uppercase);
    fits.then_some(said)
}

/// Read from the text: a member that is there twice makes it unreadable.
fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice::<Rest<T>>(body).ok().map(|rest| rest.data)
}

fn of_charge(data: ChargeData) -> Option<Said> {
    let told: Told = data.status.parse().ok()?;
    let decline = data.decline_code.and_then(|code| {
        let category = definite_decline(&code)?;
        Some((code, Some(category)))
    });
    // A decline that is not known to be definite is nothing definite.
    let told = if told == Told::Declined && decline.is_none() { Told::Pending } else { told };
    Some(Said {
        telling: Telling::Charge(told),
        charge_id: data.reference.clone(),
        reference: data.reference,
        provider_ref: data.id,
        merchant: None,
        money: Money { amount: data.amount, currency: data.currency },
        decline: decline.filter(|_| told == Told::Declined),
    })
}

fn of_refund(kind: &str, data: RefundData) -> Option<Said> {
    let word = match (kind, data.status.as_str()) {
        ("refund.succeeded", "succeeded") if data.decline_code.is_none() => RefundWord::Succeeded,
        ("refund.failed", "failed" | "declined") => RefundWord::Failed,
        ("refund.pending", "pending") => RefundWord::Pending,
        _ => return None,
    };
    let decline = data.decline_code.filter(|code| word == RefundWord::Failed && is_definite_decline(code));
    // As with charges.
    let word = if word == RefundWord::Failed && decline.is_none() { RefundWord::Pending } else { word };
    Some(Said {
        telling: Telling::Refund(word),
        reference: data.reference,
        charge_id: data.charge,
        provider_ref: data.id,
        merchant: None,
        money: Money { amount: data.amount, currency: data.currency },
        decline: decline.map(|code| (code, None)),
    })
}

fn of_dispute(kind: &str, data: DisputeData) -> Option<Said> {
    Some(Said {
        telling: Telling::Dispute(kind.strip_prefix("dispute.")?.parse().ok()?),
        reference: data.charge.clone(),
        charge_id: data.charge,
        provider_ref: data.id,
        merchant: None,
        money: Money { amount: data.amount, currency: data.currency },
        decline: None,
    })
}

/// What may be stored and shown as a name: no spaces, nothing that could be personal data or a card number.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(plain)
        && !crate::domain::card::is_card_number(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::refund::DisputeTurn;

    fn heard(kind: &str, data: &Value) -> Option<Said> {
        let body = json!({ "type": kind, "merchant": "mrc_1", "data": data }).to_string();
        said(serde_json::from_str(&body).unwrap(), body.as_bytes())
    }

    fn refund(kind: &str, change: &Value) -> Option<Said> {
        let status = kind.strip_prefix("refund.").unwrap();
        let mut data = json!({ "id": "grf_1", "reference": "rfd_1", "charge": "chg_1", "amount": 5, "currency": "EUR",
            "status": status });
        for (name, value) in change.as_object().unwrap() {
            data[name] = value.clone();
        }
        heard(kind, &data)
    }

    #[test]
    fn a_refund_is_told_with_its_charge() {
        let said = refund("refund.succeeded", &json!({})).unwrap();
        assert_eq!(said.telling, Telling::Refund(RefundWord::Succeeded));
        assert_eq!((said.reference.as_str(), said.charge_id.as_str()), ("rfd_1", "chg_1"));
        assert_eq!((said.provider_ref.as_str(), said.merchant.as_deref()), ("grf_1", Some("mrc_1")));
        assert_eq!((said.money.amount, said.decline), (5, None));
    }

    #[test]
    fn a_failed_refund_counts_only_with_a_code_that_is_known_to_be_definite() {
        let said = refund("refund.failed", &json!({ "decline_code": "refund_declined" })).unwrap();
        assert_eq!(said.telling, Telling::Refund(RefundWord::Failed));
        assert_eq!(said.decline, Some(("refund_declined".to_owned(), None)));
        for code in [json!("try_again_later"), Value::Null] {
            let said = refund("refund.failed", &json!({ "decline_code": code })).unwrap();
            assert_eq!((said.telling, said.decline), (Telling::Refund(RefundWord::Pending), None));
        }
    }

    #[test]
    fn a_dispute_is_told_by_its_type() {
        let data = json!({ "id": "gdp_1", "charge": "chg_1", "amount": 5, "currency": "EUR" });
        for turn in DisputeTurn::ALL.iter().copied() {
            let said = heard(&format!("dispute.{turn}"), &data).unwrap();
            assert_eq!((said.telling, said.charge_id.as_str()), (Telling::Dispute(turn), "chg_1"));
            assert_eq!((said.reference.as_str(), said.provider_ref.as_str()), ("chg_1", "gdp_1"));
        }
        assert_eq!(heard("dispute.updated", &data), None);
    }

    #[test]
    fn a_refund_or_dispute_in_other_words_is_not_understood() {
        assert_eq!(refund("refund.failed", &json!({ "status": "succeeded" })), None);
        assert_eq!(refund("refund.succeeded", &json!({ "decline_code": "refund_declined" })), None);
        assert_eq!(refund("refund.updated", &json!({})), None);
        for change in [
            json!({ "reference": "Quirina Zaunkoenig" }),
            json!({ "charge": "4242424242424242" }),
            json!({ "currency": "eur" }),
            json!({ "amount": "5" }),
        ] {
            assert_eq!(refund("refund.succeeded", &change), None, "{change}");
        }
        let twice =
            r#"{"type":"dispute.won","data":{"id":"a","id":"b","charge":"c","amount":5,"currency":"EUR"}}"#;
        assert_eq!(said(serde_json::from_str(twice).unwrap(), twice.as_bytes()), None, "a member twice");
        assert_eq!(heard("dispute.won", &json!({ "id": "gdp_1", "amount": 5, "currency": "EUR" })), None);
    }
}
