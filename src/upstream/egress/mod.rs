//! Upstream proxies: which one an owner of connections leaves by, how each is, and how to get through it.
//!
//! What is decided here is decided without I/O; `connect` speaks to proxies. An owner is a session or, for requests without one, a
//! client connection; its [`Exit`] is kept by its pool of connections.

mod connect;
mod error;
mod health;
mod proxy;
mod rendezvous;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use self::error::EgressError;
pub use self::health::Report;
pub use self::proxy::{Exit, Proxy};

pub(super) use self::connect::{note, reach, tunnel};

use super::pool::Origin;
use crate::config::{EgressFailure, EgressRules, EgressVia};
use crate::session::id::SessionId;
use crate::session::settings::{ProxyUrl, Settings};

/// The upstream proxies that are configured, and who leaves by them.
#[derive(Debug, Default)]
pub struct Egress {
    proxies: Vec<Arc<Proxy>>,
    rules: EgressRules,
    rehomes: bool,
}

impl Egress {
    /// A pool of proxies that nothing is known of yet.
    #[must_use]
    pub fn new(proxies: Vec<ProxyUrl>, rules: EgressRules, failure: EgressFailure) -> Self {
        Self {
            proxies: proxies.into_iter().map(Proxy::new).collect(),
            rules,
            rehomes: failure == EgressFailure::Rehome,
        }
    }

    /// The proxies, as they are configured.
    #[must_use]
    pub fn proxies(&self) -> &[Arc<Proxy>] {
        &self.proxies
    }

    /// The rules, as they are configured.
    #[must_use]
    pub fn rules(&self) -> &EgressRules {
        &self.rules
    }

    /// Whether there is no pool; sessions may have proxies of their own all the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.proxies.is_empty()
    }

    /// Whether a session whose proxy cannot be reached is bound to another.
    #[must_use]
    pub fn rehomes(&self) -> bool {
        self.rehomes
    }

    /// The settings of a session, bound to a proxy of the pool where they are not, or to one that is no more.
    #[must_use]
    pub fn bind(&self, id: &SessionId, settings: Settings) -> Settings {
        if self.is_bound(&settings) {
            return settings;
        }
        let egress = self.first(id.as_str()).map(|proxy| proxy.name().into());
        Settings { egress, ..settings }
    }

    /// Whether a session of these settings knows which proxy of the pool it leaves by, if by any.
    #[must_use]
    pub fn is_bound(&self, settings: &Settings) -> bool {
        match &settings.egress {
            _ if settings.upstream_proxy.is_some() => true,
            Some(name) => self.find(name).is_some(),
            None => self.is_empty(),
        }
    }

    /// The way of a session: by the proxy of its own, by that which it is bound to, or by that which it would be bound to.
    #[must_use]
    pub fn exit(&self, id: &SessionId, settings: &Settings) -> Option<Arc<Exit>> {
        if let Some(own) = &settings.upstream_proxy {
            return Some(Exit::new(Proxy::new(own.clone()), id.as_str(), true));
        }
        let bound = settings.egress.as_deref().and_then(|name| self.find(name));
        let proxy = bound.or_else(|| self.first(id.as_str()))?;
        Some(Exit::new(Arc::clone(proxy), id.as_str(), false))
    }

    /// The way of requests without a session, of one client connection.
    #[must_use]
    pub fn exit_of_client(&self, client: SocketAddr) -> Option<Arc<Exit>> {
        self.nameless(|hash| hash.update(client.to_string()))
    }

    /// The way of somebody of whom nothing is known but that he is one.
    pub(super) fn exit_of_stranger(&self) -> Option<Arc<Exit>> {
        self.nameless(|hash| hash.update(rand::random::<[u8; 16]>()))
    }

    fn nameless(&self, feed: impl FnOnce(&mut Sha256)) -> Option<Arc<Exit>> {
        if self.is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        feed(&mut hash);
        // Vendors take letters and digits only; the letter keeps it apart from ids that are numbers.
        let mut name = String::from("c");
        for byte in &hash.finalize()[..8] {
            write!(name, "{byte:02x}").expect("writing to a string succeeds");
        }
        let proxy = self.first(&name)?;
        Some(Exit::new(Arc::clone(proxy), &name, false))
    }

    /// The ways of the same owner through the other proxies, in the order in which to try them: as the owner ranks them from
    /// `exit` on, those that are known to be down last.
    #[must_use]
    pub fn others(&self, exit: &Exit) -> Vec<Arc<Exit>> {
        let names = self.proxies.iter().map(|proxy| proxy.name());
        let ranked = rendezvous::ranking(exit.owner(), names);
        let is_left = |at: &usize| self.proxies[*at].name() == exit.proxy().name();
        let place = ranked.iter().position(is_left).unwrap_or_default();
        let after = ranked.iter().cycle().skip(place + 1).take(ranked.len());
        let (up, down): (Vec<_>, Vec<_>) = after
            .map(|at| &self.proxies[*at])
            .filter(|proxy| proxy.name() != exit.proxy().name())
            .partition(|proxy| proxy.health().healthy);
        up.into_iter()
            .chain(down)
            .map(|proxy| Exit::new(Arc::clone(proxy), exit.owner(), false))
            .collect()
    }

    /// Whether connections to this origin leave by the pool's proxies, for those who have none of their own.
    pub(super) fn leads_to(&self, origin: &Origin) -> bool {
        self.rules.via(origin.scheme, &origin.authority) == EgressVia::Proxies
    }

    fn find(&self, name: &str) -> Option<&Arc<Proxy>> {
        self.proxies.iter().find(|proxy| proxy.name() == name)
    }

    fn first(&self, owner: &str) -> Option<&Arc<Proxy>> {
        let names = self.proxies.iter().map(|proxy| proxy.name());
        let first = rendezvous::ranking(owner, names).first().copied()?;
        self.proxies.get(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(urls: &[&str]) -> Egress {
        let urls = urls.iter().map(|url| url.parse().expect("a URL")).collect();
        Egress::new(urls, EgressRules::default(), EgressFailure::Rehome)
    }

    fn id(text: &str) -> SessionId {
        text.parse().expect("an id")
    }

    const THREE: [&str; 3] = [
        "http://u:p@a.example:1",
        "http://b.example:1",
        "socks5h://c.example:1",
    ];

    #[test]
    fn a_session_keeps_its_proxy_while_that_is_configured() {
        let three = pool(&THREE);
        for number in 0..50 {
            let id = id(&format!("s{number}"));
            let bound = three.bind(&id, Settings::default());
            let egress = bound.egress.clone().expect("bound");
            assert!(!egress.contains(":p@"), "{egress}");
            let exit = three.exit(&id, &bound).expect("a way");
            assert_eq!(exit.proxy().name(), &*egress);
            let four = pool(&[&THREE[..], &["http://d.example:1"]].concat());
            assert_eq!(four.bind(&id, bound.clone()), bound, "no session moves");
            let gone = THREE
                .iter()
                .filter(|url| !url.ends_with(&egress[egress.len() - 11..]));
            let two = pool(&gone.copied().collect::<Vec<_>>());
            assert!(!two.is_bound(&bound));
            let anew = two.bind(&id, bound.clone()).egress;
            assert_eq!(anew, two.bind(&id, Settings::default()).egress);
            assert_eq!(pool(&[]).bind(&id, bound).egress, None);
        }
    }

    #[test]
    fn a_proxy_of_its_own_goes_before_the_pool() {
        let three = pool(&THREE);
        let settings = Settings {
            upstream_proxy: "http://user-{session}:secret@own.example:9".parse().ok(),
            ..Settings::default()
        };
        let settings = three.bind(&id("a"), settings);
        assert_eq!(settings.egress, None);
        let exit = three.exit(&id("a"), &settings).expect("a way");
        assert!(exit.is_own());
        assert_eq!(exit.proxy().name(), "http://user-{session}@own.example:9");
        assert_eq!(
            exit.credentials(),
            Some(&(b"user-a".to_vec(), b"secret".to_vec()))
        );
        let sent = exit.authorization().expect("credentials");
        assert_eq!(sent, "Basic dXNlci1hOnNlY3JldA==");
        assert!(!format!("{exit:?} {sent:?}").contains("c2VjcmV0"));
        assert!(pool(&[]).exit(&id("a"), &settings).is_some());
    }

    #[test]
    fn those_without_a_session_leave_by_the_pool_too() {
        let three = pool(&THREE);
        let client: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
        let exit = three.exit_of_client(client).expect("a way");
        assert_eq!(Some(&exit), three.exit_of_client(client).as_ref());
        assert!(three.exit_of_stranger().is_some());
        assert!(pool(&[]).exit_of_client(client).is_none());
        assert!(pool(&[]).exit_of_stranger().is_none());
    }

    #[test]
    fn the_others_are_tried_in_order_and_those_that_are_down_last() {
        let three = pool(&THREE);
        let exit = three.exit(&id("a"), &Settings::default()).expect("a way");
        let others = three.others(&exit);
        let names: Vec<_> = others
            .iter()
            .map(|exit| exit.proxy().name().to_owned())
            .collect();
        assert_eq!(names.len(), 2);
        assert!(!names.iter().any(|name| name == exit.proxy().name()));
        assert!(others[0].proxy().health.vanished("refused".into()));
        let again = three.others(&exit);
        assert_eq!(again[0].proxy().name(), names[1]);
        assert!(
            pool(&THREE[..1])
                .others(
                    &pool(&THREE[..1])
                        .exit(&id("a"), &Settings::default())
                        .expect("a way")
                )
                .is_empty()
        );
    }
}
