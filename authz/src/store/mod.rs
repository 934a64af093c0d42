//! SQL, one file per table family. Free functions on an open transaction; no rules.

pub mod client_secrets;
pub mod clients;
pub mod directory;
pub mod operations;
pub mod partners;
pub mod subjects;

use chassis::db::Fault;

/// Reads a column that holds one of an enumeration's texts.
fn known<T: std::str::FromStr>(text: &str, column: &'static str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::new(format!("column {column} holds an unknown text")))
}

/// Reads a column that holds JSON.
fn from_json<T: serde::de::DeserializeOwned>(text: &str, column: &'static str) -> Result<T, Fault> {
    serde_json::from_str(text)
        .map_err(|_| Fault::new(format!("column {column} holds other JSON than expected")))
}

/// Writes a column that holds JSON.
fn to_json<T: serde::Serialize>(value: &T, column: &'static str) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|_| Fault::new(format!("column {column} cannot be written as JSON")))
}
