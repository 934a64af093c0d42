//! Loopback listeners for `countersign dev`: one port on 127.0.0.1 and, where there is IPv6, on `::1`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, bail};
use tokio::net::TcpListener;

/// How often a port picked by the system on IPv4 may be taken on IPv6 before we give up.
const PORT_TRIES: usize = 16;

/// A port on the loopback interface: `8080`, `localhost:8080`, `127.0.0.1:8080` or `[::1]:8080`.
/// Port 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoopbackPort(pub(crate) u16);

impl fmt::Display for LoopbackPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for LoopbackPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self(port));
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            return port.parse().map(Self).map_err(|_| format!("{port:?} is not a port"));
        }
        let address: SocketAddr =
            text.parse().map_err(|_| format!("{text:?} is neither a port nor an address with a port"))?;
        if address.ip().is_loopback() {
            Ok(Self(address.port()))
        } else {
            Err(format!(
                "{address} is not a loopback address: `dev` keeps its secrets in a plain file and never listens \
                 elsewhere; use `countersign authz` and `countersign resource-api` for that"
            ))
        }
    }
}

/// The sockets of one listener and the port they share.
pub(crate) struct Loopback {
    pub(crate) port: u16,
    pub(crate) sockets: Vec<TcpListener>,
}

impl Loopback {
    /// Binds 127.0.0.1, then `::1` on the same number; with port 0 again on a clash.
    ///
    /// # Errors
    /// When the port is taken; the message names the flag that moves it.
    pub(crate) async fn bind(asked: LoopbackPort, flag: &str) -> anyhow::Result<Self> {
        for _ in 0..PORT_TRIES {
            let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, asked.0)).await.with_context(|| {
                format!("port {asked} is taken; choose another with {flag} PORT (0 lets the system choose)")
            })?;
            let port = v4.local_addr()?.port();
            match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
                Ok(v6) => return Ok(Self { port, sockets: vec![v4, v6] }),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    if asked.0 != 0 {
                        bail!("port {asked} is taken on ::1; choose another with {flag} PORT");
                    }
                }
                Err(_) => {
                    tracing::info!(port, "no IPv6 loopback here: listening on 127.0.0.1 alone");
                    return Ok(Self { port, sockets: vec![v4] });
                }
            }
        }
        bail!("no port is free on both 127.0.0.1 and ::1 for {flag}")
    }

    /// `SCHEME://localhost:PORT`.
    pub(crate) fn origin(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_or_with_a_loopback_host_is_taken() {
        for text in ["8080", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
            assert_eq!(text.parse(), Ok(LoopbackPort(8080)), "{text}");
        }
    }

    #[test]
    fn any_address_but_loopback_is_refused() {
        for text in ["0.0.0.0:8080", "[::]:8080", "192.168.1.1:80", "example.com:80", "99999", ""] {
            assert!(text.parse::<LoopbackPort>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn port_zero_gives_one_number_on_both_families() {
        let bound = Loopback::bind(LoopbackPort(0), "--authz-listen").await.expect("a free port");
        assert_ne!(bound.port, 0);
        assert!(
            bound.sockets.iter().all(|socket| socket.local_addr().is_ok_and(|at| at.port() == bound.port))
        );
    }

    #[tokio::test]
    async fn a_taken_port_names_the_flag_that_moves_it() {
        let first = Loopback::bind(LoopbackPort(0), "--authz-listen").await.expect("a free port");
        let Err(error) = Loopback::bind(LoopbackPort(first.port), "--door-listen").await else {
            panic!("the port was bound twice");
        };
        assert!(format!("{error:#}").contains("--door-listen"));
    }
}
