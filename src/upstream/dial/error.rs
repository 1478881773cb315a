//! Why there is no connection to an authority, said with whom, where and how long.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::message::{Authority, Host};
use crate::upstream::policy::Denied;

/// What the time ran out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Resolving the name.
    Lookup,
    /// Waiting for an address to answer.
    Connect,
}

/// No connection to an authority.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address, or the resolver gave none.
    #[error("cannot resolve `{host}`")]
    Dns {
        /// The name that was asked for (where `connect_to` applies, the one it names).
        host: Host,
        /// The resolver's words.
        source: io::Error,
    },
    /// No address of the authority may be dialled. [`Denied::Loop`] is a fault of its own.
    #[error("`{authority}` is at {addr}: {why}")]
    Denied {
        /// Whom to reach.
        authority: Authority,
        /// The first address that was denied.
        addr: SocketAddr,
        /// The rule.
        why: Denied,
    },
    /// Every address failed.
    #[error("cannot connect to `{authority}`: {addr} {}", in_words(source))]
    Connect {
        /// Whom to reach.
        authority: Authority,
        /// The address with the most telling failure.
        addr: SocketAddr,
        /// That failure.
        source: io::Error,
    },
    /// No address was found, or none answered, in time.
    #[error("{} `{authority}`: no answer in {after:?}", match during {
        Phase::Lookup => "resolve",
        Phase::Connect => "connect to",
    })]
    Timeout {
        /// Whom to reach.
        authority: Authority,
        /// `upstream.connect_timeout`.
        after: Duration,
        /// What the time ran out on.
        during: Phase,
    },
}

fn in_words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused the connection",
        io::ErrorKind::ConnectionReset => "reset the connection",
        io::ErrorKind::TimedOut => "did not answer",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "cannot be reached from here"
        }
        _ => "could not be connected to",
    }
}
