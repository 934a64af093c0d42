//! What the guard asks of its surroundings: who is in good standing, and what was seen before.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use keys::token::{AccessToken, Scope};
use keys::{UnixSeconds, VerifyingKey};

/// How a client must sign its requests, beside presenting a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// It need not.
    #[default]
    None,
    /// RFC 9421, tag `countersign-request`.
    HttpSignature,
    /// The `pti` dialect's `x-pti-signature`.
    PtiJws,
}

/// An active client of an active partner.
#[derive(Debug, Clone, Default)]
pub struct ClientStanding {
    /// The client's id.
    pub client_id: String,
    /// Its partner.
    pub partner_id: String,
    /// Everything its policy allows it.
    pub scope: Scope,
    /// How it signs.
    pub profile: Profile,
    /// Browser origins that may read answers to its tokens, as `scheme://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// The vendor dialects its partner has switched on.
    pub dialects: Vec<String>,
    /// Its request-signature keys by `kid`.
    pub signature_keys: HashMap<String, VerifyingKey>,
}

/// The directory as the guard needs it: an allow list of partners, clients and keys, a deny list of
/// subjects and revoked tokens. Answers from memory.
pub trait Standing: Send + Sync + 'static {
    /// The client, if it and its partner are active.
    fn client(&self, client_id: &str) -> Option<Arc<ClientStanding>>;

    /// Whether the subject is disabled or a revocation names the token's `jti`, `sid`, `sub`,
    /// `client_id` or `partner_id`.
    fn is_denied(&self, token: &AccessToken) -> bool;

    /// Whether any active client registers this browser origin.
    fn knows_origin(&self, origin: &str) -> bool;

    /// Whether there is anything to judge by. Without it nobody is let in.
    fn is_loaded(&self) -> bool;

    /// Whether it is recent enough to move money by.
    fn is_fresh(&self) -> bool;
}

/// The replay memory could not be asked; the request must be turned away, and may be repeated.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the replay memory is unavailable")]
pub struct ReplayUnavailable;

/// Remembers nonces and signatures for as long as they could be replayed, across all processes.
pub trait ReplayMemory: Send + Sync + 'static {
    /// True when `value` of `owner`, a client or a key, is seen for the first time; then it is remembered
    /// durably until `expires_at`. `kind` separates schemes.
    fn remember(
        &self,
        kind: &'static str,
        owner: String,
        value: String,
        expires_at: UnixSeconds,
    ) -> BoxFuture<'static, Result<bool, ReplayUnavailable>>;
}
