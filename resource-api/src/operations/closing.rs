//! The end of a customer: nothing more is done for it, and its rows stay.

use chassis::outbox::{NewEvent, insert_events_by};
use chassis::{Fault, Outcome, Tx};
use keys::UnixSeconds;
use serde_json::json;

use super::Failure;
use crate::app::App;
use crate::auth::actor;
use crate::domain::caller::Caller;
use crate::domain::customer::{Customer, CustomerStatus};
use crate::domain::refusal::Refusal;
use crate::store;

/// Closes a customer. One that is closed already stays so.
///
/// # Errors
/// 404 for one that does not exist or is another tenant's; 409 `orders_open`, `balances_not_zero`.
pub async fn close(app: &App, caller: &Caller, customer_id: &str) -> Result<(), Failure> {
    let (event_id, now) = (app.platform.new_id("evt"), app.platform.now());
    let (partner_id, customer_id, by) = (caller.partner_id.clone(), customer_id.to_owned(), actor(caller));
    app.db
        .write_or_undo(move |tx| {
            let (partner_id, customer_id) = (partner_id.clone(), customer_id.clone());
            let (event_id, by) = (event_id.clone(), by.clone());
            Box::pin(async move {
                let Some(customer) = store::customers::lock(tx, &partner_id, &customer_id).await? else {
                    return Ok(Outcome::Undo(Err(Refusal::not_found("customer"))));
                };
                if customer.status == CustomerStatus::Closed {
                    return Ok(Outcome::Undo(Ok(())));
                }
                if let Some(refusal) = obstacle(tx, &customer).await? {
                    return Ok(Outcome::Undo(Err(refusal)));
                }
                store::customers::close(tx, &partner_id, &customer_id, now).await?;
                insert_events_by(tx, &by, &[event(&customer, &event_id, now)]).await?;
                Ok(Outcome::Commit(Ok(())))
            })
        })
        .await??;
    app.outbox.wake();
    Ok(())
}

/// What has to end before the customer can.
async fn obstacle(tx: &mut Tx, customer: &Customer) -> Result<Option<Refusal>, Fault> {
    let ids = (customer.partner_id.as_str(), customer.customer_id.as_str());
    if store::customers::has_open_orders(tx, ids).await? {
        let detail = "an order of the customer is under way; wait for its end or cancel it";
        return Ok(Some(Refusal::conflict("orders_open", detail)));
    }
    if store::customers::has_money(tx, ids).await? {
        let detail = "a wallet of the customer holds money; move it first";
        return Ok(Some(Refusal::conflict("balances_not_zero", detail)));
    }
    Ok(None)
}

fn event(customer: &Customer, event_id: &str, now: UnixSeconds) -> NewEvent {
    NewEvent {
        event_id: event_id.to_owned(),
        partner_id: customer.partner_id.clone(),
        kind: "customer.closed",
        occurred_at: now,
        data: json!({
            "customer_id": customer.customer_id,
            "external_id": customer.external_id,
            "kind": customer.kind.as_str(),
            "status": CustomerStatus::Closed.as_str(),
            "version": customer.version + 1,
        }),
    }
}
