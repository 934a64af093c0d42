//! `countersign gateway-events`: events of the payment gateway that do not fit and wait for a person.

use std::process::ExitCode;

use chassis::Platform;
use chassis::db::{Db, DbOptions};
use resource_api::operations::parked_events::{Verdict, decide_parked, parked};
use resource_api::store::gateway_events::StoredGatewayEvent;

use super::ledger::Where;

/// Which event, and what was found out about it.
#[derive(clap::Args)]
pub(super) struct Decision {
    /// The event's id, as the list has it.
    event_id: String,
    /// The gateway that sent it.
    #[arg(long, value_name = "NAME", default_value = "sandbox")]
    provider: String,
    /// What was found out; kept in the audit, so without personal data.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    place: Where,
}

/// Lists what is parked.
pub(super) async fn list(place: Where) -> anyhow::Result<ExitCode> {
    let db = Db::open(&place.database_url()?, &DbOptions::default()).await?;
    let events = parked(&db).await;
    db.close().await;
    let events = events?;
    for event in &events {
        println!("{}", line(event));
    }
    println!("{} parked", events.len());
    Ok(ExitCode::SUCCESS)
}

/// One line: gateway, event, type, our id, the gateway's id, charge, money, when, why.
fn line(event: &StoredGatewayEvent) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let amount = event.amount.map_or_else(|| "-".to_owned(), |amount| amount.to_string());
    format!(
        "{} {} {} {} {} charge {} {amount} {} at {}: {}",
        event.provider,
        event.event_id,
        event.kind,
        text(&event.reference),
        text(&event.provider_ref),
        text(&event.charge_id),
        text(&event.currency),
        event.received_at_s,
        text(&event.reason),
    )
}

/// Has a parked event tried again, or leaves it aside; status 1 when there is none of that id.
pub(super) async fn decide(decision: Decision, verdict: Verdict) -> anyhow::Result<ExitCode> {
    let Decision { event_id, provider, note, place } = decision;
    let db = Db::open(&place.database_url()?, &DbOptions::default()).await?;
    let decided =
        decide_parked(&db, &Platform::system(false), (&provider, &event_id), (verdict, &note)).await;
    db.close().await;
    if decided? {
        println!(
            "{event_id}: {}",
            if verdict == Verdict::Again { "is tried again" } else { "is left aside" }
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("{event_id}: no event of {provider} with this id is parked");
    Ok(ExitCode::FAILURE)
}
