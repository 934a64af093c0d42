//! The main job: the eleven steps of a fiat-in with a one-time user token, and what happens when the same
//! request comes again.

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::backend::{Backend, Customer, random_text, text};
use super::client::{Answer, Call};
use super::print;

/// A finished payment: the request as it was sent, and its answer.
pub(crate) struct Paid {
    pub(crate) customer: Customer,
    pub(crate) token: String,
    pub(crate) body: Value,
    pub(crate) answer: Answer,
}

/// What the customer types into the partner's form. It must never be seen in an event.
pub(crate) fn personal_data() -> Value {
    json!({
        "given_name": "Ada", "family_name": "Beispiel", "birth_date": "1990-12-10",
        "emails": ["ada.beispiel@example.com"],
        "addresses": [{ "line1": "Musterweg 1", "city": "Berlin", "postal_code": "10115", "country": "DE" }],
    })
}

/// The app's request: everything but the token.
pub(crate) fn payment(customer: &Customer, amount: i64, payment_token: &str) -> Value {
    json!({
        "entity_id": customer.entity_id,
        "money": { "amount": amount, "currency": "EUR" },
        "payment_method": { "token": payment_token },
        "client_reference": format!("order-{}", random_text()),
        "pii": personal_data(),
    })
}

/// Steps 1 and 2: the backend asks for a token for exactly this payment.
pub(crate) async fn one_time_token(
    backend: &Backend,
    customer: &Customer,
    amount: i64,
) -> anyhow::Result<String> {
    let asked = json!({
        "external_id": customer.external_id,
        "method": "POST",
        "url": format!("{}/v1/fiat-ins", backend.credentials.resource),
        "money": { "amount": amount, "currency": "EUR" },
        "entity_id": customer.entity_id,
    });
    backend.user_token(&asked).await
}

/// The app's call: the one-time token as bearer, nothing else secret.
pub(crate) fn app_call(backend: &Backend, token: &str, body: &Value) -> anyhow::Result<Call> {
    Call::post_json(&format!("{}/v1/fiat-ins", backend.credentials.resource), body)?.bearer(token)
}

/// Walks the eleven steps.
pub(crate) async fn eleven_steps(backend: &mut Backend) -> anyhow::Result<Paid> {
    print::chapter("A fiat-in of 40.00 EUR in eleven steps");
    print::step("0", "once per customer: register under the partner's own id, open a wallet");
    let customer = backend.customer_with_wallet("ada").await?;
    print::step("1-2", "the backend asks authz for a token for this one payment, and gets it");
    let token = one_time_token(backend, &customer, 4_000).await?;
    print::held("typ operation+jwt: no scope, one method, one address, one amount, one wallet");
    print::step("3-4", "the token goes to the customer's app; the customer fills the partner's form");
    print::step("5", "the app sends the payment itself");
    let body = payment(&customer, 4_000, "tok_success");
    let answer = backend.http.send(&app_call(backend, &token, &body)?).await?;
    ensure!(answer.status == 201 && answer.body["state"] == "completed", "the payment did not complete");
    print::step("6-10", "inside: token spent, personal data sealed, monitoring, gateway, ledger");
    let wallet =
        backend.get(&format!("{}/v1/entities/{}", backend.credentials.resource, customer.entity_id)).await?;
    ensure!(
        wallet.pointer("/balances/available") == Some(&json!(4_000)),
        "the wallet was not credited: {wallet}"
    );
    print::held("the wallet holds 4000 minor units");
    print::step("11", "the webhook, signed, without personal data");
    let event = backend.webhook("fiat_in.completed", &text(&answer.body, "id")?).await?;
    no_personal_data(&event)?;
    print::held("signature verified; none of the form's values is in it");
    Ok(Paid { customer, token, body, answer })
}

/// The same request again (a lost answer), and another request with the same token (an attack).
pub(crate) async fn again(backend: &Backend, paid: &Paid) -> anyhow::Result<()> {
    print::chapter("The answer got lost: the app repeats the very same request");
    let answer = backend.http.send(&app_call(backend, &paid.token, &paid.body)?).await?;
    ensure!(answer == paid.answer, "the repeated request got another answer");
    print::held("the same answer, byte for byte, and no second payment");
    print::chapter("Somebody replays the token with another body");
    let mut other = paid.body.clone();
    other["client_reference"] = json!("order-of-a-thief");
    let answer = backend.http.expect(401, &app_call(backend, &paid.token, &other)?).await?;
    ensure!(answer["code"] == "token_already_used", "the refusal has another code");
    let wallet = format!("{}/v1/entities/{}", backend.credentials.resource, paid.customer.entity_id);
    let wallet = backend.get(&wallet).await?;
    ensure!(wallet.pointer("/balances/available") == Some(&json!(4_000)), "money moved: {wallet}");
    print::held("refused, and the wallet is as it was");
    Ok(())
}

/// Fails when any value of the form appears in the event.
fn no_personal_data(event: &Value) -> anyhow::Result<()> {
    let sent = event.to_string();
    for value in leaves(&personal_data()) {
        // Country codes are two letters that stand in many words; everything else must not be there at all.
        if value.len() > 2 && sent.contains(&value) {
            bail!("the webhook carries {value}");
        }
    }
    Ok(())
}

fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        Value::Object(members) => members.values().flat_map(leaves).collect(),
        _ => Vec::new(),
    }
}
