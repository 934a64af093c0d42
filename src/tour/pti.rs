//! The same payment as PTI's own client makes it: the vendor's paths, headers and shapes, all on the front door.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use keys::jwe::DecryptionKey;
use keys::{PublicJwk, pti_jws};
use serde_json::{Value, json};

use super::backend::{Backend, now, random_text, text};
use super::client::{Call, assertion_key};
use super::print;

/// Registers a user, opens a wallet, obtains a user token, funds the wallet with it and reads the webhook.
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

    print::step(
        "d",
        "the webhook in the vendor's envelope: JWE to the client's key around a JWS by the platform",
    );
    let settled = |message: &Value| {
        message["resourceType"] == "TRANSACTION_STATUS"
            && message["status"] == "SETTLED"
            && message["requestId"] == order["id"]
    };
    let message = webhook(backend, settled).await.context("the TRANSACTION_STATUS webhook")?;
    print::note(&format!("decrypted with pti-backend's private key: {message}"));
    print::held("its signature holds under the key set of the payments API; ids, states and amounts only");
    Ok(())
}

/// How often the sink is looked at before the tour gives up, and the pause between.
const LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for a delivery in the sink that decrypts to a message which `wanted` accepts.
async fn webhook(backend: &Backend, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let client = backend.credentials.client("pti-backend")?;
    let key = DecryptionKey::new(&assertion_key(client)?)?;
    for _ in 0..LOOKS {
        let list = backend.http.quiet(&Call::get(&backend.credentials.webhook_sink)).await?;
        let bodies = list.body.as_array().into_iter().flatten().filter_map(|entry| entry["body"].as_str());
        for body in bodies {
            let signed = String::from_utf8(key.open(body)?)?;
            let message = verified(backend, &signed).await?;
            if wanted(&message) {
                return Ok(message);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("no such webhook arrived")
}

/// The payload of the inner JWS. The algorithm is pinned, the key is the one that `kid` names in the key set.
async fn verified(backend: &Backend, signed: &str) -> anyhow::Result<Value> {
    let (input, signature) = signed.rsplit_once('.').context("a compact JWS")?;
    let (header, payload) = input.split_once('.').context("a compact JWS")?;
    let header: Value = serde_json::from_slice(&keys::b64::decode(header)?)?;
    ensure!(header["alg"] == "RS512", "the envelope is signed with {}", header["alg"]);
    let url = format!("{}/.well-known/jwks.json", backend.credentials.resource);
    let set = backend.http.quiet(&Call::get(&url)).await?;
    let mut published = set.body["keys"].as_array().into_iter().flatten();
    let jwk = published.find(|jwk| jwk["kid"] == header["kid"]).context("the signing key is published")?;
    let key = PublicJwk::try_from(jwk)?.verifying_key();
    key.verify(keys::Algorithm::Rs512, input.as_bytes(), &keys::b64::decode(signature)?)?;
    Ok(serde_json::from_slice(&keys::b64::decode(payload)?)?)
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
