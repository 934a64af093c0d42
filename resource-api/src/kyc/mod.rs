//! The background worker that looks at changed personal data and computes levels offline.
//!
//! It never touches an order: a payment in flight was judged with what was known when it was made. Its result counts
//! for later ones. One node at a time works (leased); each job is decided in one transaction that checks that the
//! personal data is still the version that was looked at.

use std::time::Duration;

use chassis::shutdown::Shutdown;
use chassis::{Fault, Tx};

use crate::app::App;
use crate::domain::customer::Customer;
use crate::domain::kyc::{Subject, assess};
use crate::operations::kyc::apply;
use crate::store;
use crate::store::kyc::{Decided, KycJob, NewDecision};

/// Pause between looks at an empty queue.
const PAUSE: Duration = Duration::from_millis(250);

/// Jobs taken in one go.
const JOBS_MAX: i64 = 32;

/// A job that was not finished is tried again after this long, seconds.
const RETRY_S: i64 = 15;

/// Works off the queue until shutdown.
pub async fn run(app: App, shutdown: Shutdown) {
    let (db, platform) = (app.db.clone(), app.platform.clone());
    chassis::lease::run_leased(db, platform, "kyc", shutdown, move |_held| {
        let app = app.clone();
        Box::pin(async move {
            loop {
                match work_once(&app).await {
                    Ok(0) => {}
                    Ok(jobs) => tracing::debug!(jobs, "KYC jobs done"),
                    Err(fault) => tracing::warn!(%fault, "KYC jobs failed"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
    })
    .await;
}

/// Takes and decides the jobs that are due now; answers how many.
///
/// # Errors
/// A fault of the store. Jobs that were taken and not decided are due again later.
pub async fn work_once(app: &App) -> Result<usize, Fault> {
    let now = app.platform.now();
    let waiting = app.db.read(move |tx| Box::pin(store::kyc::has_due_job(tx, now))).await?;
    if !waiting {
        return Ok(0);
    }
    let jobs = app
        .db
        .write(move |tx| Box::pin(store::kyc::take_due_jobs(tx, now, now.plus(RETRY_S), JOBS_MAX)))
        .await?;
    for job in &jobs {
        // One that fails must not keep the others waiting; it is due again later.
        if let Err(fault) = decide(app, job).await {
            tracing::error!(customer = %job.customer_id, attempt = job.attempt, %fault, "KYC job failed");
        }
    }
    if !jobs.is_empty() {
        app.outbox.wake();
    }
    Ok(jobs.len())
}

async fn decide(app: &App, job: &KycJob) -> Result<(), Fault> {
    let asked = job.clone();
    let found = app.db.read(move |tx| Box::pin(async move { load(tx, &asked).await })).await?;
    let decision = found.map(|(customer, sealed)| judge(app, job, &customer, &sealed)).transpose()?;
    let event_id = app.platform.new_id("evt");
    let job = job.clone();
    app.db
        .write(move |tx| {
            let (job, decision, event_id) = (job.clone(), decision.clone(), event_id.clone());
            Box::pin(async move {
                if let Some(decision) = decision
                    && apply(tx, &decision, &event_id).await? == Decided::Stale
                {
                    // The personal data changed meanwhile; that change has queued the next look.
                    tracing::debug!(customer = %job.customer_id, "KYC job is stale");
                }
                store::kyc::finish_job(tx, &job).await
            })
        })
        .await
}

type Loaded = (Customer, Vec<(String, String)>);

async fn load(tx: &mut Tx, job: &KycJob) -> Result<Option<Loaded>, Fault> {
    let Some(customer) = store::customers::find(tx, &job.partner_id, &job.customer_id).await? else {
        return Ok(None);
    };
    let sealed = store::pii::find_sealed(tx, &customer.partner_id, &customer.sub).await?;
    Ok(Some((customer, sealed)))
}

/// Opens the data, applies the rules, and words the decision. Nothing of the data leaves this function.
fn judge(
    app: &App,
    job: &KycJob,
    customer: &Customer,
    sealed: &[(String, String)],
) -> Result<NewDecision, Fault> {
    let now = app.platform.now();
    let pii = app.vault.open(&customer.partner_id, &customer.sub, sealed)?;
    let subject = Subject {
        kind: customer.kind,
        pii: &pii,
        level: customer.kyc_level,
        status: customer.kyc_status,
        identity_changed: job.identity_changed,
    };
    let found = assess(subject, now);
    Ok(NewDecision {
        partner_id: customer.partner_id.clone(),
        decision_id: app.platform.new_id("kyd"),
        customer_id: customer.customer_id.clone(),
        level: found.level,
        status: found.status,
        missing_fields: found.missing_fields,
        reason_codes: found.reason_codes,
        decided_by: "rules".to_owned(),
        pii_version: Some(customer.pii_version),
        now,
    })
}
