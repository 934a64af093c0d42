//! Our access tokens on the wire (RFC 9068): their kinds, their scopes, and one validator for them.

mod access_token;
mod kind;
mod operation;
mod scope;
pub mod scopes;

pub use access_token::{AccessToken, Expect, TokenRefusal};
pub use kind::{TokenKind, UnknownKind};
pub use operation::{Money, OperationGrant};
pub use scope::{BadScope, Scope};

/// `typ` of every access token but the operation-bound one (RFC 9068 §2.1).
pub const TYP_ACCESS: &str = "at+jwt";

/// `typ` of a one-time token that is bound to one operation.
pub const TYP_OPERATION: &str = "operation+jwt";

/// How far ahead of our clock `iat` and `nbf` may be, seconds.
pub const SKEW_S: i64 = 10;

/// How long after its `exp` a spent one-time token still repeats its answer, seconds. Its key verifies that long.
pub const ONE_TIME_REPEAT_S: i64 = 86_400;
