//! The same payment as PTI's own client makes it: the vendor's paths, headers and shapes, all on the front door.

use anyhow::ensure;
use keys::pti_jws;
use serde_json::{Value, json};

use super::backend::{Backend, now, random_text, text};
use super::client::{Call, assertion_key};
use super::print;

/// Registers a user, opens a wallet, obtains a user token and funds the wallet with it.
pub(crate) async fn as_their_client(backend: &mut Backend) -> anyhow::Result<()> {
    print::chapter("PTI's own client, unchanged: x-pti-signature, x-pti-token, its paths and shapes");
    let door = backend.credentials.front_door.clone();
    let user = format!("pti-user-{}", random_text().to_lowercase());

    print::step("a", "register the user and its wallet, each request signed by the client's RSA key");
    let person = json!({
        "type": "PERSON", "id": user,
        "name": { "firstName": "Ada", "lastName": "Beispiel" }, "dateOfBirth": "1990-12-10",
        "emails": [{ "address": "ada.beispiel@example.com" }],
        "addresses": [{ "streetAddress": "Musterweg 1", "city": "Berlin", "postalCode": "10115", "country": { "code": "DE" } }],
    });
    backend.http.expect(201, &signed(backend, Call::post_json(&format!("{door}/users"), &person)?)?).await?;
    let wallet = json!({ "type": "FIAT_WALLET", "name": "main", "currency": "EUR" });
    let wallets = format!("{door}/users/{user}/wallets");
    let wallet = backend.http.expect(201, &signed(backend, Call::post_json(&wallets, &wallet)?)?).await?;
    let wallet_id = text(&wallet, "id")?;

    print::step("b", "POST /auth/userToken: a token for this one address");
    let funding = format!("{door}/users/{user}/wallets/fiat/{wallet_id}/funding");
    let asked = json!({ "url": funding });
    let token_call = signed(backend, Call::post_json(&format!("{door}/auth/userToken"), &asked)?)?;
    let token = text(&backend.http.expect(200, &token_call).await?, "accessToken")?;

    print::step("c", "the customer's app funds the wallet with x-pti-token");
    let order = json!({
        "id": format!("order-{}", random_text()), "amount": 20.5, "initiator": person,
        "sourceMethod": { "currency": "EUR", "paymentInformation": {
            "type": "card", "number": "4242424242424242", "cvv": "123", "expirationMonth": 12, "expirationYear": 2030,
        } },
    });
    let call = Call::post_json(&funding, &order)?.header("x-pti-token", &token)?;
    let first = backend.http.send(&call).await?;
    ensure!(first.status == 201, "the funding answered {}", first.status);
    let again = backend.http.quiet(&call).await?;
    ensure!(again == first, "the repeated funding got another answer: {}", again.body);
    print::held("201 with the vendor's acknowledgement; the same request again gets the same answer");

    let wallet = format!("{door}/users/{user}/wallets/{wallet_id}");
    let wallet = backend.http.expect(200, &signed(backend, Call::get(&wallet))?).await?;
    ensure!(holds_20_50(&wallet), "the wallet does not hold 20.50: {wallet}");
    print::held("the wallet holds 20.50 EUR");
    Ok(())
}

/// Signs a request as the vendor's own signer does: a JWS (RS512) over method, body hash, date, client and path.
fn signed(backend: &Backend, call: Call) -> anyhow::Result<Call> {
    let client = backend.credentials.client("pti-backend")?;
    let key = assertion_key(client)?.with_alg(keys::Algorithm::Rs512)?;
    let path = call.path()?;
    let content_type = (!call.body().is_empty()).then_some("application/json");
    let parts = pti_jws::Parts {
        method: call.method(),
        path: &path,
        query: None,
        body: call.body(),
        content_type,
        date: None,
        other_fields: &[],
    };
    let signature = pti_jws::sign(&key, &client.client_id, &parts, now())?;
    call.header("x-pti-client-id", &client.client_id)?.header("x-pti-signature", &signature)
}

fn holds_20_50(wallet: &Value) -> bool {
    wallet["balance"].as_f64().is_some_and(|balance| (balance - 20.5).abs() < f64::EPSILON)
}
