//! The rules of issuing tokens, one file each. Nothing here names HTTP.

pub mod client_credentials;
pub mod user_token;
