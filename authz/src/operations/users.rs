//! Registering, reading and disabling users.

use chassis::{
    Fault,
    audit::{NewAudit, insert_audit},
};

use crate::{
    app::{App, Caller},
    domain::{
        Status,
        subject::{ExternalId, Subject},
    },
    operations::tenant,
    store::{
        directory::{ObjectKind, insert_change},
        subjects,
    },
};

/// Registers the partner's user, or finds it registered. The flag says whether it is new.
///
/// # Errors
/// When the store fails.
pub async fn register(
    app: &App,
    caller: &Caller,
    partner_id: String,
    external_id: ExternalId,
) -> Result<(Subject, bool), Fault> {
    let now = app.platform.now();
    let new = Subject {
        sub: app.platform.new_id("usr"),
        partner_id,
        external_id: external_id.as_str().to_owned(),
        status: Status::Active,
    };
    let audit = app.audited(caller.actor(), &new.partner_id, "user.registered", &new.sub);
    app.db
        .write(move |tx| {
            let (new, audit) = (new.clone(), audit.clone());
            Box::pin(async move {
                if subjects::insert_subject(tx, &new, now).await? {
                    insert_audit(tx, &[audit]).await?;
                    return Ok((new, true));
                }
                let known = subjects::find_registered(tx, &new.partner_id, &new.external_id).await?;
                known
                    .map(|subject| (subject, false))
                    .ok_or_else(|| Fault::new("a registered subject vanished"))
            })
        })
        .await
}

/// The user `sub` within the caller's reach.
///
/// # Errors
/// When the store fails.
pub async fn find(app: &App, caller: &Caller, sub: String) -> Result<Option<Subject>, Fault> {
    let reach = tenant::reach(caller);
    app.db.read(move |tx| Box::pin(async move { subjects::find_subject(tx, &reach, &sub).await })).await
}

/// Sets the user's state and publishes it. `None` when the caller's reach has no such user.
///
/// # Errors
/// When the store fails.
pub async fn set_status(
    app: &App,
    caller: &Caller,
    sub: String,
    status: Status,
) -> Result<Option<Subject>, Fault> {
    let reach = tenant::reach(caller);
    let now = app.platform.now();
    let change = app.change(ObjectKind::Subject, &sub);
    let action = if status == Status::Active { "user.enabled" } else { "user.disabled" };
    let audit = app.audited(caller.actor(), "", action, &sub);
    let subject = app
        .db
        .write(move |tx| {
            let (reach, change, audit) = (reach.clone(), change.clone(), audit.clone());
            Box::pin(async move {
                let subject = subjects::set_subject_status(tx, &reach, &change.object_id, status).await?;
                if let Some(subject) = &subject {
                    insert_change(tx, &change, now).await?;
                    let audit = NewAudit { partner_id: subject.partner_id.clone(), ..audit };
                    insert_audit(tx, &[audit]).await?;
                }
                Ok(subject)
            })
        })
        .await?;
    app.directory.wake();
    Ok(subject)
}
