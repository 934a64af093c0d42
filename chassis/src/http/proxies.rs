//! Whose word counts about the address of a client behind a load balancer (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use ipnet::IpNet;
use serde::Deserialize;

use super::problem::Problem;
use super::received::PeerAddress;

/// Load balancers in front of a listener. They are believed about the client's address and about nothing else: host
/// and scheme come from the request and the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustedProxies {
    /// Where they connect from. Empty: nobody is believed.
    pub networks: Vec<IpNet>,
    /// The one header that they write. The other, which a client can send through them, is never looked at.
    pub header: ForwardedHeader,
}

/// A header in which load balancers tell whom they speak for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` with `for=` (RFC 7239 §5.2).
    Forwarded,
}

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The nearest address that is no trusted proxy's: read from the right, because every proxy appends, and what
    /// stands further left anybody may have written.
    pub(super) fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if !self.trusts(peer) {
            return client;
        }
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        let hops: Vec<&str> = headers
            .get_all(name)
            .iter()
            .flat_map(|value| value.to_str().unwrap_or("unreadable").split(','))
            .collect();
        for hop in hops.into_iter().rev() {
            let said = match self.header {
                ForwardedHeader::XForwardedFor => address(hop.trim()),
                ForwardedHeader::Forwarded => forwarded_for(hop),
            };
            let Some(said) = said else { break };
            client = said;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

/// The `for` of one element; `None` for `unknown` and obfuscated names (RFC 7239 §6).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for")).map(|(_, node)| node);
    let node = nodes.next().filter(|_| nodes.next().is_none())?;
    address(node.trim_matches('"'))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse::<IpAddr>().ok();
    alone.or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip())).map(|ip| ip.to_canonical())
}

/// The address that a request comes from: the peer's, or what a trusted proxy says of it. For limits and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The address of a request that passed the gate, from its extensions.
    pub fn of(extensions: &http::Extensions) -> Option<Self> {
        extensions.get::<Self>().copied()
    }

    pub(super) fn note(parts: &mut http::Extensions, headers: &HeaderMap, proxies: &TrustedProxies) {
        if let Some(peer) = parts.get::<PeerAddress>().copied() {
            parts.insert(Self(proxies.client_behind(peer.ip(), headers)));
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(&parts.extensions).ok_or_else(Problem::not_behind_the_gate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(header: ForwardedHeader, peer: &str, sent: &[(&'static str, &str)]) -> String {
        let networks = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        let proxies = TrustedProxies { networks, header };
        proxies.client_behind(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_nearest_address_that_is_no_proxys_is_the_client() {
        let of =
            |value: &str| behind(ForwardedHeader::XForwardedFor, "10.0.0.1", &[("x-forwarded-for", value)]);
        for (value, client) in [
            ("203.0.113.9", "203.0.113.9"),
            ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("1.2.3.4, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
            ("[2001:db8::9]:80", "2001:db8::9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, unknown", "10.0.0.1"),
            ("10.0.0.7", "10.0.0.7"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(of(value), client, "{value:?}");
        }
    }

    #[test]
    fn several_header_lines_are_one_list() {
        let sent = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(behind(ForwardedHeader::XForwardedFor, "10.0.0.1", &sent), "203.0.113.9");
    }

    #[test]
    fn a_peer_that_is_no_proxy_is_not_believed() {
        let sent = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];
        assert_eq!(behind(ForwardedHeader::XForwardedFor, "192.0.2.1", &sent), "192.0.2.1");
        assert_eq!(behind(ForwardedHeader::Forwarded, "192.0.2.1", &sent), "192.0.2.1");
    }

    #[test]
    fn only_the_header_that_the_proxies_write_is_read() {
        let sent = [("forwarded", "for=198.51.100.1"), ("x_forwarded_for", "198.51.100.2")];
        assert_eq!(behind(ForwardedHeader::XForwardedFor, "10.0.0.1", &sent), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let of = |value: &str| behind(ForwardedHeader::Forwarded, "2001:db8:1::1", &[("forwarded", value)]);
        for (value, client) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=1.2.3.4, for=192.0.2.60", "192.0.2.60"),
            ("for=192.0.2.60;for=1.2.3.4", "2001:db8:1::1"),
            ("for=_hidden", "2001:db8:1::1"),
            ("for=unknown", "2001:db8:1::1"),
        ] {
            assert_eq!(of(value), client, "{value:?}");
        }
    }
}
