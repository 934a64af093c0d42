//! Registering, reading and disabling users.

use chassis::Fault;

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
    app.db
        .write(move |tx| {
            let new = new.clone();
            Box::pin(async move {
                if subjects::insert_subject(tx, &new, now).await? {
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
    let subject = app
        .db
        .write(move |tx| {
            let (reach, change) = (reach.clone(), change.clone());
            Box::pin(async move {
                let subject = subjects::set_subject_status(tx, &reach, &change.object_id, status).await?;
                if subject.is_some() {
                    insert_change(tx, &change, now).await?;
                }
                Ok(subject)
            })
        })
        .await?;
    app.directory.wake();
    Ok(subject)
}
