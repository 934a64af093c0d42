//! The ways in which a partner's webhooks may be written, beside Standard Webhooks.

/// The vendor PTI's: a JWE around a JWS, in its own words.
pub const PTI: &str = "pti";

/// The families of events that PTI has a message for.
pub const PTI_FAMILIES: [&str; 5] = ["customer", "kyc", "monitoring", "fiat_in", "transfer"];
