//! Identity checks: reading the profile, deciding a level.

use chassis::audit::{NewAudit, insert_audit};
use chassis::outbox::{NewEvent, insert_events};
use chassis::{Fault, Outcome, Tx};
use keys::UnixSeconds;
use serde_json::json;

use super::Failure;
use super::views::KycView;
use crate::app::App;
use crate::auth::actor;
use crate::domain::caller::Caller;
use crate::domain::customer::{Customer, CustomerStatus};
use crate::domain::kyc::{KycStatus, LEVEL_MAX};
use crate::domain::pii::Pii;
use crate::domain::refusal::Refusal;
use crate::store;
use crate::store::kyc::{Decided, NewDecision, PastDecision};

/// The profile of a customer the caller may see.
///
/// # Errors
/// 404 for a customer that does not exist, is another tenant's, or is not the caller's own.
pub async fn find(app: &App, caller: &Caller, customer_id: &str) -> Result<KycView, Failure> {
    let customer = super::customers::find(app, caller, customer_id).await?;
    let (partner_id, id) = (customer.partner_id.clone(), customer.customer_id.clone());
    let profile = app
        .db
        .read(move |tx| Box::pin(async move { store::kyc::find_profile(tx, &partner_id, &id).await }))
        .await?;
    Ok(KycView::new(&customer, profile))
}

/// The decisions about a customer, oldest first; only the one with this id, if one is given.
///
/// # Errors
/// The store's fault.
pub async fn decisions(
    app: &App,
    customer: &Customer,
    decision_id: Option<&str>,
) -> Result<Vec<PastDecision>, Failure> {
    let (partner_id, id) = (customer.partner_id.clone(), customer.customer_id.clone());
    let wanted = decision_id.unwrap_or_default().to_owned();
    let found = app
        .db
        .read(move |tx| {
            let (partner_id, id, wanted) = (partner_id.clone(), id.clone(), wanted.clone());
            Box::pin(async move { store::kyc::list_decisions(tx, (&partner_id, &id), &wanted).await })
        })
        .await?;
    Ok(found)
}

/// Asks for a look at a customer's identity, after storing personal data that came along. It runs in the background.
///
/// # Errors
/// 403 `customer_blocked` for a customer that is not active.
pub async fn ask(app: &App, caller: &Caller, customer: &Customer, pii: &Pii) -> Result<(), Failure> {
    let sealed = app.vault.seal(&customer.partner_id, &customer.sub, pii, &*app.platform.entropy)?;
    let (now, id) = (app.platform.now(), customer.customer_id.as_str());
    let audit =
        NewAudit::change(&app.platform, actor(caller), &customer.partner_id, "customer.kyc_asked", id);
    let (partner_id, customer_id) = (customer.partner_id.clone(), customer.customer_id.clone());
    app.db
        .write_or_undo(move |tx| {
            let (sealed, audit) = (sealed.clone(), audit.clone());
            let (partner_id, customer_id) = (partner_id.clone(), customer_id.clone());
            Box::pin(async move {
                let found = store::customers::lock(tx, &partner_id, &customer_id).await?;
                let active = |customer: &Customer| {
                    !matches!(customer.status, CustomerStatus::Blocked | CustomerStatus::Closed)
                };
                let Some(mut customer) = found.filter(active) else {
                    let refusal = Refusal::forbidden("customer_blocked", "the customer is not active");
                    return Ok(Outcome::Undo(Err(refusal)));
                };
                let changed = store::pii::update_pii(tx, &mut customer, &sealed, now).await?;
                if !changed {
                    store::kyc::enqueue(tx, (&partner_id, &customer_id), now).await?;
                }
                insert_audit(tx, &[audit.with(json!({ "changed": changed }))]).await?;
                Ok(Outcome::Commit(Ok(())))
            })
        })
        .await??;
    Ok(())
}

/// A level somebody decided.
#[derive(Debug, Clone)]
pub struct LevelDecision {
    /// The tenant.
    pub partner_id: String,
    /// The customer.
    pub customer_id: String,
    /// 0 to 5.
    pub level: i64,
    /// Who decided; shown in the decision row.
    pub decided_by: String,
    /// `kyd_…`
    pub decision_id: String,
    /// `evt_…`
    pub event_id: String,
    /// The moment.
    pub now: UnixSeconds,
}

/// Sets a customer's level by a decision row: the only way to a level above what the rules can compute.
///
/// # Errors
/// A fault, also for a level that does not exist.
pub async fn set_level(tx: &mut Tx, ask: &LevelDecision) -> Result<Decided, Fault> {
    if !(0..=LEVEL_MAX).contains(&ask.level) {
        return Err(Fault::new("set a KYC level: there is no such level"));
    }
    let decision = NewDecision {
        partner_id: ask.partner_id.clone(),
        decision_id: ask.decision_id.clone(),
        customer_id: ask.customer_id.clone(),
        level: ask.level,
        status: KycStatus::Approved,
        missing_fields: Vec::new(),
        reason_codes: Vec::new(),
        decided_by: ask.decided_by.clone(),
        pii_version: None,
        now: ask.now,
    };
    apply(tx, &decision, &ask.event_id).await
}

/// Applies a decision and, if it changed anything, tells the partner.
///
/// # Errors
/// A fault.
pub async fn apply(tx: &mut Tx, decision: &NewDecision, event_id: &str) -> Result<Decided, Fault> {
    let decided = store::kyc::decide(tx, decision).await?;
    if decided == Decided::Changed {
        let customer = store::customers::find(tx, &decision.partner_id, &decision.customer_id).await?;
        let external_id = customer.map(|customer| customer.external_id);
        insert_events(tx, &[event(decision, external_id.as_deref(), event_id)]).await?;
    }
    Ok(decided)
}

fn event(decision: &NewDecision, external_id: Option<&str>, event_id: &str) -> NewEvent {
    NewEvent {
        event_id: event_id.to_owned(),
        partner_id: decision.partner_id.clone(),
        kind: "kyc.updated",
        occurred_at: decision.now,
        data: json!({
            "customer_id": decision.customer_id,
            "external_id": external_id,
            "decision_id": decision.decision_id,
            "level": decision.level,
            "status": decision.status.as_str(),
            "missing_fields": decision.missing_fields,
            "reason_codes": decision.reason_codes,
        }),
    }
}
