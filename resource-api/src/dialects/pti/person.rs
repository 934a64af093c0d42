//! A person or business as the vendor writes it, turned into our personal data.
//!
//! Members this platform has no use for (`owners`, `sectors`, `creationDate`, a `status`) are read over, as the vendor
//! does. Phone numbers may be formatted; they become E.164.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::customer::CustomerKind;
use crate::domain::pii::{Address, PiiInput, TaxId};
use crate::domain::refusal::Refusal;

/// A user: `type` is `PERSON` or `BUSINESS`.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PtiUser {
    /// `PERSON` or `BUSINESS`.
    #[serde(default, rename = "type")]
    kind: String,
    /// The partner's own id.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// The id of the user on whose behalf this one will be paid. Not the vendor's member: see the guide.
    #[serde(default)]
    pub(crate) third_party_of: Option<String>,
    #[serde(default)]
    name: Option<PtiName>,
    #[serde(default)]
    date_of_birth: Option<String>,
    #[serde(default)]
    gender: Option<String>,
    #[serde(default)]
    addresses: Option<Vec<PtiAddress>>,
    #[serde(default)]
    emails: Option<Vec<PtiEmail>>,
    #[serde(default)]
    phones: Option<Vec<PtiPhone>>,
    #[serde(default)]
    piis: Option<Vec<PtiNumber>>,
    #[serde(default)]
    biis: Option<Vec<PtiNumber>>,
    #[serde(default)]
    business_name: Option<String>,
    #[serde(default)]
    business_type: Option<String>,
}

/// A person's name.
#[derive(Clone, Deserialize, ToSchema)]
struct PtiName {
    #[serde(default, rename = "firstName")]
    first: Option<String>,
    #[serde(default, rename = "middleName")]
    middle: Option<String>,
    #[serde(default, rename = "lastName")]
    last: Option<String>,
}

/// A postal address.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PtiAddress {
    #[serde(default)]
    street_address: Option<String>,
    #[serde(default)]
    city: Option<String>,
    #[serde(default)]
    postal_code: Option<String>,
    #[serde(default)]
    state_code: Option<PtiCode>,
    #[serde(default)]
    country: Option<PtiCode>,
    #[serde(default)]
    default: bool,
}

/// A code in an object.
#[derive(Clone, Deserialize, ToSchema)]
struct PtiCode {
    code: String,
}

/// An e-mail address.
#[derive(Clone, Deserialize, ToSchema)]
struct PtiEmail {
    address: String,
    #[serde(default)]
    default: bool,
}

/// A phone number.
#[derive(Clone, Deserialize, ToSchema)]
struct PtiPhone {
    number: String,
    #[serde(default)]
    default: bool,
}

/// A tax number of a person (`SSN`, `ITIN`) or a business (`EIN`).
#[derive(Clone, Deserialize, ToSchema)]
struct PtiNumber {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    number: Option<String>,
    #[serde(default)]
    value: Option<String>,
}

impl PtiUser {
    /// Whether the body says which of the two it is.
    pub(crate) fn has_kind(&self) -> bool {
        !self.kind.is_empty()
    }

    /// Person or business.
    ///
    /// # Errors
    /// 400 `missing_field`, 422 `kind_unknown`.
    pub(crate) fn kind(&self) -> Result<CustomerKind, Refusal> {
        match self.kind.to_ascii_uppercase().as_str() {
            "" => {
                Err(Refusal::bad_request("missing_field", "a member is missing").at("/type", "missing_field"))
            }
            "PERSON" => Ok(CustomerKind::Person),
            "BUSINESS" => Ok(CustomerKind::Business),
            _ => Err(Refusal::unprocessable("kind_unknown", "/type", "a user is a PERSON or a BUSINESS")),
        }
    }

    /// The personal data, not checked yet.
    pub(crate) fn into_pii(self) -> PiiInput {
        let (given_name, family_name) = match self.name {
            Some(PtiName { first, middle, last }) => (joined(first, middle), last),
            None => (None, None),
        };
        let numbers = [self.piis.unwrap_or_default(), self.biis.unwrap_or_default()].concat();
        let register_number =
            numbers.iter().find(|number| number.kind.eq_ignore_ascii_case("EIN")).and_then(text_of);
        PiiInput {
            given_name,
            family_name,
            birth_date: self.date_of_birth,
            gender: self.gender,
            nationality: None,
            addresses: self
                .addresses
                .map(|list| first(list, |item| item.default).into_iter().map(address).collect()),
            emails: self
                .emails
                .map(|list| first(list, |item| item.default).into_iter().map(|item| item.address).collect()),
            phones: self.phones.map(|list| {
                first(list, |item| item.default).into_iter().map(|item| e164(&item.number)).collect()
            }),
            tax_ids: (!numbers.is_empty()).then(|| numbers.iter().filter_map(tax_id).collect()),
            legal_name: self.business_name,
            registration_number: register_number,
            business_type: self.business_type,
        }
    }
}

/// The list with its default items first.
fn first<T>(mut list: Vec<T>, is_default: impl Fn(&T) -> bool) -> Vec<T> {
    list.sort_by_key(|item| !is_default(item));
    list
}

fn joined(first: Option<String>, middle: Option<String>) -> Option<String> {
    match (first, middle) {
        (Some(first), Some(middle)) => Some(format!("{first} {middle}")),
        (first, middle) => first.or(middle),
    }
}

fn address(from: PtiAddress) -> Address {
    Address {
        line1: from.street_address.unwrap_or_default(),
        line2: None,
        city: from.city.unwrap_or_default(),
        region: from.state_code.map(|state| state.code.to_ascii_uppercase()),
        postal_code: from.postal_code,
        country: from.country.map(|country| country.code.to_ascii_uppercase()).unwrap_or_default(),
    }
}

fn text_of(number: &PtiNumber) -> Option<String> {
    number.number.clone().or_else(|| number.value.clone())
}

fn tax_id(number: &PtiNumber) -> Option<TaxId> {
    Some(TaxId { kind: number.kind.to_ascii_lowercase(), value: text_of(number)? })
}

fn e164(number: &str) -> String {
    number.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect()
}

#[cfg(test)]
mod tests {
    use keys::UnixSeconds;

    use super::*;
    use crate::domain::pii::{Pii, PiiField};

    #[test]
    fn a_person_becomes_our_personal_data() {
        let user: PtiUser = serde_json::from_str(
            r#"{"type":"PERSON","id":"u-1","name":{"firstName":"Ann","middleName":"B","lastName":"Smith"},
            "dateOfBirth":"1990-05-01","gender":"F","status":"BLOCKED",
            "emails":[{"address":"old@b.example"},{"address":"a@b.example","default":true}],
            "phones":[{"number":"+1 (555) 123-4567","type":"HOME"}],
            "addresses":[{"streetAddress":"1 Main","city":"Austin","stateCode":{"code":"us-tx"},
                "country":{"code":"us"},"postalCode":"73301"}],
            "piis":[{"type":"SSN","number":"222-22-2222"}]}"#,
        )
        .unwrap();
        assert_eq!(user.kind().unwrap(), CustomerKind::Person);
        let pii = Pii::checked(&user.into_pii(), "", UnixSeconds(1_795_305_600)).unwrap();
        assert_eq!(pii.get(PiiField::GivenName), Some("Ann B"));
        assert_eq!(pii.get(PiiField::Emails), Some(r#"["a@b.example","old@b.example"]"#));
        assert_eq!(pii.get(PiiField::Phones), Some(r#"["+15551234567"]"#));
        assert_eq!(pii.get(PiiField::TaxIds), Some(r#"[{"type":"ssn","value":"222-22-2222"}]"#));
        assert_eq!(pii.residence().as_deref(), Some("US"));
    }

    #[test]
    fn a_business_has_its_name_and_number() {
        let user: PtiUser = serde_json::from_str(
            r#"{"type":"business","id":"b-1","businessName":"Acme Ltd","biis":[{"type":"EIN","number":"12-3456789"}]}"#,
        )
        .unwrap();
        assert_eq!(user.kind().unwrap(), CustomerKind::Business);
        let pii = user.into_pii();
        assert_eq!(pii.legal_name.as_deref(), Some("Acme Ltd"));
        assert_eq!(pii.registration_number.as_deref(), Some("12-3456789"));
        let robot: PtiUser = serde_json::from_str(r#"{"type":"ROBOT"}"#).unwrap();
        assert_eq!(robot.kind().unwrap_err().code, "kind_unknown");
    }
}
