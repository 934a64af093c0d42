//! The signature base (RFC 9421 §2.5) from a member of `Signature-Input`.

use sfv::{BareItem, Dictionary, FieldType as _, InnerList, Item, Key, List, ListEntry, Parser};

use super::Subject;

/// Most components that one signature may cover.
pub const COMPONENTS_MAX: usize = 32;

/// A component that the message does not have, has more than once, or that cannot be covered here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("component {0:?} cannot be covered")]
pub struct BadComponent(pub String);

/// What a signature covers, in order, and its parameters: one member of `Signature-Input` (RFC 9421 §4.1).
#[derive(Debug, Clone, PartialEq)]
pub struct SignatureInput(InnerList);

impl SignatureInput {
    /// Puts together what a new signature covers. `None` when a name or a text is not ASCII.
    pub(super) fn new(components: &[&str], created: i64, texts: &[(&'static str, &str)]) -> Option<Self> {
        let own: Vec<_> = components.iter().map(|name| (*name, false)).collect();
        Self::of_reply(&own, created, texts)
    }

    /// The same for a response, where the flag says that a component is its request's (`req`, RFC 9421 §2.4).
    pub(super) fn of_reply(
        components: &[(&str, bool)],
        created: i64,
        texts: &[(&'static str, &str)],
    ) -> Option<Self> {
        let key = |name: &str| Key::from_string(name.to_owned()).ok();
        let item = |(name, of_request): &(&str, bool)| {
            let mut item = Item::new(sfv::String::from_string((*name).to_owned()).ok()?);
            if *of_request {
                item.params.insert(key(REQ)?, BareItem::Boolean(true));
            }
            Some(item)
        };
        let mut list = InnerList::new(components.iter().map(item).collect::<Option<_>>()?);
        list.params.insert(key("created")?, BareItem::Integer(created.try_into().ok()?));
        for (name, text) in texts {
            let text = sfv::String::from_string((*text).to_owned()).ok()?;
            list.params.insert(key(name)?, BareItem::String(text));
        }
        Some(Self(list))
    }

    /// Reads a whole `Signature-Input` field that has exactly one member, and gives the member's label too.
    /// `None` for anything else.
    pub fn parse(field: &str) -> Option<(String, Self)> {
        if has_second_member(field) {
            return None;
        }
        let mut members: Dictionary = Parser::new(field).parse().ok()?;
        match members.pop()? {
            (label, ListEntry::InnerList(list)) if members.is_empty() => Some((label.into(), Self(list))),
            _ => None,
        }
    }

    /// The member's value in its one serialization (RFC 9651 §4.1.1.1).
    pub fn serialize(&self) -> String {
        let list: List = vec![ListEntry::InnerList(self.0.clone())];
        list.serialize().unwrap_or_default()
    }

    /// The names of the covered components that have no parameters.
    pub fn plain_components(&self) -> impl Iterator<Item = &str> {
        let plain = self.0.items.iter().filter(|item| item.params.is_empty());
        plain.filter_map(|item| item.bare_item.as_string().map(sfv::StringRef::as_str))
    }

    /// A parameter that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.parameter(name)?.as_string().map(sfv::StringRef::as_str)
    }

    /// A parameter that is an integer.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.parameter(name)?.as_integer().map(i64::from)
    }

    /// Whether there is a parameter of this name, of whatever type.
    pub fn has(&self, name: &str) -> bool {
        self.parameter(name).is_some()
    }

    fn parameter(&self, name: &str) -> Option<&BareItem> {
        self.0.params.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
    }

    /// The text that is signed: a line for each component, then `@signature-params`.
    ///
    /// Fields without parameters are supported, `@method`, `@authority`, `@path`, `@query`, `@query-param` and
    /// `@status`; in a response those of its request with `req`.
    ///
    /// # Errors
    /// [`BadComponent`] for a component that is absent, repeated or not supported, or when there are more than
    /// [`COMPONENTS_MAX`].
    pub fn base(&self, subject: &Subject<'_>) -> Result<String, BadComponent> {
        let items = &self.0.items;
        if items.len() > COMPONENTS_MAX {
            return Err(BadComponent("too many".to_owned()));
        }
        let mut base = String::new();
        for (index, item) in items.iter().enumerate() {
            let identifier = item.serialize();
            if items[..index].contains(item) {
                return Err(BadComponent(identifier));
            }
            let name = item.bare_item.as_string().ok_or_else(|| BadComponent(identifier.clone()))?;
            let value = match parameter_of(item)? {
                Parameter::None => subject.component(name.as_str(), None)?,
                Parameter::Name(wanted) => subject.component(name.as_str(), Some(&wanted))?,
                Parameter::OfRequest => {
                    let request = subject.request().ok_or_else(|| BadComponent(identifier.clone()))?;
                    request.component(name.as_str(), None)?
                }
            };
            base.push_str(&identifier);
            base.push_str(": ");
            base.push_str(&value);
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(&self.serialize());
        Ok(base)
    }
}

/// The parameter that says: the component is the request's, which this response answers.
pub(super) const REQ: &str = "req";

/// The component parameters there are here.
enum Parameter {
    None,
    /// `name` of `@query-param`.
    Name(String),
    /// `req`.
    OfRequest,
}

fn parameter_of(item: &Item) -> Result<Parameter, BadComponent> {
    let mut params = item.params.iter();
    match (params.next(), params.next()) {
        (None, _) => Ok(Parameter::None),
        (Some((key, BareItem::String(name))), None) if key.as_str() == "name" => {
            Ok(Parameter::Name(name.as_str().to_owned()))
        }
        (Some((key, BareItem::Boolean(true))), None) if key.as_str() == REQ => Ok(Parameter::OfRequest),
        _ => Err(BadComponent(item.serialize())),
    }
}

/// Whether a dictionary or list has a comma outside its strings, and so a second member. The parser would merge
/// members of one name; two readers that merge differently would then check different signatures.
fn has_second_member(text: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}
