//! `[proxy]`: the proxy's listeners, and what a client connection may cost.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::auth::Auth;
use super::check::{exposed, positive, without_repeats};
use super::section::section;
use super::value::{ByteSize, size};

section! {
    /// The proxy's listeners, and what a client connection may cost.
    pub struct Proxy {
        /// Addresses the proxy listens on; port 0 takes a free one.
        listen: Vec<SocketAddr> = ["127.0.0.1:8080", "[::1]:8080"], listeners;
        /// At shutdown, how long requests in flight may take to finish.
        shutdown_grace: Duration = "10s";
        /// Client connections open at once, over all proxy listeners.
        max_connections: NonZeroUsize = 10000;
        /// How long a client may take to send a request's head (slow clients).
        header_read_timeout: Duration = "30s", positive;
        /// How long a client connection may be idle between requests.
        idle_timeout: Duration = "120s", positive;
        /// Size of a request's head, from 8KiB to 16MiB; a larger one is answered 431.
        max_header_bytes: ByteSize = "64KiB", header_bytes;
        /// Whether X-Session-ID names a session; false: only proxy credentials do.
        trust_session_header: bool = true;
    }
    nested {
        /// Who may use the proxy; required as soon as a proxy listener is not on loopback.
        auth: Auth,
    }
}

impl Proxy {
    /// Whether a listener can be reached from other machines, and private addresses are therefore not
    /// for everybody (INTERFACE.md, section 8).
    pub fn is_exposed(&self) -> bool {
        exposed(&self.listen).is_some()
    }
}

fn listeners(addresses: &[SocketAddr]) -> Result<(), String> {
    if addresses.is_empty() {
        return Err("is empty: the proxy needs an address to listen on".into());
    }
    without_repeats(addresses)
}

fn header_bytes(size: &ByteSize) -> Result<(), String> {
    size::within(*size, HEADER_BYTES_MIN, HEADER_BYTES_MAX)
}

/// hyper's read buffer starts at this size and refuses a smaller bound.
const HEADER_BYTES_MIN: ByteSize = ByteSize::from_bytes(8 << 10);
const HEADER_BYTES_MAX: ByteSize = ByteSize::from_bytes(16 << 20);
