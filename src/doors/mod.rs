//! Where connections come in: each door turns bytes into requests and the facts about their connection.

mod accept;
mod detect;
mod flood;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod http;
mod inner;
mod intercept;
mod linger;
mod pulse;
mod tunnel;
mod wire;
mod written;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::accept::accept;
pub use self::inner::InnerDoors;
use crate::ca::CertificateAuthority;
use crate::config;
use crate::exchange::Exchange;

/// What every door works with.
#[derive(Debug)]
pub struct House {
    /// The pipeline.
    pub exchange: Arc<Exchange>,
    /// Mints the certificates of intercepted hosts.
    pub ca: Arc<CertificateAuthority>,
    /// Which hosts' tunnels are relayed untouched.
    pub tls: config::Tls,
    /// What a client connection may cost.
    pub bounds: Bounds,
    /// Every connection and tunnel, to be waited for at the end.
    pub tasks: TaskTracker,
    /// Cancelled when no new request is to be begun.
    pub closing: CancellationToken,
}

/// What a client connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Client connections at once.
    pub max_connections: usize,
    /// The time for a request's head, and for a TLS handshake.
    pub header_read_timeout: Duration,
    /// The time between requests.
    pub idle_timeout: Duration,
    /// The size of a request's head in bytes.
    pub max_header_bytes: usize,
}
