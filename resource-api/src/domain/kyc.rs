//! Know-your-customer levels: what the profile says and what can be computed offline.
//!
//! Level 0 is "nothing known". Level 1 is a syntactic check of name, address, e-mail and birth date (or register
//! number): it says the data is complete and plausible, not that it is true. Level 2 and above need a decision.

use keys::UnixSeconds;

use super::customer::{CustomerKind, words};
use super::date::Date;
use super::pii::{Pii, PiiField};

words! {
    /// Where a customer's identity check stands.
    KycStatus {
        /// Nothing was submitted yet.
        NotStarted = "not_started",
        /// Fields are missing for the next level.
        NeedsInput = "needs_input",
        /// The data changed and is being looked at.
        Processing = "processing",
        /// A person has to decide.
        InReview = "in_review",
        /// The level holds.
        Approved = "approved",
        /// The data was refused.
        Refused = "refused",
        /// The level's evidence ran out.
        Expired = "expired",
    }
}

/// The highest level there is.
pub const LEVEL_MAX: i64 = 5;

/// The highest level the offline rules may give; above it only a decision counts.
pub const LEVEL_BY_RULES_MAX: i64 = 1;

/// Full years a person must have lived.
const AGE_MIN_YEARS: i64 = 18;

/// Outcome of the offline rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The level that holds from now on.
    pub level: i64,
    /// Where the check stands.
    pub status: KycStatus,
    /// Names of fields still needed for level 1.
    pub missing_fields: Vec<String>,
    /// Why, as codes without values.
    pub reason_codes: Vec<String>,
}

/// What the profile says now, beside the customer's level and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KycProfile {
    /// Names of fields still needed for the next level that rules can give.
    pub missing_fields: Vec<String>,
    /// Why the status is what it is.
    pub reason_codes: Vec<String>,
    /// The version of the personal data this was computed from.
    pub pii_version: i64,
    /// When it was computed.
    pub updated_at: UnixSeconds,
}

/// What the rules are asked to judge.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Person or business.
    pub kind: CustomerKind,
    /// Everything known.
    pub pii: &'a Pii,
    /// The level that holds so far.
    pub level: i64,
    /// The status that holds so far.
    pub status: KycStatus,
    /// A name, birth date or register number that was known before became another.
    pub identity_changed: bool,
}

/// Applies the offline rules.
///
/// A refusal, and what waits for a person, stay until a person acts. A level above 1 was decided by someone who saw the data; it stays while the identity stays, and falls to what the
/// rules can say, for a person to look at, when the identity became another.
pub fn assess(subject: Subject<'_>, now: UnixSeconds) -> Assessment {
    let missing_fields = missing_for_level_1(subject.kind, subject.pii);
    let mut reason_codes = Vec::new();
    if is_under_age(subject.pii, now) {
        reason_codes.push("under_age".to_owned());
    }
    let computed = i64::from(missing_fields.is_empty() && reason_codes.is_empty());
    let decided = subject.level > LEVEL_BY_RULES_MAX;
    let (level, status) = if !reason_codes.is_empty() || subject.status == KycStatus::Refused {
        (0, KycStatus::Refused)
    } else if subject.status == KycStatus::InReview {
        (subject.level.min(computed), KycStatus::InReview)
    } else if decided && !subject.identity_changed {
        (subject.level, KycStatus::Approved)
    } else if decided {
        reason_codes.push("identity_changed".to_owned());
        (computed, KycStatus::InReview)
    } else if computed == 1 {
        (1, KycStatus::Approved)
    } else {
        (0, KycStatus::NeedsInput)
    };
    Assessment { level, status, missing_fields, reason_codes }
}

/// The names of the fields that level 1 needs.
pub fn fields_for_level_1(kind: CustomerKind) -> Vec<String> {
    missing_for_level_1(kind, &Pii::default())
}

fn missing_for_level_1(kind: CustomerKind, pii: &Pii) -> Vec<String> {
    let needed: &[PiiField] = match kind {
        CustomerKind::Person => &[
            PiiField::GivenName,
            PiiField::FamilyName,
            PiiField::BirthDate,
            PiiField::Addresses,
            PiiField::Emails,
        ],
        CustomerKind::Business => {
            &[PiiField::LegalName, PiiField::RegistrationNumber, PiiField::Addresses, PiiField::Emails]
        }
    };
    let absent = |field: &&PiiField| pii.get(**field).is_none_or(|value| value == "[]");
    needed.iter().filter(absent).map(|field| field.as_str().to_owned()).collect()
}

fn is_under_age(pii: &Pii, now: UnixSeconds) -> bool {
    pii.get(PiiField::BirthDate)
        .and_then(|text| text.parse::<Date>().ok())
        .is_some_and(|born| born.full_years_until(Date::of(now)) < AGE_MIN_YEARS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_305_600);

    fn person(birth_date: &str) -> Pii {
        let fields = [
            (PiiField::GivenName, "Ann"),
            (PiiField::FamilyName, "Smith"),
            (PiiField::BirthDate, birth_date),
            (PiiField::Addresses, r#"[{"line1":"1","city":"X","country":"BE"}]"#),
            (PiiField::Emails, r#"["a@b.example"]"#),
        ];
        Pii::from_fields(fields.into_iter().map(|(field, text)| (field, text.to_owned())).collect())
    }

    fn assessed(pii: &Pii, level: i64, identity_changed: bool) -> Assessment {
        let status = KycStatus::Processing;
        assess(Subject { kind: CustomerKind::Person, pii, level, status, identity_changed }, NOW)
    }

    #[test]
    fn complete_and_plausible_data_gives_level_one() {
        let found = assessed(&person("1990-05-01"), 0, false);
        assert_eq!((found.level, found.status), (1, KycStatus::Approved));
        assert!(found.missing_fields.is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let found = assessed(&Pii::default(), 0, false);
        assert_eq!((found.level, found.status), (0, KycStatus::NeedsInput));
        assert_eq!(found.missing_fields, ["given_name", "family_name", "birth_date", "addresses", "emails"]);
        let only_empty = Pii::from_fields(BTreeMap::from([(PiiField::Emails, "[]".to_owned())]));
        assert!(assessed(&only_empty, 0, false).missing_fields.contains(&"emails".to_owned()));
    }

    #[test]
    fn a_person_under_age_is_refused_whatever_was_decided() {
        let found = assessed(&person("2010-05-01"), 2, false);
        assert_eq!((found.level, found.status), (0, KycStatus::Refused));
        assert_eq!(found.reason_codes, ["under_age"]);
    }

    #[test]
    fn a_decided_level_holds_until_the_identity_becomes_another() {
        let kept = assessed(&Pii::default(), 3, false);
        assert_eq!((kept.level, kept.status), (3, KycStatus::Approved));
        let fallen = assessed(&person("1990-05-01"), 3, true);
        assert_eq!((fallen.level, fallen.status), (1, KycStatus::InReview));
        assert_eq!(fallen.reason_codes, ["identity_changed"]);
    }

    #[test]
    fn what_waits_for_a_person_stays_until_a_person_acts() {
        let pii = person("1990-05-01");
        for (status, level) in [(KycStatus::Refused, 0), (KycStatus::InReview, 1)] {
            let subject =
                Subject { kind: CustomerKind::Person, pii: &pii, level: 2, status, identity_changed: false };
            let found = assess(subject, NOW);
            assert_eq!((found.level, found.status), (level, status));
        }
    }

    #[test]
    fn a_business_needs_its_registered_name_and_number() {
        let subject = Subject {
            kind: CustomerKind::Business,
            pii: &Pii::default(),
            level: 0,
            status: KycStatus::Processing,
            identity_changed: false,
        };
        let found = assess(subject, NOW);
        assert_eq!(found.missing_fields, ["legal_name", "registration_number", "addresses", "emails"]);
    }
}
