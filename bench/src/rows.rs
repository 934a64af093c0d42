//! The rows, in the order of the table, each measured right after its floor.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::time::Instant;

use crate::load::{Load, Requests, drive, request};
use crate::process::Server;
use crate::product::{FORM, JSON, Product};
use crate::table::{self, Row};
use crate::{floor, guarded, money};

/// Connections of every load.
pub(crate) const CONNECTIONS: usize = 32;
/// One-time tokens issued, and payments made with them, in the two rows that need fresh requests.
const ORDERS: usize = 2_000;
/// Loads of one row; the one with the median CPU counts.
const ROUNDS: usize = 3;

/// A floor server and its port.
struct Floor {
    server: Server,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Floor {
    async fn start(mode: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let arguments = [mode.to_owned(), folder.path().display().to_string()];
        let mut server = Server::start(&std::env::current_exe()?, &arguments)?;
        let file = folder.path().join("port");
        server.wait_for_file(&file).await?;
        let port = std::fs::read_to_string(&file)?.parse()?;
        Ok(Self { server, port, _folder: folder })
    }
}

/// Measures and prints everything.
pub(crate) async fn measure_all(time: Duration) -> anyhow::Result<()> {
    let floor = Floor::start("floor").await?;
    let guarded = Floor::start("guarded").await?;
    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    let product = Product::start(folder.path(), &[]).await?;
    let first_start = (began.elapsed(), product.server.cpu_seconds()?);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle_mib = product.server.resident_mib()?;

    let mut rows = Vec::new();
    reads(&mut rows, &floor, &guarded, &product, time).await?;
    writes(&mut rows, &floor, &product, time).await?;
    table::print(&rows);
    let loaded_mib = product.server.resident_mib()?;
    println!();
    println!(
        "Memory, both services and the sandbox gateway in one process: {idle_mib:.0} MiB idle, {loaded_mib:.0} MiB loaded."
    );
    println!(
        "First start on an empty folder (keys made, tables created, users seeded): {} ms, {:.0} ms CPU.",
        first_start.0.as_millis(),
        first_start.1 * 1000.0
    );
    drop(product);
    let began = Instant::now();
    let again = Product::start(folder.path(), &[]).await?;
    println!(
        "Start on an existing folder: {} ms, {:.0} ms CPU.",
        began.elapsed().as_millis(),
        again.server.cpu_seconds()? * 1000.0
    );
    Ok(())
}

/// One load against one server, as a row. Runs [`ROUNDS`] times and keeps the median by CPU.
async fn row(
    name: &'static str,
    server: &Server,
    port: u16,
    requests: impl Fn() -> Requests,
) -> anyhow::Result<Row> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(one_load(name, server, port, requests()).await?);
    }
    rounds.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    rounds.into_iter().nth(ROUNDS / 2).context("a round")
}

pub(crate) async fn one_load(
    name: &'static str,
    server: &Server,
    port: u16,
    requests: Requests,
) -> anyhow::Result<Row> {
    one_load_over(CONNECTIONS, name, (server, port), requests).await
}

/// [`one_load`] over another number of connections.
pub(crate) async fn one_load_over(
    connections: usize,
    name: &'static str,
    (server, port): (&Server, u16),
    requests: Requests,
) -> anyhow::Result<Row> {
    let before = server.cpu_seconds()?;
    let load: Load = drive(port, connections, requests).await.with_context(|| name.to_owned())?;
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let cpu_us = (server.cpu_seconds()? - before) * 1e6 / load.answers as f64;
    Ok(Row {
        name,
        cpu_us,
        per_second: load.per_second(),
        p50_us: load.latency_us(0.5),
        p99_us: load.latency_us(0.99),
        against: None,
        remark: String::new(),
    })
}

fn repeat(bytes: Vec<u8>, time: Duration) -> impl Fn() -> Requests {
    let list = Arc::new(vec![bytes]);
    move || Requests::Repeat(Arc::clone(&list), time)
}

pub(crate) fn over(mut row: Row, floor: (&'static str, f64), target: f64) -> Row {
    row.against = Some((floor.0, floor.1, target));
    row
}

async fn reads(
    rows: &mut Vec<Row>,
    floor: &Floor,
    guarded: &Floor,
    product: &Product,
    time: Duration,
) -> anyhow::Result<()> {
    let at_floor = |method, path: &'static str, headers: &[(&str, &str)], body: &[u8]| {
        request(method, "localhost", path, headers, body)
    };
    let fixed = row(
        "floor: fixed JSON",
        &floor.server,
        floor.port,
        repeat(at_floor("GET", "/fixed", &[], b""), time),
    )
    .await?;
    let fixed_us = fixed.cpu_us;
    rows.push(fixed);
    let (authz, authority) = (product.port("/issuer")?, product.authority("/issuer")?);
    for (name, path) in [("JWKS", "/oauth2/jwks"), ("discovery", "/.well-known/oauth-authorization-server")] {
        let bytes = request("GET", &authority, path, &[], b"");
        let measured = row(name, &product.server, authz, repeat(bytes, time)).await?;
        rows.push(over(measured, ("fixed JSON", fixed_us), 1.5));
    }
    let form = format!("client_id=floor&client_secret={}", floor::CLIENT_SECRET);
    let composite = at_floor("POST", "/token", &[("content-type", FORM)], form.as_bytes());
    let composite =
        row("floor: client read + hash + ES256", &floor.server, floor.port, repeat(composite, time)).await?;
    let composite_us = composite.cpu_us;
    rows.push(composite);
    let bytes = product.client_credentials_request()?;
    let measured = row("client_credentials", &product.server, authz, repeat(bytes, time)).await?;
    rows.push(over(measured, ("composite", composite_us), 0.8));

    let bearer = format!("Bearer {}", floor::bearer()?);
    let verify = at_floor("GET", "/verified", &[("authorization", &bearer)], b"");
    let verify = row("floor: ES256 verify", &floor.server, floor.port, repeat(verify, time)).await?;
    let verify_us = verify.cpu_us;
    rows.push(verify);
    let bearer = format!("Bearer {}", guarded::bearer()?);
    let bytes = request("GET", "localhost", "/verified", &[("authorization", &bearer)], b"");
    let measured = row("guard check", &guarded.server, guarded.port, repeat(bytes, time)).await?;
    rows.push(over(measured, ("verify", verify_us), 1.2));
    Ok(())
}

/// The floor of everything durable; gives its CPU microseconds.
async fn grouped_statement(rows: &mut Vec<Row>, floor: &Floor, time: Duration) -> anyhow::Result<f64> {
    let inserts: Vec<Vec<u8>> = (0..40_000)
        .map(|id| {
            request(
                "POST",
                "localhost",
                "/write",
                &[("content-type", "text/plain")],
                format!("{id}").as_bytes(),
            )
        })
        .collect();
    let grouped = one_load(
        "floor: one grouped durable statement",
        &floor.server,
        floor.port,
        Requests::Repeat(Arc::new(inserts), time),
    )
    .await?;
    let grouped_us = grouped.cpu_us;
    rows.push(grouped);
    Ok(grouped_us)
}

async fn writes(rows: &mut Vec<Row>, floor: &Floor, product: &Product, time: Duration) -> anyhow::Result<()> {
    let grouped_us = grouped_statement(rows, floor, time).await?;
    let wallets = money::wallets(product, ORDERS).await?;
    let (authz, authority) = (product.port("/issuer")?, product.authority("/issuer")?);
    let token = product.signed_client_token("user_tokens:write").await?;
    let mut asks = Vec::with_capacity(ORDERS);
    for (external_id, entity_id) in &wallets {
        let body = json!({
            "external_id": external_id, "method": "POST", "url": format!("{}/v1/fiat-ins", product.text("/resource")?),
            "money": { "amount": 1_000, "currency": "EUR" }, "entity_id": entity_id,
        })
        .to_string();
        let headers = product.signed_headers(
            ("POST", "/issuer", "/v1/user-tokens"),
            JSON,
            Some(&token),
            body.as_bytes(),
        )?;
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        asks.push(request("POST", &authority, "/v1/user-tokens", &headers, body.as_bytes()));
    }
    let before = product.statements("authz").await?;
    let mut issued =
        one_load("user token, signed request", &product.server, authz, Requests::Once(Arc::new(asks)))
            .await?;
    let statements = (product.statements("authz").await? - before) / per_order();
    issued.remark = format!("{statements:.1} statements each");
    rows.push(over(issued, ("grouped statement", grouped_us), 1.3 * statements.max(1.0)));
    money::pay(rows, product, &wallets, grouped_us).await?;
    money::transfer(rows, product, &wallets, grouped_us).await
}

/// Measures and prints the rows that move money, beside their floor.
pub(crate) async fn measure_money(time: Duration) -> anyhow::Result<()> {
    let floor = Floor::start("floor").await?;
    let folder = tempfile::tempdir()?;
    let product = Product::start(folder.path(), &[]).await?;
    let mut rows = Vec::new();
    let grouped_us = grouped_statement(&mut rows, &floor, time).await?;
    let wallets = money::wallets(&product, ORDERS).await?;
    money::pay(&mut rows, &product, &wallets, grouped_us).await?;
    money::transfer(&mut rows, &product, &wallets, grouped_us).await?;
    table::print(&rows);
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "a small constant")]
fn per_order() -> f64 {
    ORDERS as f64
}
