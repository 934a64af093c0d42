//! What else a payment can go through: the payer's bank asks who they are, and money goes back.

use anyhow::{Context, ensure};
use serde_json::json;

use super::backend::{Backend, text};
use super::client::Call;
use super::fiat_in::{app_call, one_time_token, payment};
use super::print;

/// 3-D Secure, then a refund of a part.
pub(crate) async fn proved_and_refunded(backend: &mut Backend) -> anyhow::Result<()> {
    print::chapter("The payer's bank asks who they are (3-D Secure), and 5.00 EUR of 20.00 go back");
    let customer = backend.customer_with_wallet("barbara").await?;
    let token = one_time_token(backend, &customer, 2_000).await?;
    let body = payment(&customer, 2_000, "tok_requires_action");
    let order = backend.http.expect(202, &app_call(backend, &token, &body)?).await?;
    ensure!(order["state"] == "requires_action", "nobody was asked: {order}");
    let page = order.pointer("/next_action/redirect_url").and_then(|url| url.as_str());
    let page = page.with_context(|| format!("no page to go to: {order}"))?;
    print::step("a", "the customer confirms on the bank's page");
    let confirmed = backend.http.quiet(&Call::post_form(page, &[("outcome", "confirm")])?).await?;
    ensure!(confirmed.status == 200, "the bank's page answered {}", confirmed.status);
    let fiat_in_id = text(&order, "id")?;
    backend.webhook("fiat_in.completed", &fiat_in_id).await?;
    print::held("the gateway told us by an event of its own; the wallet is credited");

    print::step("b", "the backend gives a part back");
    let url = format!("{}/v1/fiat-ins/{fiat_in_id}", backend.credentials.resource);
    let ask = json!({ "amount": 500, "reason": "one item less" });
    let refund = backend.post(201, &format!("{url}/refunds"), &ask).await?;
    ensure!(refund["state"] == "succeeded", "the refund did not succeed: {refund}");
    let order = backend.get(&url).await?;
    ensure!(
        order["state"] == "partially_refunded" && order.pointer("/refunds/refunded") == Some(&json!(500)),
        "the order says otherwise: {order}"
    );
    print::held("set aside in the wallet before the gateway was asked, and never more than was paid in");
    Ok(())
}
