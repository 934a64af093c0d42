//! Distinguished names as text (RFC 4514), compared by structure: no value of one attribute can pass for two.

use std::fmt;
use std::str::FromStr;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The short names of RFC 4514 §3, and e-mail's, with their object identifiers.
const SHORT_NAMES: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];
/// Characters that stand for themselves only after a backslash (RFC 4514 §2.4).
const SPECIAL: [char; 7] = [',', '+', '"', '\\', '<', '>', ';'];

/// A distinguished name. Two are equal when they have the same attributes with the same values, letter by letter,
/// in the same order.
// Stricter than RFC 4517 §4.2.11: case and repeated spaces count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Relative>);

/// One step of a name: attributes in the order of their types, because RFC 4514 gives them none.
type Relative = Vec<(String, Value)>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(String),
    /// The content of a value that is no text we know.
    Octets(Vec<u8>),
}

/// The text is no distinguished name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a distinguished name as in CN=backend,O=Acme (RFC 4514)")]
pub struct BadName;

impl DistinguishedName {
    /// The name in a certificate, most specific part first (RFC 4514 §2.1).
    pub(super) fn of(name: &X509Name<'_>) -> Self {
        let mut steps: Vec<Relative> = name
            .iter_rdn()
            .map(|step| {
                sorted(step.iter().map(|one| (one.attr_type().to_id_string(), value_of(one))).collect())
            })
            .collect();
        steps.reverse();
        Self(steps)
    }
}

fn sorted(mut step: Relative) -> Relative {
    step.sort();
    step
}

fn value_of(attribute: &AttributeTypeAndValue<'_>) -> Value {
    attribute
        .as_str()
        .map_or_else(|_| Value::Octets(attribute.as_slice().to_vec()), |text| Value::Text(text.to_owned()))
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            f.write_str(separator)?;
            for (place, (kind, value)) in step.iter().enumerate() {
                let plus = if place == 0 { "" } else { "+" };
                let short =
                    SHORT_NAMES.iter().find(|(_, oid)| oid == kind).map_or(kind.as_str(), |one| one.0);
                write!(f, "{plus}{short}={value}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Octets(octets) => {
                f.write_str("#")?;
                return octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"));
            }
            Self::Text(text) => text,
        };
        let last = text.chars().count().saturating_sub(1);
        for (place, letter) in text.chars().enumerate() {
            let at_the_edge =
                (letter == ' ' && (place == 0 || place == last)) || (letter == '#' && place == 0);
            if letter.is_control() {
                let mut octets = [0; 4];
                letter.encode_utf8(&mut octets).bytes().try_for_each(|octet| write!(f, "\\{octet:02x}"))?;
            } else if at_the_edge || SPECIAL.contains(&letter) {
                write!(f, "\\{letter}")?;
            } else {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for DistinguishedName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let steps = split(text, ',')?;
        let step = |text: &str| {
            let attributes = split(text, '+')?;
            attributes.into_iter().map(attribute).collect::<Result<_, _>>().map(sorted)
        };
        steps.into_iter().map(step).collect::<Result<_, _>>().map(Self)
    }
}

/// Splits at `separator` where no backslash stands before it.
fn split(text: &str, separator: char) -> Result<Vec<&str>, BadName> {
    let (mut parts, mut from, mut escaped) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        if !escaped && letter == separator {
            parts.push(&text[from..at]);
            from = at + letter.len_utf8();
        }
        escaped = !escaped && letter == '\\';
    }
    if escaped {
        return Err(BadName);
    }
    parts.push(&text[from..]);
    Ok(parts)
}

fn attribute(text: &str) -> Result<(String, Value), BadName> {
    let (kind, value) = text.split_once('=').ok_or(BadName)?;
    let kind = kind.trim();
    let known = SHORT_NAMES.iter().find(|(short, _)| short.eq_ignore_ascii_case(kind));
    let is_oid = kind.split('.').count() > 1
        && kind.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|digit| digit.is_ascii_digit()));
    let oid = match known {
        Some((_, oid)) => (*oid).to_owned(),
        None if is_oid => kind.to_owned(),
        None => return Err(BadName),
    };
    let value = match value.strip_prefix('#') {
        Some(hex) => Value::Octets(octets(hex).ok_or(BadName)?),
        None => Value::Text(unescaped(value)?),
    };
    Ok((oid, value))
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    if hex.is_empty() || !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

/// The value without its backslashes: `\,` is a comma, `\2c` the octet of one (RFC 4514 §3).
fn unescaped(text: &str) -> Result<String, BadName> {
    let mut found = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let mut here = [0; 4];
        if letter != '\\' {
            if SPECIAL.contains(&letter) {
                return Err(BadName);
            }
            found.extend_from_slice(letter.encode_utf8(&mut here).as_bytes());
            continue;
        }
        let next = letters.next().ok_or(BadName)?;
        if SPECIAL.contains(&next) || matches!(next, ' ' | '#' | '=') {
            found.extend_from_slice(next.encode_utf8(&mut here).as_bytes());
            continue;
        }
        let low = letters.next().and_then(|digit| digit.to_digit(16)).ok_or(BadName)?;
        let high = next.to_digit(16).ok_or(BadName)?;
        found.push(u8::try_from(high * 16 + low).map_err(|_| BadName)?);
    }
    if found.is_empty() {
        return Err(BadName);
    }
    String::from_utf8(found).map_err(|_| BadName)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_written_as_it_is_read() {
        for text in [
            "CN=backend,OU=Payments,O=Acme GmbH,C=DE",
            "CN=a\\,b\\+c\\\\,O=\\#1\\ ",
            "UID=parts+CN=two,DC=example,DC=com",
            "1.3.6.1.4.1.1466.0=#04024869",
            "CN=line\\0abreak",
        ] {
            assert_eq!(name(text).to_string(), text);
        }
    }

    #[test]
    fn spelling_that_means_the_same_is_the_same_name() {
        assert_eq!(name("cn=a\\2cb,2.5.4.10=x"), name("CN=a\\,b,O=x"));
        assert_eq!(name("UID=2+CN=1"), name("CN=1+UID=2"));
    }

    #[test]
    fn order_case_and_number_of_attributes_count() {
        for other in ["O=x,CN=a", "CN=A,O=x", "CN=a", "CN=a,O=x,O=x", "CN=a\\,O\\=x"] {
            assert_ne!(name("CN=a,O=x"), name(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "", "CN", "CN=", "=a", "XX=a", "CN=a,", "CN=a\\", "CN=a\\zz", "CN=a;b", "CN=#0", "1..2=a",
            "CN=\\ff",
        ] {
            assert_eq!(text.parse::<DistinguishedName>(), Err(BadName), "{text:?}");
        }
    }
}
