//! The directory in memory: what the guard is answered from. Building it is pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use guard::{ClientStanding, Profile};
use keys::PublicJwk;
use keys::jwe::EncryptionKey;
use keys::token::AccessToken;
use serde::Deserialize;
use serde_json::Value;

use super::store::Entry;

/// A partner as the feed describes it. Members that are not named here are not needed here.
#[derive(Debug, Clone, Deserialize)]
struct PartnerBody {
    status: String,
    #[serde(default)]
    dialects: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct ClientBody {
    partner_id: String,
    #[serde(default)]
    alias: String,
    status: String,
    scope: String,
    #[serde(default)]
    profile: String,
    #[serde(default)]
    allowed_origins: Vec<String>,
    /// Public JWKs, each with the `kid` that signatures name.
    #[serde(default)]
    signature_keys: Vec<Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct SubjectBody {
    status: String,
}

#[derive(Debug, Clone)]
struct Partner {
    active: bool,
    dialects: Vec<String>,
}

/// A client's own state; whether it counts also depends on its partner's.
#[derive(Debug, Clone)]
struct Client {
    active: bool,
    alias: String,
    /// The last of its RSA keys: what it signs requests with also takes messages to it.
    encryption_key: Option<Arc<EncryptionKey>>,
    standing: ClientStanding,
}

/// All that the feed said up to one number.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    partners: HashMap<String, Partner>,
    clients: HashMap<String, Client>,
    denied_subjects: HashSet<String>,
    /// Derived: active clients of active partners.
    standing: HashMap<String, Arc<ClientStanding>>,
    /// Derived: every origin one of them registers.
    origins: HashSet<String>,
}

impl Snapshot {
    /// This snapshot with newer states applied. An object whose body cannot be read counts as
    /// disabled: the allow list fails closed.
    #[must_use]
    pub fn with(&self, entries: &[Entry]) -> Self {
        let mut next = self.clone();
        for entry in entries {
            next.apply(entry);
        }
        next.derive();
        next
    }

    /// An active client of an active partner.
    pub fn client(&self, client_id: &str) -> Option<Arc<ClientStanding>> {
        self.standing.get(client_id).cloned()
    }

    /// The key to which messages for an active client are encrypted, if it registered an RSA key.
    pub fn encryption_key(&self, client_id: &str) -> Option<Arc<EncryptionKey>> {
        self.standing.get(client_id)?;
        self.clients.get(client_id)?.encryption_key.clone()
    }

    /// The name that an active client's partner gave it.
    pub fn alias(&self, client_id: &str) -> Option<String> {
        self.standing.get(client_id)?;
        Some(self.clients.get(client_id)?.alias.clone())
    }

    /// Whether the token's subject may not act.
    pub fn is_denied(&self, token: &AccessToken) -> bool {
        self.denied_subjects.contains(&token.sub)
    }

    /// Whether any active client registers the browser origin.
    pub fn knows_origin(&self, origin: &str) -> bool {
        self.origins.contains(origin)
    }

    /// Whether the partner is known and active.
    pub fn is_active_partner(&self, partner_id: &str) -> bool {
        self.partners.get(partner_id).is_some_and(|partner| partner.active)
    }

    fn apply(&mut self, entry: &Entry) {
        match entry.kind.as_str() {
            "partner" => {
                let partner = read::<PartnerBody>(entry).map_or_else(
                    || Partner { active: false, dialects: Vec::new() },
                    |body| Partner { active: body.status == "active", dialects: body.dialects },
                );
                self.partners.insert(entry.id.clone(), partner);
            }
            "client" => {
                match read::<ClientBody>(entry).and_then(|body| client(&entry.id, body)) {
                    Some(client) => self.clients.insert(entry.id.clone(), client),
                    None => self.clients.remove(&entry.id),
                };
            }
            "subject" => {
                let active = read::<SubjectBody>(entry).is_some_and(|body| body.status == "active");
                if active {
                    self.denied_subjects.remove(&entry.id);
                } else {
                    self.denied_subjects.insert(entry.id.clone());
                }
            }
            kind => tracing::warn!(kind, "the directory feed has a kind that this version does not know"),
        }
    }

    fn derive(&mut self) {
        self.standing.clear();
        self.origins.clear();
        for (client_id, client) in &self.clients {
            let Some(partner) = self.partners.get(&client.standing.partner_id) else { continue };
            if !(client.active && partner.active) {
                continue;
            }
            let standing = ClientStanding { dialects: partner.dialects.clone(), ..client.standing.clone() };
            self.origins.extend(standing.allowed_origins.iter().cloned());
            self.standing.insert(client_id.clone(), Arc::new(standing));
        }
    }
}

fn read<B: for<'de> Deserialize<'de>>(entry: &Entry) -> Option<B> {
    match serde_json::from_str(&entry.body) {
        Ok(body) => Some(body),
        Err(error) => {
            tracing::error!(kind = entry.kind, id = entry.id, %error, "a directory entry cannot be read");
            None
        }
    }
}

/// A client whose profile or scope this version cannot read is left out: it must not act unsigned.
fn client(client_id: &str, body: ClientBody) -> Option<Client> {
    let profile = match body.profile.as_str() {
        "" | "none" => Profile::None,
        "http_sig" => Profile::HttpSignature,
        "pti_jws" => Profile::PtiJws,
        _ => return None,
    };
    let mut signature_keys = HashMap::new();
    let mut encryption_key = None;
    for key in &body.signature_keys {
        match PublicJwk::try_from(key) {
            Ok(jwk) => {
                let kid = jwk.kid().map_or_else(|| jwk.thumbprint(), str::to_owned);
                signature_keys.insert(kid, jwk.verifying_key());
                encryption_key = EncryptionKey::new(&jwk).ok().map(Arc::new).or(encryption_key);
            }
            Err(error) => tracing::error!(client_id, %error, "a client's signature key cannot be read"),
        }
    }
    Some(Client {
        active: body.status == "active",
        alias: body.alias,
        encryption_key,
        standing: ClientStanding {
            client_id: client_id.to_owned(),
            partner_id: body.partner_id,
            scope: body.scope.parse().ok()?,
            profile,
            allowed_origins: body.allowed_origins,
            dialects: Vec::new(),
            signature_keys,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(kind: &str, id: &str, body: &Value) -> Entry {
        Entry { kind: kind.to_owned(), id: id.to_owned(), seq: 1, body: body.to_string() }
    }

    fn two_clients() -> Snapshot {
        Snapshot::default().with(&[
            entry(
                "client",
                "cli_a",
                &json!({"partner_id": "par_a", "status": "active", "scope": "customers:read",
                "profile": "none", "allowed_origins": ["http://localhost:8082"], "signature_keys": []}),
            ),
            entry("partner", "par_a", &json!({"alias": "acme", "status": "active", "dialects": ["pti"]})),
            entry(
                "client",
                "cli_b",
                &json!({"partner_id": "par_a", "status": "disabled", "scope": "",
                "allowed_origins": ["http://evil.example"]}),
            ),
        ])
    }

    #[test]
    fn a_client_counts_while_it_and_its_partner_are_active() {
        let snapshot = two_clients();
        let found = snapshot.client("cli_a").unwrap();
        assert!(found.scope.contains("customers:read"));
        assert_eq!(found.dialects, ["pti"]);
        assert!(snapshot.client("cli_b").is_none());
        assert!(snapshot.client("cli_c").is_none());
        let suspended = snapshot.with(&[entry("partner", "par_a", &json!({"status": "suspended"}))]);
        assert!(suspended.client("cli_a").is_none());
        assert!(!suspended.is_active_partner("par_a"));
    }

    #[test]
    fn only_origins_of_active_clients_are_known() {
        let snapshot = two_clients();
        assert!(snapshot.knows_origin("http://localhost:8082"));
        assert!(!snapshot.knows_origin("http://evil.example"));
    }

    #[test]
    fn what_cannot_be_read_counts_as_disabled() {
        let cases = [
            json!({"partner_id": "par_a", "status": "active"}),
            json!({"partner_id": "par_a", "status": "active", "scope": "customers:read", "profile": "new_one"}),
            json!({"partner_id": "par_a", "status": "active", "scope": "a\u{7f}b"}),
            json!(17),
        ];
        for case in cases {
            let snapshot = two_clients().with(&[entry("client", "cli_a", &case)]);
            assert!(snapshot.client("cli_a").is_none(), "{case}");
        }
        assert!(!two_clients().with(&[entry("partner", "par_a", &json!(null))]).is_active_partner("par_a"));
        assert!(
            two_clients().with(&[entry("subject", "usr_a", &json!({}))]).denied_subjects.contains("usr_a")
        );
    }

    #[test]
    fn a_subject_that_becomes_active_again_is_no_longer_denied() {
        let disabled = two_clients().with(&[entry("subject", "usr_a", &json!({"status": "disabled"}))]);
        assert!(disabled.denied_subjects.contains("usr_a"));
        let enabled = disabled.with(&[entry("subject", "usr_a", &json!({"status": "active"}))]);
        assert!(enabled.denied_subjects.is_empty());
    }
}
