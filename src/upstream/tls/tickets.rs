//! The TLS tickets of one session: small, bounded, nothing until the first one.

use std::collections::VecDeque;
use std::fmt;

use parking_lot::Mutex;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Servers remembered; the least recently used is forgotten first and gets a full handshake next time.
const SERVERS: usize = 32;

/// TLS 1.3 tickets for one server, each used once; the newest are kept. Chromium keeps two as well.
const TICKETS: usize = 2;

/// Not rustls's own store: that keeps eight tickets a server, each with the certificate chain it came with,
/// and allocates for all its servers at once, which a session that speaks to one would carry for nothing.
#[derive(Default)]
pub(super) struct Tickets {
    /// The most recently used last. The lock is held for a scan of 32 names, and never while waiting.
    servers: Mutex<Vec<Server>>,
}

struct Server {
    name: ServerName<'static>,
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    /// What is known of `name`, which is then the most recently used.
    fn known<T>(
        &self,
        name: &ServerName<'_>,
        edit: impl FnOnce(&mut Server) -> Option<T>,
    ) -> Option<T> {
        let mut servers = self.servers.lock();
        let at = servers.iter().position(|server| &server.name == name)?;
        servers[at..].rotate_left(1);
        servers.last_mut().and_then(edit)
    }

    /// The same, where a server that is not known is added.
    fn learn(&self, name: ServerName<'static>, edit: impl FnOnce(&mut Server)) {
        let mut servers = self.servers.lock();
        if let Some(at) = servers.iter().position(|server| server.name == name) {
            servers[at..].rotate_left(1);
        } else {
            if servers.len() == SERVERS {
                servers.remove(0);
            }
            servers.push(Server {
                name,
                group: None,
                tls12: None,
                tls13: VecDeque::with_capacity(TICKETS),
            });
        }
        if let Some(server) = servers.last_mut() {
            edit(server);
        }
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.learn(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.known(name, |server| server.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.learn(name, |server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.known(name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.known(name, |server| server.tls12.take());
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.learn(name, |server| {
            if server.tls13.len() == TICKETS {
                server.tls13.pop_front();
            }
            server.tls13.push_back(value);
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.known(name, |server| server.tls13.pop_back())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tickets are credentials: how many servers, and no more.
        f.debug_struct("Tickets")
            .field("servers", &self.servers.lock().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> ServerName<'static> {
        ServerName::try_from(format!("h{number}.example")).expect("a name")
    }

    #[test]
    fn nothing_is_allocated_before_the_first_server() {
        let tickets = Tickets::default();
        assert_eq!(tickets.kx_hint(&name(0)), None);
        assert!(tickets.take_tls13_ticket(&name(0)).is_none());
        tickets.remove_tls12_session(&name(0));
        assert_eq!(tickets.servers.lock().capacity(), 0);
    }

    #[test]
    fn the_least_recently_used_server_is_forgotten_first() {
        let tickets = Tickets::default();
        for number in 0..SERVERS {
            tickets.set_kx_hint(name(number), NamedGroup::X25519);
        }
        assert!(tickets.kx_hint(&name(0)).is_some());
        tickets.set_kx_hint(name(SERVERS), NamedGroup::X25519);
        assert!(tickets.kx_hint(&name(0)).is_some(), "just used");
        assert!(tickets.kx_hint(&name(1)).is_none(), "the oldest");
        assert!(tickets.kx_hint(&name(SERVERS)).is_some());
        assert_eq!(tickets.servers.lock().len(), SERVERS);
    }
}
