//! `countersign ready`: what `/readyz` of a service says, for a health check without further programs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::serve::{Service, read, service_of};

/// How long an answer may take. The service's own checks end after a second.
const DEADLINE: Duration = Duration::from_secs(3);

/// Prints the answer; status 1 when the service is not ready or does not answer.
pub(super) async fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let listens = match service_of(file)? {
        Service::Authz => read::<authz::Config>(file)?.ops_listen,
        Service::ResourceApi => read::<resource_api::config::Config>(file)?.ops_listen,
    };
    let address = reachable(*listens.first().context("ops_listen: no address")?);
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build()?;
    let answer = client.get(format!("http://{address}/readyz")).send().await;
    let answer = answer.with_context(|| format!("nothing answers on {address} (ops_listen)"))?;
    let ready = answer.status().is_success();
    println!("{}", answer.text().await?);
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An address that listens everywhere is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}
