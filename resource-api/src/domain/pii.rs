//! Personal data of a customer: the closed list of fields, what a caller may send and its canonical form.
//!
//! Values leave this module only towards the vault (sealed) and the offline checks. `Debug` names fields, never values.

use std::collections::BTreeMap;
use std::fmt;

use keys::UnixSeconds;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::customer::{is_country, words};
use super::date::Date;
use super::refusal::{Class, Refusal};

words! {
    /// One field of personal data, sealed on its own.
    PiiField {
        /// Postal addresses, JSON list, first is the residence.
        Addresses = "addresses",
        /// Day of birth, `YYYY-MM-DD`.
        BirthDate = "birth_date",
        /// Legal form of a business.
        BusinessType = "business_type",
        /// E-mail addresses, JSON list.
        Emails = "emails",
        /// Family name.
        FamilyName = "family_name",
        /// Gender as told.
        Gender = "gender",
        /// Given name.
        GivenName = "given_name",
        /// Registered name of a business.
        LegalName = "legal_name",
        /// Nationality, ISO 3166-1 alpha-2.
        Nationality = "nationality",
        /// Phone numbers in E.164, JSON list.
        Phones = "phones",
        /// Register number of a business.
        RegistrationNumber = "registration_number",
        /// Tax and social security numbers, JSON list.
        TaxIds = "tax_ids",
    }
}

impl PiiField {
    /// Whether a change of a known value makes it another identity, so that a decided level must be looked at again.
    pub fn is_identity(self) -> bool {
        matches!(
            self,
            Self::GivenName | Self::FamilyName | Self::BirthDate | Self::LegalName | Self::RegistrationNumber
        )
    }
}

/// A postal address.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Street and number.
    pub line1: String,
    /// Further line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
    /// Town.
    pub city: String,
    /// State or province.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Post code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: String,
}

/// A tax or social security number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaxId {
    /// What number it is, for example `ssn`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number.
    pub value: String,
}

/// Personal data as a caller sends it. Fields that are absent stay as they are.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PiiInput {
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// Gender as told.
    pub gender: Option<String>,
    /// ISO 3166-1 alpha-2, upper case.
    pub nationality: Option<String>,
    /// The first is the residence.
    pub addresses: Option<Vec<Address>>,
    /// E-mail addresses.
    pub emails: Option<Vec<String>>,
    /// Phone numbers in E.164.
    pub phones: Option<Vec<String>>,
    /// Tax and social security numbers.
    pub tax_ids: Option<Vec<TaxId>>,
    /// Registered name of a business.
    pub legal_name: Option<String>,
    /// Register number of a business.
    pub registration_number: Option<String>,
    /// Legal form of a business.
    pub business_type: Option<String>,
}

/// Checked personal data in canonical form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pii {
    fields: BTreeMap<PiiField, String>,
}

impl fmt::Debug for Pii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.keys().map(|field| field.as_str())).finish()
    }
}

impl fmt::Debug for PiiInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PiiInput(..)")
    }
}

impl Pii {
    /// Puts opened fields together again.
    pub fn from_fields(fields: BTreeMap<PiiField, String>) -> Self {
        Self { fields }
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The canonical value of a field.
    pub fn get(&self, field: PiiField) -> Option<&str> {
        self.fields.get(&field).map(String::as_str)
    }

    /// Every field that is present, in the order of [`PiiField`].
    pub fn iter(&self) -> impl Iterator<Item = (PiiField, &str)> {
        self.fields.iter().map(|(field, value)| (*field, value.as_str()))
    }

    /// The country of the first address.
    pub fn residence(&self) -> Option<String> {
        let addresses: Vec<Address> = serde_json::from_str(self.get(PiiField::Addresses)?).ok()?;
        addresses.into_iter().next().map(|address| address.country)
    }

    /// Checks what a caller sent in `pointer` (for example `/pii`) and puts it into canonical form.
    ///
    /// # Errors
    /// 422 `pii_invalid` with the pointer of every refused field.
    pub fn checked(input: &PiiInput, pointer: &str, now: UnixSeconds) -> Result<Self, Refusal> {
        let mut check = Check { pointer, bad: Vec::new(), pii: Self::default() };
        check.text(PiiField::GivenName, input.given_name.as_deref());
        check.text(PiiField::FamilyName, input.family_name.as_deref());
        check.text(PiiField::Gender, input.gender.as_deref());
        check.text(PiiField::LegalName, input.legal_name.as_deref());
        check.text(PiiField::RegistrationNumber, input.registration_number.as_deref());
        check.text(PiiField::BusinessType, input.business_type.as_deref());
        check.one(PiiField::BirthDate, input.birth_date.as_deref(), |text| {
            text.parse::<Date>().is_ok_and(|born| (0..=130).contains(&born.full_years_until(Date::of(now))))
        });
        check.one(PiiField::Nationality, input.nationality.as_deref(), is_country);
        check.list(PiiField::Emails, input.emails.as_deref(), |email| is_email(email));
        check.list(PiiField::Phones, input.phones.as_deref(), |phone| is_e164(phone));
        check.list(PiiField::TaxIds, input.tax_ids.as_deref(), |id| is_text(&id.kind) && is_text(&id.value));
        check.list(PiiField::Addresses, input.addresses.as_deref(), is_address);
        check.finish()
    }
}

/// Collects the fields of one submission and what is wrong with them.
struct Check<'a> {
    pointer: &'a str,
    bad: Vec<String>,
    pii: Pii,
}

impl Check<'_> {
    fn refuse(&mut self, field: PiiField, index: Option<usize>) {
        let index = index.map(|index| format!("/{index}")).unwrap_or_default();
        self.bad.push(format!("{}/{field}{index}", self.pointer));
    }

    fn one(&mut self, field: PiiField, value: Option<&str>, valid: impl Fn(&str) -> bool) {
        let Some(value) = value.map(str::trim) else { return };
        if valid(value) {
            self.pii.fields.insert(field, value.to_owned());
        } else {
            self.refuse(field, None);
        }
    }

    fn text(&mut self, field: PiiField, value: Option<&str>) {
        self.one(field, value, is_text);
    }

    fn list<T: Serialize>(&mut self, field: PiiField, values: Option<&[T]>, valid: impl Fn(&T) -> bool) {
        let Some(values) = values else { return };
        let refused = values.iter().position(|value| !valid(value));
        match (refused, serde_json::to_string(values)) {
            (None, Ok(text)) if values.len() <= LIST_ITEMS_MAX => {
                self.pii.fields.insert(field, text);
            }
            (index, _) => self.refuse(field, index),
        }
    }

    fn finish(self) -> Result<Pii, Refusal> {
        if self.bad.is_empty() {
            return Ok(self.pii);
        }
        let refusal =
            Refusal::new(Class::Unprocessable, "pii_invalid", "personal data is refused, see the pointers");
        Err(self.bad.iter().fold(refusal, |refusal, pointer| refusal.at(pointer, "pii_invalid")))
    }
}

/// The most items a list of personal data holds.
const LIST_ITEMS_MAX: usize = 10;

fn is_text(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_email(text: &str) -> bool {
    let plain = text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let parts = text.split_once('@');
    plain
        && parts.is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len())
                && domain.contains('.')
                && !domain.contains('@')
                && !domain.starts_with('.')
        })
}

fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_address(address: &Address) -> bool {
    let optional = |text: &Option<String>| text.as_deref().is_none_or(is_text);
    is_text(&address.line1)
        && is_text(&address.city)
        && is_country(&address.country)
        && optional(&address.line2)
        && optional(&address.region)
        && optional(&address.postal_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_305_600);

    fn input(json: &str) -> PiiInput {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_sent_becomes_canonical_fields() {
        let pii = Pii::checked(
            &input(
                r#"{"given_name":" Ann ","emails":["ann@example.org"],
                "addresses":[{"line1":"Way 1","city":"Ghent","country":"BE"}]}"#,
            ),
            "/pii",
            NOW,
        )
        .unwrap();
        assert_eq!(pii.get(PiiField::GivenName), Some("Ann"));
        assert_eq!(pii.get(PiiField::Emails), Some(r#"["ann@example.org"]"#));
        assert_eq!(pii.residence().as_deref(), Some("BE"));
        assert_eq!(pii.iter().count(), 3);
        assert!(!format!("{pii:?}").contains("Ann"));
    }

    #[test]
    fn every_refused_field_is_named_by_its_pointer_and_never_by_its_value() {
        let refusal = Pii::checked(
            &input(r#"{"birth_date":"2030-01-01","phones":["+49301234567","030"],"nationality":"de","given_name":""}"#),
            "/pii",
            NOW,
        )
        .unwrap_err();
        let pointers: Vec<&str> = refusal.fields.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/pii/given_name", "/pii/birth_date", "/pii/nationality", "/pii/phones/1"]);
        assert!(!format!("{refusal:?}").contains("2030"));
    }

    #[test]
    fn addresses_of_mail_and_phone_have_their_syntax() {
        for good in ["a@b.example", "a.b+c@mail.b.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["a", "@b.example", "a@b", "a b@c.example", "a@@b.example", "a@.example"] {
            assert!(!is_email(bad), "{bad}");
        }
        assert!(
            is_e164("+4930123456")
                && !is_e164("4930123456")
                && !is_e164("+0301234567")
                && !is_e164("+49 30 1")
        );
    }
}
