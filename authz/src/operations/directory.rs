//! The directory feed: what the resource API must know of partners, clients and users.
//!
//! An entry carries its object's state at the moment of reading, which is never older than the entry's number. So
//! the last state always wins, and taking an entry twice does no harm.

use std::time::Duration;

use chassis::{Fault, Tx};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    app::App,
    domain::{
        client::{Client, ClientKey, KeyUse},
        partner::Partner,
        subject::Subject,
    },
    store::{clients, directory, partners, subjects},
};

/// The version of the entries' shapes.
pub const SCHEMA_VERSION: u32 = 1;
/// Longest wait for a change, seconds.
pub const WAIT_S_MAX: u64 = 10;
/// How many changes one answer holds.
const ENTRIES_MAX: i64 = 500;
/// How many rows are read at once for a snapshot.
const PAGE: i64 = 500;

/// One answer of the feed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Feed {
    /// Version of the entries' shapes.
    pub schema_version: u32,
    /// Whether the entries are everything there is, to replace what is known.
    pub snapshot: bool,
    /// What to pass as `after_seq` next.
    pub seq: i64,
    /// Changes in order, or the whole.
    pub entries: Vec<Entry>,
}

/// One object's state.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Entry {
    /// Number of the change; in a snapshot the snapshot's.
    pub seq: i64,
    /// `partner`, `client` or `subject`; later versions may add kinds.
    pub kind: String,
    /// The object's id.
    pub id: String,
    /// The object.
    pub body: Value,
}

/// The changes after `after_seq`, waiting up to `wait_s` seconds for the first; everything when `after_seq` is absent
/// or is not in the feed any more.
///
/// # Errors
/// When the store fails.
pub async fn read(app: &App, after_seq: Option<i64>, wait_s: u64) -> Result<Feed, Fault> {
    let Some(after) = after_seq else { return app.db.read(|tx| Box::pin(snapshot(tx))).await };
    app.directory.wait_past(after, Duration::from_secs(wait_s.min(WAIT_S_MAX))).await;
    app.db.read(move |tx| Box::pin(changes(tx, after))).await
}

async fn changes(tx: &mut Tx, after: i64) -> Result<Feed, Fault> {
    let head = directory::head(tx).await?;
    let changes = directory::changes_after(tx, after, ENTRIES_MAX).await?;
    let next = changes.first().map_or(head + 1, |first| first.seq);
    if after < 0 || after > head || next != after + 1 {
        return snapshot(tx).await;
    }
    let mut entries = Vec::with_capacity(changes.len());
    let mut seq = after;
    for change in changes {
        seq = change.seq;
        if let Some(body) = body(tx, &change).await? {
            entries.push(Entry { seq, kind: change.kind, id: change.object_id, body });
        }
    }
    Ok(Feed { schema_version: SCHEMA_VERSION, snapshot: false, seq, entries })
}

async fn body(tx: &mut Tx, change: &directory::Change) -> Result<Option<Value>, Fault> {
    let id = change.object_id.as_str();
    Ok(match change.kind.as_str() {
        "partner" => partners::find_partner(tx, id).await?.as_ref().map(partner_body),
        "client" => clients::find_client(tx, id).await?.as_ref().map(client_body),
        "subject" => subjects::find_subject(tx, "", id).await?.as_ref().map(subject_body),
        _ => None,
    })
}

/// The head is read first, so every object is at least as new as the number that the snapshot carries.
async fn snapshot(tx: &mut Tx) -> Result<Feed, Fault> {
    let seq = directory::head(tx).await?;
    let mut entries = Vec::new();
    let mut put = |kind: &str, id: &str, body: Value| {
        entries.push(Entry { seq, kind: kind.to_owned(), id: id.to_owned(), body });
    };
    let mut after = String::new();
    loop {
        let page = partners::list_partners(tx, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for partner in &page {
            put("partner", &partner.id, partner_body(partner));
        }
    }
    after.clear();
    loop {
        let page = clients::list_clients(tx, "", &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for client in &page {
            put("client", &client.id, client_body(client));
        }
    }
    for subject in subjects::list_not_active(tx).await? {
        put("subject", &subject.sub, subject_body(&subject));
    }
    Ok(Feed { schema_version: SCHEMA_VERSION, snapshot: true, seq, entries })
}

fn partner_body(partner: &Partner) -> Value {
    json!({
        "id": partner.id,
        "alias": partner.alias,
        "status": partner.status,
        "is_platform": partner.is_platform,
        "dialects": partner.dialects,
    })
}

fn client_body(client: &Client) -> Value {
    let keys: Vec<Value> = client.keys_for(KeyUse::Signature).map(ClientKey::published).collect();
    json!({
        "id": client.id,
        "partner_id": client.partner_id,
        "alias": client.settings.alias,
        "status": client.status,
        "scope": client.settings.scope.scope(),
        "profile": client.settings.profile,
        "allowed_origins": client.settings.allowed_origins,
        "signature_keys": keys,
    })
}

fn subject_body(subject: &Subject) -> Value {
    json!({ "id": subject.sub, "partner_id": subject.partner_id, "status": subject.status })
}
