//! Which addresses may be connected to (IANA special-purpose registries, RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Name, Resolve, Resolving};
use url::Host;

use super::FetchError;

/// IPv4 networks that no partner's public service lives in.
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, and the metadata service of most clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The one IPv6 network of public addresses. Loopback, link-local, unique-local, NAT64 and IPv4-mapped addresses lie
/// outside of it.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What inside of it is not public, or wraps an IPv4 address: protocol assignments with Teredo, documentation, 6to4.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn in_v4(address: Ipv4Addr, (network, bits): (Ipv4Addr, u32)) -> bool {
    (u32::from(address) ^ u32::from(network)) >> (32 - bits) == 0
}

fn in_v6(address: Ipv6Addr, (network, bits): (Ipv6Addr, u32)) -> bool {
    (u128::from(address) ^ u128::from(network)) >> (128 - bits) == 0
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|network| in_v4(v4, *network)),
        IpAddr::V6(v6) => in_v6(v6, GLOBAL_V6) && !SPECIAL_V6.iter().any(|network| in_v6(v6, *network)),
    }
}

/// The rule for addresses. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    allow_loopback: bool,
    allow_networks: Arc<[IpNet]>,
}

impl Checked {
    pub(super) fn new(allow_loopback: bool, allow_networks: Vec<IpNet>) -> Self {
        Self { allow_loopback, allow_networks: allow_networks.into() }
    }

    /// An IPv4 address inside an IPv6 one counts as what it is: it would be connected to as such.
    fn allows(&self, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        is_public(plain)
            || (self.allow_loopback && plain.is_loopback())
            || self.allow_networks.iter().any(|network| network.contains(&plain))
    }

    /// Judges a host by its spelling. With `loopback_only` nothing else passes: http is for this machine alone.
    ///
    /// # Errors
    /// [`FetchError::NotAllowed`].
    pub(super) fn judge_host(&self, host: &Host<&str>, loopback_only: bool) -> Result<(), FetchError> {
        let address = match host {
            Host::Ipv4(v4) => IpAddr::V4(*v4),
            Host::Ipv6(v6) => IpAddr::V6(*v6),
            Host::Domain(name) => {
                let local = is_local_name(name);
                return match (loopback_only, local) {
                    (true, false) => Err(FetchError::NotAllowed("http is for this machine only")),
                    (false, true) if !self.allow_loopback => {
                        Err(FetchError::NotAllowed("it is this machine"))
                    }
                    _ => Ok(()),
                };
            }
        };
        if loopback_only && !address.to_canonical().is_loopback() {
            return Err(FetchError::NotAllowed("http is for this machine only"));
        }
        if self.allows(address) { Ok(()) } else { Err(FetchError::NotAllowed("it is not a public address")) }
    }

    /// The allowed addresses of a name; port 0.
    ///
    /// # Errors
    /// [`FetchError::Unresolved`], or [`FetchError::NotAllowed`] when it has addresses and none is allowed.
    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, FetchError> {
        let found = tokio::net::lookup_host((name, 0)).await.map_err(|_| FetchError::Unresolved)?;
        // RFC 6761 §6.3: a local name means the loopback interface, whatever a resolver says.
        let loopback_only = is_local_name(name);
        let (allowed, refused): (Vec<_>, Vec<_>) = found
            .partition(|at| self.allows(at.ip()) && (!loopback_only || at.ip().to_canonical().is_loopback()));
        match (allowed.is_empty(), refused.is_empty()) {
            (false, _) => Ok(allowed),
            (true, true) => Err(FetchError::Unresolved),
            (true, false) => Err(FetchError::NotAllowed("its name leads to no public address")),
        }
    }
}

fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

/// Hands checked addresses to the connector, so that what was checked is what is connected to.
pub(super) struct Resolver(pub(super) Checked);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let checked = self.0.clone();
        Box::pin(async move {
            let addresses = checked.resolve(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00::1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_judged_as_the_address_inside() {
        let strict = Checked::new(false, Vec::new());
        assert!(!strict.allows("::ffff:127.0.0.1".parse().unwrap()));
        assert!(strict.allows("::ffff:8.8.8.8".parse().unwrap()));
        let open = Checked::new(false, vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(open.allows("10.0.0.1".parse().unwrap()));
        assert!(open.allows("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!open.allows("127.0.0.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused() {
        let strict = Checked::new(false, Vec::new());
        let refused = strict.resolve("localhost").await;
        assert_eq!(refused, Err(FetchError::NotAllowed("its name leads to no public address")));
        let found = Checked::new(true, Vec::new()).resolve("localhost").await.unwrap();
        assert!(found.iter().all(|at| at.ip().is_loopback()) && !found.is_empty());
    }
}
