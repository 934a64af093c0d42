//! The other two families of the payments API: verification and transfers.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::backend::Backend;
use super::fiat_in::Paid;
use super::print;

/// How often the KYC profile is asked for until its job has run.
const KYC_TRIES: usize = 50;

/// Reads the customer's KYC profile and moves money between two wallets.
pub(crate) async fn kyc_and_transfer(backend: &mut Backend, paid: &Paid) -> anyhow::Result<()> {
    let base = backend.credentials.resource.clone();
    print::chapter("KYC ran in the background and did not hold the payment up");
    let url = format!("{base}/v1/customers/{}/kyc", paid.customer.customer_id);
    let mut profile = backend.get(&url).await?;
    for _ in 0..KYC_TRIES {
        if profile["level"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        profile = backend.get(&url).await?;
    }
    ensure!(profile["level"] == 1, "the level was not computed: {profile}");
    print::held("level 1: name, e-mail, address and birth date are there");

    print::chapter("A transfer of 15.00 EUR to another customer's wallet");
    let other = backend.customer_with_wallet("edsger").await?;
    let transfer = json!({
        "mode": "fast", "source": paid.customer.entity_id, "destination": other.entity_id,
        "money": { "amount": 1_500, "currency": "EUR" }, "client_reference": format!("gift-{}", other.external_id),
    });
    let answer = backend.post(201, &format!("{base}/v1/transfers"), &transfer).await?;
    ensure!(answer["state"] == "completed", "the transfer did not complete: {answer}");
    for (entity, balance) in [(&paid.customer.entity_id, 2_500), (&other.entity_id, 1_500)] {
        let wallet = backend.get(&format!("{base}/v1/entities/{entity}")).await?;
        ensure!(wallet.pointer("/balances/available") == Some(&json!(balance)), "another balance: {wallet}");
    }
    print::held("25.00 EUR here, 15.00 EUR there, and nothing in between");
    Ok(())
}
