//! The rows that move money: orders and fast transfers.

use std::sync::Arc;

use anyhow::Context;
use serde_json::json;

use crate::load::{Requests, request};
use crate::product::{JSON, Product, nonce};
use crate::rows::{CONNECTIONS, one_load, one_load_over, over};
use crate::table::Row;

/// Statements of an order when each order was written by statements of its own. Rows of a multi-row statement are
/// not free, so this is what an order is held to.
const ORDER_STATEMENTS: f64 = 21.2;
/// Likewise the statements of a fast transfer.
const TRANSFER_STATEMENTS: f64 = 9.0;
/// Transfers of one row.
const TRANSFERS: usize = 6_000;
/// Connections of the rows of transfers: enough that a batch fills while the one before is made durable.
const TRANSFER_CONNECTIONS: usize = 128;

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Customers with one wallet each: their external ids and wallets.
pub(crate) async fn wallets(product: &Product, orders: usize) -> anyhow::Result<Vec<(String, String)>> {
    let token = product.signed_client_token("customers:write entities:write").await?;
    let resource = product.text("/resource")?.to_owned();
    let mut made = Vec::with_capacity(orders);
    for chunk in 0..orders.div_ceil(CONNECTIONS) {
        let count = CONNECTIONS.min(orders - chunk * CONNECTIONS);
        let one = |_| async {
            let external_id = format!("bench-{}", nonce().to_lowercase());
            let body = json!({ "external_id": external_id, "kind": "person", "country": "DE" }).to_string();
            let customer = product.signed_post(&resource, "/v1/customers", &token, body).await?;
            let body = json!({ "kind": "customer", "owner": customer["id"], "currency": "EUR" }).to_string();
            let entity = product.signed_post(&resource, "/v1/entities", &token, body).await?;
            Ok::<_, anyhow::Error>((external_id, entity["id"].as_str().context("id")?.to_owned()))
        };
        made.extend(futures_util::future::try_join_all((0..count).map(one)).await?);
    }
    Ok(made)
}

/// Orders, one into each wallet, with one-time tokens that were issued before.
pub(crate) async fn pay(
    rows: &mut Vec<Row>,
    product: &Product,
    wallets: &[(String, String)],
    grouped_us: f64,
) -> anyhow::Result<()> {
    let (port, authority) = (product.port("/resource")?, product.authority("/resource")?);
    let backend = product.signed_client_token("user_tokens:write").await?;
    let mut payments = Vec::with_capacity(wallets.len());
    for (external_id, entity_id) in wallets {
        let ask = json!({
            "external_id": external_id, "method": "POST", "url": format!("{}/v1/fiat-ins", product.text("/resource")?),
        })
        .to_string();
        let token = product.signed_post(product.text("/issuer")?, "/v1/user-tokens", &backend, ask).await?;
        let bearer = format!("Bearer {}", token["access_token"].as_str().context("access_token")?);
        let body = json!({
            "entity_id": entity_id, "money": { "amount": 1_000, "currency": "EUR" },
            "payment_method": { "token": "tok_success" }, "client_reference": nonce(),
        })
        .to_string();
        let headers = [("authorization", bearer.as_str()), ("content-type", JSON)];
        payments.push(request("POST", &authority, "/v1/fiat-ins", &headers, body.as_bytes()));
    }
    let before = product.statements("resource-api").await?;
    let mut paid =
        one_load("fiat-in, A + gateway + C", &product.server, port, Requests::Once(Arc::new(payments)))
            .await?;
    let statements = (product.statements("resource-api").await? - before) / count(wallets.len());
    paid.remark =
        format!("{statements:.1} statements each, webhook queueing and the sandbox gateway included");
    rows.push(over(paid, ("grouped statement", grouped_us), 1.3 * ORDER_STATEMENTS));
    Ok(())
}

/// Transfers between many wallets, and from many wallets to one.
pub(crate) async fn transfer(
    rows: &mut Vec<Row>,
    product: &Product,
    wallets: &[(String, String)],
    grouped_us: f64,
) -> anyhow::Result<()> {
    let (port, authority) = (product.port("/resource")?, product.authority("/resource")?);
    let bearer = format!("Bearer {}", product.client_token("transfers:execute").await?);
    let (hot, others) = wallets.split_first().context("a wallet")?;
    for (name, is_hot) in
        [("fast transfer, spread accounts", false), ("fast transfer, into one hot account", true)]
    {
        let asks = (0..TRANSFERS).map(|index| {
            let source = &others[index % others.len()].1;
            let destination = if is_hot { &hot.1 } else { &others[(index + 1) % others.len()].1 };
            let body = json!({
                "source": source, "destination": destination, "client_reference": nonce(),
                "money": { "amount": 1, "currency": "EUR" },
            })
            .to_string();
            let key = nonce();
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", JSON),
                ("idempotency-key", key.as_str()),
            ];
            request("POST", &authority, "/v1/transfers", &headers, body.as_bytes())
        });
        let asks = Requests::Once(Arc::new(asks.collect()));
        let before = product.statements("resource-api").await?;
        let mut row = one_load_over(TRANSFER_CONNECTIONS, name, (&product.server, port), asks).await?;
        let statements = (product.statements("resource-api").await? - before) / count(TRANSFERS);
        row.remark = format!("{statements:.2} statements each, {TRANSFER_CONNECTIONS} connections");
        rows.push(over(row, ("grouped statement", grouped_us), 1.3 * TRANSFER_STATEMENTS));
    }
    Ok(())
}
