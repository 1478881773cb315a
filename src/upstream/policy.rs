//! Which addresses may be dialled (INTERFACE.md, section 8), judged on the address itself.
//!
//! An address can be written within another: IPv4-mapped, 6to4, NAT64, Teredo. Each face is judged, and one
//! that is denied is enough. Only [`Policy::judge`] makes a [`Permitted`], and only that can be dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use parking_lot::RwLock;

/// Which clients can reach this process's proxy listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Only those on this machine, who can reach its private addresses anyway.
    Loopback,
    /// Others too: private addresses are out of their reach unless allowed.
    Network,
}

/// An address that the policy lets through, in the form that is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permitted(SocketAddr);

impl Permitted {
    /// The address, with IPv4-mapped and unspecified ones already made the address they reach.
    pub fn addr(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an address may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The request would come back to this process.
    #[error("it is burdock's own listener {listener}")]
    Loop {
        /// The listener that would be reached.
        listener: SocketAddr,
    },
    /// `169.254.0.0/16` or `fe80::/10`: where clouds keep their credentials, and never an origin.
    #[error("link-local addresses are out of reach; `upstream.allow` can exempt it")]
    LinkLocal,
    /// In a network of `upstream.deny`.
    #[error("{net} is in `upstream.deny`")]
    Listed {
        /// The network.
        net: IpNet,
    },
    /// Not a public address, and the proxy is open to other machines.
    #[error(
        "{range} addresses are out of reach while the proxy listens beyond loopback; `upstream.allow` can exempt it"
    )]
    NotPublic {
        /// What sort of address it is.
        range: &'static str,
    },
}

/// Listeners of this process that come and go: those of browser contexts. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct PassingListeners(Arc<RwLock<Vec<SocketAddr>>>);

impl PassingListeners {
    /// Keeps requests from `address` while the guard lasts.
    #[must_use]
    pub fn shut(&self, address: SocketAddr) -> Shut {
        let address = canonical_addr(address);
        self.0.write().push(address);
        Shut {
            listeners: self.clone(),
            address,
        }
    }
}

/// An address that requests are kept from.
#[derive(Debug)]
pub struct Shut {
    listeners: PassingListeners,
    address: SocketAddr,
}

impl Drop for Shut {
    fn drop(&mut self) {
        let mut listeners = self.listeners.0.write();
        if let Some(at) = listeners.iter().position(|known| *known == self.address) {
            listeners.swap_remove(at);
        }
    }
}

/// The rules of one process.
///
/// `deny` wins over everything, then a loop; `allow` exempts from the rest.
#[derive(Clone)]
pub struct Policy {
    deny: Vec<IpNet>,
    allow: Vec<IpNet>,
    own: Vec<SocketAddr>,
    passing: PassingListeners,
    exposure: Exposure,
    is_local: fn(IpAddr) -> bool,
}

impl Policy {
    /// The rules of `[upstream]` for a process whose listeners, of all kinds, are bound to `own`.
    pub fn new(
        deny: Vec<IpNet>,
        allow: Vec<IpNet>,
        own: Vec<SocketAddr>,
        exposure: Exposure,
    ) -> Self {
        let canonical = |nets: Vec<IpNet>| nets.into_iter().map(canonical_net).collect();
        Self {
            deny: canonical(deny),
            allow: canonical(allow),
            own: own.into_iter().map(canonical_addr).collect(),
            passing: PassingListeners::default(),
            exposure,
            is_local: is_local_address,
        }
    }

    /// The listeners of this process that come and go.
    pub fn passing(&self) -> &PassingListeners {
        &self.passing
    }

    /// Whether `addr` may be dialled.
    ///
    /// # Errors
    /// [`Denied`] with the rule that forbids it.
    pub fn judge(&self, addr: SocketAddr) -> Result<Permitted, Denied> {
        self.judge_for(addr, self.exposure)
    }

    fn judge_for(&self, addr: SocketAddr, exposure: Exposure) -> Result<Permitted, Denied> {
        let target = SocketAddr::new(reached(addr.ip()), addr.port());
        let faces = || std::iter::once(target.ip()).chain(embedded(target.ip()));
        for face in faces().chain([addr.ip()]) {
            if let Some(net) = self.deny.iter().find(|net| net.contains(&face)) {
                return Err(Denied::Listed { net: *net });
            }
        }
        for face in faces() {
            if let Some(listener) = self.own_listener(SocketAddr::new(face, addr.port())) {
                return Err(Denied::Loop { listener });
            }
        }
        if !self.allows(target.ip()) {
            for face in faces().filter(|face| !self.allows(*face)) {
                judge_range(face, exposure)?;
            }
        }
        Ok(Permitted(match addr {
            // The scope of a link-local IPv6 address is part of where it leads.
            SocketAddr::V6(_) if target.ip() == addr.ip() => addr,
            _ => target,
        }))
    }

    /// Whether `addr`, an upstream proxy's, may be dialled: as [`Self::judge`], but a proxy may be at a private address.
    ///
    /// # Errors
    /// [`Denied`] with the rule that forbids it.
    pub fn judge_proxy(&self, addr: SocketAddr) -> Result<Permitted, Denied> {
        self.judge_for(addr, Exposure::Loopback)
    }

    fn allows(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&ip))
    }

    /// The listener of ours that a connection to `target` would reach.
    fn own_listener(&self, target: SocketAddr) -> Option<SocketAddr> {
        let passing = self.passing.0.read();
        self.own.iter().chain(&*passing).copied().find(|own| {
            own.port() == target.port()
                && (own.ip() == target.ip()
                    || (accepts_family(own.ip(), target.ip()) && (self.is_local)(target.ip())))
        })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("deny", &self.deny)
            .field("allow", &self.allow)
            .field("own", &self.own)
            .field("exposure", &self.exposure)
            .finish_non_exhaustive()
    }
}

fn judge_range(ip: IpAddr, exposure: Exposure) -> Result<(), Denied> {
    if is_link_local(ip) {
        return Err(Denied::LinkLocal);
    }
    match (exposure, not_public(ip)) {
        (Exposure::Network, Some(range)) => Err(Denied::NotPublic { range }),
        _ => Ok(()),
    }
}

/// Whether a listener on the unspecified address `own` accepts connections to addresses like `target`;
/// `[::]` takes IPv4 as well on most systems.
fn accepts_family(own: IpAddr, target: IpAddr) -> bool {
    own.is_unspecified() && (own.is_ipv6() || target.is_ipv4())
}

/// The address that connecting to `ip` reaches: IPv4-mapped ones are IPv4, and the unspecified address is
/// this machine's loopback.
fn reached(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

fn canonical_addr(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// A network within `::ffff:0:0/96` is the IPv4 network it stands for.
fn canonical_net(net: IpNet) -> IpNet {
    let (IpAddr::V4(ip), IpNet::V6(_), Some(len)) = (
        net.addr().to_canonical(),
        net,
        net.prefix_len().checked_sub(96),
    ) else {
        return net;
    };
    Ipv4Net::new(ip, len).map_or(net, IpNet::V4)
}

/// The IPv4 addresses that an IPv6 address can lead to by a translator or tunnel.
fn embedded(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let found = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => embedded_v4(ip),
    };
    found.map(|ip| reached(ip.into())).into_iter()
}

fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let [.., high, low] = segments;
    match segments {
        // Loopback and unspecified are no IPv4-compatible addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // IPv4-compatible (RFC 4291, section 2.5.5.1), IPv4-translated (RFC 2765), NAT64 (RFC 6052) and its
        // local-use prefix in its /96 form (RFC 8215).
        [0, 0, 0, 0, 0 | 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 1, ..] => Some(v4(high, low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        // Teredo (RFC 4380): the client's address, inverted.
        [0x2001, 0, ..] => Some(v4(!high, !low)),
        _ => None,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// What keeps `ip` from being a public address, in a word; `None` for one that is.
fn not_public(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => not_public_v4(ip),
        IpAddr::V6(ip) => not_public_v6(ip),
    }
}

fn not_public_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let [a, b, ..] = ip.octets();
    match (a, b) {
        (0, _) => Some("unspecified"),
        (127, _) => Some("loopback"),
        (100, 64..=127) => Some("carrier-grade NAT"),
        (224..=239, _) => Some("multicast"),
        (240.., _) => Some("broadcast and reserved"),
        _ if ip.is_private() => Some("private"),
        _ => None,
    }
}

fn not_public_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, ..] = ip.segments();
    match (a, b, c) {
        _ if ip.is_loopback() => Some("loopback"),
        _ if ip.is_unspecified() => Some("unspecified"),
        _ if ip.is_unique_local() => Some("unique-local"),
        _ if ip.is_multicast() => Some("multicast"),
        // Deprecated by RFC 3879, still routed as private where it is used.
        (0xfec0..=0xfeff, ..) => Some("site-local"),
        (0x64, 0xff9b, 1) => Some("local NAT64"),
        _ => None,
    }
}

/// Whether `ip` is an address of this machine: the kernel then picks that very address as the source of
/// a datagram to it. No datagram is sent.
fn is_local_address(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let unspecified: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind((unspecified, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    // Without a route there is nothing to be reached either.
    source().is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "192.0.2.7";

    fn policy(exposure: Exposure, own: &[&str], deny: &[&str], allow: &[&str]) -> Policy {
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().expect("net")).collect();
        let own = own.iter().map(|addr| addr.parse().expect("addr")).collect();
        Policy {
            is_local: |ip| ip.is_loopback() || ip.to_string() == OURS,
            ..Policy::new(nets(deny), nets(allow), own, exposure)
        }
    }

    #[test]
    fn a_proxy_may_be_private_but_neither_denied_nor_ourselves() {
        let policy = policy(
            Exposure::Network,
            &["127.0.0.1:8080"],
            &["10.9.0.0/16"],
            &[],
        );
        for (addr, wanted) in [
            ("10.0.0.1:3128", true),
            ("127.0.0.2:3128", true),
            ("[fd00::1]:3128", true),
            ("127.0.0.1:8080", false),
            ("10.9.0.1:3128", false),
            ("169.254.169.254:80", false),
        ] {
            let addr = addr.parse().expect("addr");
            assert_eq!(policy.judge_proxy(addr).is_ok(), wanted, "{addr}");
            assert!(policy.judge(addr).is_err(), "{addr}");
        }
    }

    /// The outcome in one word.
    fn verdict(policy: &Policy, addr: &str) -> &'static str {
        match policy.judge(addr.parse().expect("addr")) {
            Ok(_) => "ok",
            Err(Denied::Loop { .. }) => "loop",
            Err(Denied::LinkLocal) => "link-local",
            Err(Denied::Listed { .. }) => "listed",
            Err(Denied::NotPublic { range }) => range,
        }
    }

    fn check(policy: &Policy, cases: &[(&str, &str)]) {
        for (addr, wanted) in cases {
            assert_eq!(verdict(policy, addr), *wanted, "{addr}");
        }
    }

    #[test]
    fn on_loopback_only_link_local_is_out_of_reach() {
        check(
            &policy(Exposure::Loopback, &[], &[], &[]),
            &[
                ("127.0.0.1:80", "ok"),
                ("[::1]:80", "ok"),
                ("0.0.0.0:80", "ok"),
                ("10.1.2.3:80", "ok"),
                ("[fd00::1]:80", "ok"),
                ("203.0.113.1:443", "ok"),
                ("[2001:db8::1]:443", "ok"),
                ("169.254.169.254:80", "link-local"),
                ("[fe80::1]:80", "link-local"),
                ("[febf::1]:80", "link-local"),
                ("[::ffff:169.254.169.254]:80", "link-local"),
                ("[::169.254.169.254]:80", "link-local"),
                ("[::ffff:0:169.254.169.254]:80", "link-local"),
                ("[64:ff9b::169.254.169.254]:80", "link-local"),
                ("[64:ff9b:1::169.254.169.254]:80", "link-local"),
                ("[2002:a9fe:a9fe::1]:80", "link-local"),
                ("[2001:0:1:2:3:4:5601:5601]:80", "link-local"),
            ],
        );
    }

    #[test]
    fn an_exposed_proxy_reaches_public_addresses_only() {
        check(
            &policy(Exposure::Network, &[], &[], &[]),
            &[
                ("203.0.113.1:80", "ok"),
                ("100.63.255.255:80", "ok"),
                ("100.128.0.0:80", "ok"),
                ("172.15.255.255:80", "ok"),
                ("172.32.0.0:80", "ok"),
                ("[2001:db8::1]:80", "ok"),
                ("[64:ff9b::203.0.113.1]:80", "ok"),
                ("127.0.0.1:80", "loopback"),
                ("127.255.255.255:80", "loopback"),
                ("[::1]:80", "loopback"),
                ("[::ffff:127.0.0.1]:80", "loopback"),
                ("[::127.0.0.1]:80", "loopback"),
                ("[64:ff9b::127.0.0.1]:80", "loopback"),
                ("[2002:7f00:1::]:80", "loopback"),
                ("0.0.0.0:80", "loopback"),
                ("[::]:80", "loopback"),
                ("[::ffff:0.0.0.0]:80", "loopback"),
                ("0.1.2.3:80", "unspecified"),
                ("10.0.0.1:80", "private"),
                ("172.16.0.1:80", "private"),
                ("172.31.255.255:80", "private"),
                ("192.168.1.1:80", "private"),
                ("[64:ff9b::10.0.0.1]:80", "private"),
                ("100.64.0.1:80", "carrier-grade NAT"),
                ("100.127.255.255:80", "carrier-grade NAT"),
                ("[fc00::1]:80", "unique-local"),
                ("[fdff::1]:80", "unique-local"),
                ("[fec0::1]:80", "site-local"),
                ("[64:ff9b:1::203.0.113.1]:80", "local NAT64"),
                ("224.0.0.1:80", "multicast"),
                ("[ff02::1]:80", "multicast"),
                ("255.255.255.255:80", "broadcast and reserved"),
                ("169.254.0.1:80", "link-local"),
            ],
        );
    }

    #[test]
    fn allow_exempts_from_the_defaults_and_deny_from_nothing() {
        let nets = ["10.0.0.0/8", "127.0.0.1/32", "169.254.1.0/24", "fd00::/8"];
        check(
            &policy(
                Exposure::Network,
                &[],
                &["10.9.0.0/16", "203.0.113.0/24"],
                &nets,
            ),
            &[
                ("10.1.1.1:80", "ok"),
                ("[::ffff:10.1.1.1]:80", "ok"),
                ("[64:ff9b::10.1.1.1]:80", "ok"),
                ("127.0.0.1:80", "ok"),
                ("0.0.0.0:80", "ok"),
                ("127.0.0.2:80", "loopback"),
                ("169.254.1.1:80", "ok"),
                ("169.254.2.1:80", "link-local"),
                ("[fd00::1]:80", "ok"),
                ("10.9.1.1:80", "listed"),
                ("[::ffff:10.9.1.1]:80", "listed"),
                ("[2002:a09:101::]:80", "listed"),
                ("203.0.113.9:80", "listed"),
            ],
        );
    }

    #[test]
    fn a_network_may_be_written_as_ipv4_mapped_or_translated() {
        check(
            &policy(
                Exposure::Network,
                &[],
                &["::ffff:203.0.113.0/120", "::/128"],
                &["64:ff9b::/96"],
            ),
            &[
                ("203.0.113.9:80", "listed"),
                ("203.0.114.9:80", "ok"),
                ("[::]:80", "listed"),
                // Allowed as a whole, so what is written within is not looked at.
                ("[64:ff9b::10.0.0.1]:80", "ok"),
                ("10.0.0.1:80", "private"),
            ],
        );
    }

    #[test]
    fn our_own_listeners_are_a_loop_however_they_are_reached() {
        let own = ["127.0.0.1:8080", "[::1]:8080", "0.0.0.0:3001", "[::]:9000"];
        for exposure in [Exposure::Loopback, Exposure::Network] {
            // Not even `allow` makes a loop useful.
            let policy = policy(exposure, &own, &[], &["0.0.0.0/0", "::/0"]);
            check(
                &policy,
                &[
                    ("127.0.0.1:8080", "loop"),
                    ("[::1]:8080", "loop"),
                    ("[::ffff:127.0.0.1]:8080", "loop"),
                    ("0.0.0.0:8080", "loop"),
                    ("[::]:8080", "loop"),
                    ("127.0.0.2:8080", "ok"),
                    ("127.0.0.1:8081", "ok"),
                    ("127.0.0.2:3001", "loop"),
                    ("192.0.2.7:3001", "loop"),
                    ("192.0.2.8:3001", "ok"),
                    ("[::1]:3001", "ok"),
                    ("192.0.2.7:9000", "loop"),
                    ("[::1]:9000", "loop"),
                    ("[2001:db8::1]:9000", "ok"),
                ],
            );
        }
    }

    #[test]
    fn what_is_dialled_is_what_was_judged() {
        let policy = policy(Exposure::Loopback, &[], &[], &["fe80::/10"]);
        for (addr, wanted) in [
            ("203.0.113.1:80", "203.0.113.1:80"),
            ("[::ffff:203.0.113.1]:80", "203.0.113.1:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
        ] {
            let permitted = policy.judge(addr.parse().expect("addr")).expect(addr);
            assert_eq!(permitted.to_string(), wanted);
        }
    }

    #[test]
    fn this_machines_addresses_are_found() {
        assert!(is_local_address(Ipv4Addr::new(127, 3, 2, 1).into()));
        assert!(!is_local_address(Ipv4Addr::new(203, 0, 113, 77).into()));
        // The source address of our own datagrams, where there is a route at all.
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
        if socket.connect("203.0.113.77:9").is_ok() {
            let source = socket.local_addr().expect("connected").ip();
            assert!(is_local_address(source));
        }
    }

    #[test]
    fn a_denial_says_what_to_do() {
        let policy = policy(Exposure::Network, &["127.0.0.1:8080"], &[], &[]);
        let denied = |addr: &str| {
            policy
                .judge(addr.parse().expect("addr"))
                .map_err(|why| why.to_string())
        };
        assert_eq!(
            denied("10.0.0.1:80").expect_err("private"),
            "private addresses are out of reach while the proxy listens beyond loopback; `upstream.allow` can exempt it"
        );
        assert_eq!(
            denied("127.0.0.1:8080").expect_err("loop"),
            "it is burdock's own listener 127.0.0.1:8080"
        );
    }
}
