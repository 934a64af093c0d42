//! Creating, reading and disabling partners: the platform's business.

use chassis::{Fault, audit::insert_audit};
use serde_json::json;

use crate::{
    app::{App, Caller},
    domain::{
        Status,
        partner::{Dialect, Partner},
    },
    store::{
        directory::{ObjectKind, insert_change},
        partners,
    },
};

/// What a new partner is made from.
#[derive(Debug, Clone)]
pub struct NewPartner {
    /// The operator's own name, unique.
    pub alias: String,
    /// For people.
    pub name: String,
    /// Vendor shapes to switch on.
    pub dialects: Vec<Dialect>,
}

/// Creates a partner; `None` when the alias is taken.
///
/// # Errors
/// When the store fails.
pub async fn create(app: &App, caller: &Caller, new: NewPartner) -> Result<Option<Partner>, Fault> {
    let now = app.platform.now();
    let partner = Partner {
        id: app.platform.new_id("par"),
        alias: new.alias,
        name: new.name,
        status: Status::Active,
        is_platform: false,
        dialects: new.dialects,
    };
    let change = app.change(ObjectKind::Partner, &partner.id);
    let audit = app.audited(caller.actor(), &partner.id, "partner.created", &partner.id);
    let audit = audit.with(json!({ "alias": partner.alias }));
    let row = partner.clone();
    let created = app
        .db
        .write(move |tx| {
            let (row, change, audit) = (row.clone(), change.clone(), audit.clone());
            Box::pin(async move {
                let inserted = partners::insert_partner(tx, &row, now).await?;
                if inserted {
                    insert_change(tx, &change, now).await?;
                    insert_audit(tx, &[audit]).await?;
                }
                Ok(inserted)
            })
        })
        .await?;
    if !created {
        return Ok(None);
    }
    app.published(ObjectKind::Partner, &partner.id).await;
    Ok(Some(partner))
}

/// The partner with this id.
///
/// # Errors
/// When the store fails.
pub async fn find(app: &App, id: String) -> Result<Option<Partner>, Fault> {
    app.db.read(move |tx| Box::pin(async move { partners::find_partner(tx, &id).await })).await
}

/// Up to `limit` partners after `after`.
///
/// # Errors
/// When the store fails.
pub async fn list(app: &App, after: String, limit: i64) -> Result<Vec<Partner>, Fault> {
    app.db.read(move |tx| Box::pin(async move { partners::list_partners(tx, &after, limit).await })).await
}

/// Sets the partner's state and publishes it; `None` when there is none.
///
/// # Errors
/// When the store fails.
pub async fn set_status(
    app: &App,
    caller: &Caller,
    id: String,
    status: Status,
) -> Result<Option<Partner>, Fault> {
    let now = app.platform.now();
    let change = app.change(ObjectKind::Partner, &id);
    let action = if status == Status::Active { "partner.enabled" } else { "partner.disabled" };
    let audit = app.audited(caller.actor(), &id, action, &id);
    let partner = app
        .db
        .write(move |tx| {
            let (change, audit) = (change.clone(), audit.clone());
            Box::pin(async move {
                let partner = partners::set_partner_status(tx, &change.object_id, status).await?;
                if partner.is_some() {
                    insert_change(tx, &change, now).await?;
                    insert_audit(tx, &[audit]).await?;
                }
                Ok(partner)
            })
        })
        .await?;
    app.published(ObjectKind::Partner, &id).await;
    Ok(partner)
}
