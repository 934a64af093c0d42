//! The audit rows of a file that was applied: which members of which object differed, never their values.

use chassis::{
    Platform,
    audit::{Actor, NewAudit, node},
};
use keys::UnixSeconds;
use serde_json::json;

use super::{Applied, Change, PlatformFile};

/// Ids for every object of the file, drawn before the unit, which may run twice.
pub(super) fn draw(platform: &Platform, file: &PlatformFile) -> Vec<String> {
    let objects: usize = file.partners.iter().map(|partner| 1 + partner.clients.len()).sum();
    (0..objects).map(|_| platform.new_id("aud")).collect()
}

/// A row for each difference that was removed.
pub(super) fn rows(applied: &Applied, ids: &[String], now: UnixSeconds) -> Vec<NewAudit> {
    let changes = applied.changes.iter().zip(ids);
    changes.filter_map(|(change, id)| row(applied, change, id, now)).collect()
}

fn row(applied: &Applied, change: &Change, audit_id: &str, now: UnixSeconds) -> Option<NewAudit> {
    let (kind, path) = change.object.split_once(' ')?;
    let alias = path.split('/').next()?;
    let partner = applied.partners.iter().find(|partner| partner.alias == alias)?;
    let client = path.split_once('/').and_then(|(_, client)| applied.client(alias, client));
    let action = match (kind, change.created) {
        ("partner", true) => "partner.created",
        ("partner", false) => "partner.changed",
        (_, true) => "client.created",
        (_, false) => "client.changed",
    };
    let name = |member: &String| member.split(':').next().unwrap_or_default().to_owned();
    let members: Vec<String> = change.members.iter().map(name).collect();
    Some(NewAudit {
        audit_id: audit_id.to_owned(),
        node: node().to_owned(),
        partner_id: partner.id.clone(),
        actor: Actor::node(),
        action,
        object_id: client.map_or_else(|| partner.id.clone(), |client| client.id.clone()),
        occurred_at: now,
        details: json!({ "by": "apply", "object": change.object, "members": members }),
    })
}
