//! Payments that monitoring does not let through: one refused, one reviewed and then decided by a second client.

use anyhow::{Context, ensure};
use serde_json::json;

use super::backend::{Backend, random_text, text};
use super::client::{Call, basic};
use super::fiat_in::{app_call, one_time_token, payment};
use super::print;

/// VEL-1 lets this many payments of one customer through within an hour; the next waits for a person.
const PAYMENTS_PER_HOUR: usize = 5;

/// A payment above what the customer's KYC level allows.
pub(crate) async fn refused(backend: &mut Backend) -> anyhow::Result<()> {
    print::chapter("A payment that is refused: 9,000.00 EUR from a customer nobody has verified");
    let customer = backend.customer_with_wallet("grace").await?;
    let token = one_time_token(backend, &customer, 900_000).await?;
    let body = payment(&customer, 900_000, "tok_success");
    let answer = backend.http.expect(201, &app_call(backend, &token, &body)?).await?;
    ensure!(answer["state"] == "refused", "the payment was not refused: {answer}");
    let event = backend.webhook("fiat_in.refused", &text(&answer, "id")?).await?;
    ensure!(event["data"]["state"] == "refused", "the event says otherwise: {event}");
    print::held("refused without a word about lists or limits; the gateway was never called");
    Ok(())
}

/// One payment too many within the hour: reviewed, and accepted by a client that did not make it.
pub(crate) async fn reviewed(backend: &mut Backend) -> anyhow::Result<()> {
    print::chapter("A payment that is reviewed: the sixth within an hour");
    let customer = backend.customer_with_wallet("alan").await?;
    print::note("five small payments first, not shown");
    for _ in 0..PAYMENTS_PER_HOUR {
        let call = backend_order(backend, &customer.customer_id, payment(&customer, 100, "tok_success"))?;
        let answer = backend.http.quiet(&call).await?;
        ensure!(answer.status == 201, "a small payment answered {}: {}", answer.status, answer.body);
    }
    let call = backend_order(backend, &customer.customer_id, payment(&customer, 100, "tok_success"))?;
    let order = backend.http.expect(202, &call).await?;
    ensure!(order["state"] == "in_review", "the sixth payment was not reviewed: {order}");
    let review = find_review(backend, &text(&order, "id")?).await?;

    print::step("a", "acme-signed made the order and lacks reviews:decide; acme-reviewer decides");
    let url = format!("{}/v1/reviews/{review}/accept", backend.credentials.resource);
    let body = json!({ "reason": "known customer, salary day" });
    let call = Call::post_json(&url, &body)?
        .bearer(&reviewer_token(backend).await?)?
        .header("idempotency-key", &random_text())?;
    backend.http.expect(200, &call).await?;
    backend.webhook("fiat_in.completed", &text(&order, "id")?).await?;
    print::held("accepted by a second client, charged and credited");
    Ok(())
}

/// A fiat-in by the backend itself, with its client token and an `Idempotency-Key`.
fn backend_order(backend: &Backend, customer_id: &str, mut body: serde_json::Value) -> anyhow::Result<Call> {
    body["customer"] = json!(customer_id);
    backend.own_post(&format!("{}/v1/fiat-ins", backend.credentials.resource), &body)
}

async fn reviewer_token(backend: &Backend) -> anyhow::Result<String> {
    let reviewer = backend.credentials.client("acme-reviewer")?;
    let fields = [("grant_type", "client_credentials"), ("scope", "reviews:read reviews:decide")];
    let call = Call::post_form(&format!("{}/oauth2/token", backend.credentials.issuer), &fields)?
        .header("authorization", &basic(reviewer)?)?;
    text(&backend.http.expect(200, &call).await?, "access_token")
}

/// The open review of an order.
async fn find_review(backend: &Backend, fiat_in_id: &str) -> anyhow::Result<String> {
    let url = format!("{}/v1/reviews", backend.credentials.resource);
    let call = Call::get(&url).bearer(&reviewer_token(backend).await?)?;
    let reviews = backend.http.expect(200, &call).await?;
    let review = reviews["data"]
        .as_array()
        .and_then(|list| list.iter().find(|review| review["fiat_in_id"] == fiat_in_id))
        .with_context(|| format!("no review of {fiat_in_id} in {reviews}"))?;
    text(review, "id")
}
