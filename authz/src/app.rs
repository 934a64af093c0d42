//! The one shared state.

use std::{ops::Deref, sync::Arc};

use chassis::{Db, Platform, http::RateLimiter, keyring::KeyRing};
use keys::{
    RestoreEpoch,
    dpop::Nonces,
    token::{AccessToken, Scope},
};

use crate::{
    config::Config,
    crypto::secret::SecretMacs,
    directory::DirectoryHead,
    domain::{audience::Audiences, client::Client, partner::Partner},
    http::{discovery::Documents, throttle::Throttle},
    registry::Registry,
    store::directory::{NewChange, ObjectKind},
};

/// Everything a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<State>);

/// What [`App`] dereferences to.
pub struct State {
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) platform: Platform,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) secrets: SecretMacs,
    /// What a restore of the database has voided.
    pub(crate) epoch: RestoreEpoch,
    /// Nonces of DPoP proofs.
    pub(crate) dpop_nonces: Nonces,
    pub(crate) registry: Registry,
    pub(crate) directory: DirectoryHead,
    pub(crate) throttle: Throttle,
    /// How often networks and clients may ask.
    pub(crate) rates: RateLimiter,
    pub(crate) audiences: Audiences,
    /// `aud` of client assertions, and of the endpoint for clients that may name it.
    pub(crate) token_endpoint: String,
    pub(crate) operation_origins: Vec<String>,
    /// What discovery answers.
    pub(crate) documents: Documents,
    /// Issued tokens and refusals, on their way to the audit.
    pub(crate) audit: chassis::audit::AuditQueue,
}

impl App {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(state))
    }

    /// A change to record in the unit that makes it.
    pub(crate) fn change(&self, kind: ObjectKind, object_id: &str) -> NewChange {
        NewChange { event_id: self.platform.new_id("dir"), kind, object_id: object_id.to_owned() }
    }

    /// The audit row of a change that `actor` makes, to be written in the unit that makes it.
    pub(crate) fn audited(
        &self,
        actor: chassis::audit::Actor,
        partner_id: &str,
        action: &'static str,
        object_id: &str,
    ) -> chassis::audit::NewAudit {
        chassis::audit::NewAudit::change(&self.platform, actor, partner_id, action, object_id)
    }

    /// Notes an issued token for the audit.
    pub(crate) fn issued(&self, token: &AccessToken) {
        self.audit.issued(chassis::audit::IssuedToken {
            jti: &token.jti,
            sub: &token.sub,
            client_id: &token.client_id,
            partner_id: &token.partner_id,
            kind: token.kind.as_str(),
            audience: &token.aud,
        });
    }

    /// Takes a committed change into the cache and into the feed. When the cache cannot be refreshed now, the
    /// follower of the feed does it within a second.
    pub(crate) async fn published(&self, kind: ObjectKind, object_id: &str) {
        self.directory.wake();
        let changed = vec![(kind.as_str().to_owned(), object_id.to_owned())];
        if let Err(fault) = self.registry.refresh(&self.db, changed).await {
            tracing::warn!(error = &fault as &dyn std::error::Error, "the registry was not refreshed");
        }
    }
}

impl Deref for App {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// A client that proved who it is, and its partner; both active. Nothing else decides who the client is.
#[derive(Debug, Clone)]
pub struct AuthenticatedClient {
    /// The client.
    pub client: Arc<Client>,
    /// Its partner.
    pub partner: Arc<Partner>,
}

impl AuthenticatedClient {
    /// Notes who asks, for the audit of a refusal.
    pub(crate) fn note(&self) {
        chassis::http::RequestNotes::asker(&self.client.id, &self.partner.id, "");
    }
}

/// Who calls a management endpoint: a client through its access token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The client and its partner, both active.
    pub who: AuthenticatedClient,
    /// What the token and the client's policy both allow.
    pub scope: Scope,
    /// The token itself.
    pub token: Arc<AccessToken>,
}

impl Caller {
    /// Who acts, for the audit. To be made in the request's own task.
    pub fn actor(&self) -> chassis::audit::Actor {
        chassis::audit::Actor::client(self.who.client.id.as_str(), "")
    }
}
