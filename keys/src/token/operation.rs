//! The operation that a one-time token is bound to, as `authorization_details` (RFC 9396).

use serde_json::{Value, json};

use crate::claims::{BadClaim, Claims};

/// An amount in a currency's minor units.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units, such as cents. Positive in a token.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// The one operation a one-time token is good for (RFC 9396, type `operation`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationGrant {
    /// HTTP method, upper case.
    pub method: String,
    /// The target URI, normalised when the token was issued; compared as text.
    pub uri: String,
    /// The amount the operation must have, if bound.
    pub money: Option<Money>,
    /// The account the operation must be about, if bound.
    pub entity_id: Option<String>,
}

impl OperationGrant {
    /// The `authorization_details` entry.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"type": "operation", "actions": [self.method], "locations": [self.uri]});
        if let Some(money) = &self.money {
            value["money"] = json!({"amount": money.amount, "currency": money.currency});
        }
        if let Some(entity_id) = &self.entity_id {
            value["entity_id"] = entity_id.as_str().into();
        }
        value
    }

    /// Reads the entry back; a member we do not know could be a limit we would not keep, so it refuses.
    fn from_value(value: &Value) -> Option<Self> {
        const KNOWN: [&str; 5] = ["type", "actions", "locations", "money", "entity_id"];
        let members = value.as_object()?;
        if members.keys().any(|name| !KNOWN.contains(&name.as_str())) || members.get("type")? != "operation" {
            return None;
        }
        let only = |name: &str| match members.get(name)?.as_array()?.as_slice() {
            [Value::String(text)] if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let money = members.get("money").map(|money| serde_json::from_value::<Money>(money.clone()).ok());
        let entity_id = members.get("entity_id").map(|id| id.as_str().map(str::to_owned));
        Some(Self {
            method: only("actions")?,
            uri: only("locations")?,
            money: money.map_or(Some(None), |money| money.map(Some))?,
            entity_id: entity_id.map_or(Some(None), |id| id.map(Some))?,
        })
    }
}

pub(super) fn read_operation(claims: &Claims) -> Result<Option<OperationGrant>, BadClaim> {
    let Some(value) = claims.value("authorization_details") else { return Ok(None) };
    let entry = value.as_array().filter(|entries| entries.len() == 1).map(|entries| &entries[0]);
    entry.and_then(OperationGrant::from_value).map(Some).ok_or(BadClaim("authorization_details"))
}
