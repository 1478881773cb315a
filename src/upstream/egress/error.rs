//! Why there is no connection through an upstream proxy: whose doing it was, and which fault that is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::proxy::Exit;
use crate::fault::{Fault, Kind};
use crate::message::Authority;
use crate::upstream::dial::DialError;
use crate::upstream::policy::Denied;
use crate::upstream::tls::TlsError;

/// No connection through an upstream proxy. Every message names the proxy, without its password.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The destination may not be reached, or a name that is resolved here has no address: nothing was asked of the proxy.
    #[error(transparent)]
    Destination(DialError),
    /// No connection to the proxy.
    #[error("the upstream proxy {} cannot be reached: {source}", exit.proxy().name())]
    Unreachable {
        /// The way that is closed.
        exit: Arc<Exit>,
        /// Why.
        source: DialError,
    },
    /// A connection to the proxy, but no TLS.
    #[error("the upstream proxy {}: {source}", exit.proxy().name())]
    Tls {
        /// Which way.
        exit: Arc<Exit>,
        /// Why.
        source: TlsError,
    },
    /// The proxy did not do its part in time.
    #[error("the upstream proxy {} did not connect within {after:?} (`upstream.connect_timeout`)", exit.proxy().name())]
    Timeout {
        /// Which way.
        exit: Arc<Exit>,
        /// The deadline that passed.
        after: Duration,
    },
    /// The proxy wants other credentials, or some at all.
    #[error("the upstream proxy {} does not accept the credentials: {said}", exit.proxy().name())]
    Credentials {
        /// Which way.
        exit: Arc<Exit>,
        /// What it said.
        said: String,
    },
    /// The proxy works, and did not connect to the destination.
    #[error("the upstream proxy {} did not connect to `{target}`: {said}", exit.proxy().name())]
    Refused {
        /// Which way.
        exit: Arc<Exit>,
        /// Whom it was to connect to.
        target: Authority,
        /// What it said.
        said: String,
        /// What that is to RFC 9209.
        error: &'static str,
    },
    /// What answered is not a proxy of that kind.
    #[error("the upstream proxy {} does not answer as one: {said}", exit.proxy().name())]
    Protocol {
        /// Which way.
        exit: Arc<Exit>,
        /// What is wrong with its answer.
        said: String,
    },
    /// The connection to the proxy broke off before it had answered.
    #[error("the upstream proxy {} closed the connection before it answered", exit.proxy().name())]
    Lost {
        /// Which way.
        exit: Arc<Exit>,
        /// What the connection says.
        source: io::Error,
    },
}

impl EgressError {
    /// The way that is closed, where the proxy itself cannot be reached.
    #[must_use]
    pub fn unreachable(&self) -> Option<&Arc<Exit>> {
        match self {
            Self::Unreachable {
                source: DialError::Denied { .. },
                ..
            } => None,
            Self::Unreachable { exit, .. } => Some(exit),
            _ => None,
        }
    }
}

impl From<EgressError> for Fault {
    fn from(error: EgressError) -> Self {
        let detail = error.to_string();
        let failed = |token| Self::new(Kind::ConnectFailed, detail.clone()).proxy_error(token);
        match error {
            EgressError::Destination(error) => error.into(),
            EgressError::Unreachable { source, .. } => match source {
                DialError::Denied {
                    why: Denied::Loop { .. },
                    ..
                } => Self::new(Kind::LoopDetected, detail),
                DialError::Denied { .. } => Self::new(Kind::DestinationDenied, detail),
                DialError::Timeout { .. } => Self::new(Kind::ConnectTimeout, detail),
                // The next hop is the destination of this one (RFC 9209, section 2.3.5 and those after it).
                DialError::Dns { source, .. } => failed("dns_error").caused_by(source),
                DialError::Connect { source, .. } => {
                    let token = match source.kind() {
                        io::ErrorKind::ConnectionRefused => "connection_refused",
                        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                            "destination_ip_unroutable"
                        }
                        _ => "destination_unavailable",
                    };
                    failed(token).caused_by(source)
                }
            },
            EgressError::Tls { source, .. } => {
                let token = match source.is_certificate() {
                    true => "tls_certificate_error",
                    false => "tls_protocol_error",
                };
                failed(token).caused_by(source)
            }
            EgressError::Timeout { .. } => Self::new(Kind::ConnectTimeout, detail),
            EgressError::Credentials { .. } => failed("proxy_configuration_error"),
            EgressError::Refused { error, .. } => match error {
                "connection_timeout" => Self::new(Kind::ConnectTimeout, detail),
                token => failed(token),
            },
            EgressError::Protocol { .. } => failed("proxy_internal_error"),
            EgressError::Lost { source, .. } => failed("connection_terminated").caused_by(source),
        }
    }
}
