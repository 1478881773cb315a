//! What can go wrong between burdock and an origin, and which fault that is.

use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::dial::{DialError, Phase};
use super::egress::{EgressError, Exit};
use super::policy::Denied;
use super::tls::TlsError;
use crate::fault::{Fault, Kind};
use crate::message::Authority;

/// A request could not be answered by its origin.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No connection through an upstream proxy.
    #[error(transparent)]
    Egress(Box<EgressError>),
    /// A connection, but no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS was not established in time.
    #[error("TLS with `{authority}`: no handshake within {after:?} (`upstream.connect_timeout`)")]
    HandshakeTimeout {
        /// The origin.
        authority: Authority,
        /// The deadline that passed.
        after: Duration,
    },
    /// The request was sent and no response came.
    #[error("`{authority}`: no response within {after:?} (`upstream.response_header_timeout`)")]
    ResponseTimeout {
        /// The origin.
        authority: Authority,
        /// The deadline that passed.
        after: Duration,
    },
    /// The client's own request body broke off.
    #[error("the request's body ended before it was complete")]
    RequestBody {
        /// hyper's account of it.
        source: hyper::Error,
    },
    /// The origin closed the connection instead of answering.
    #[error("`{authority}` closed the connection before its response was complete")]
    Closed {
        /// The origin.
        authority: Authority,
        /// hyper's account of it.
        source: hyper::Error,
    },
    /// The origin said that it did nothing with the request, as it may whatever the method (RFC 9113, section 8.7).
    #[error(
        "`{authority}` did not process the request (HTTP/2 REFUSED_STREAM or GOAWAY), nor a second time, or too much of its \
         body was gone to send it a second time; it is safe to send again"
    )]
    Refused {
        /// The origin.
        authority: Authority,
        /// hyper's account of it.
        source: hyper::Error,
    },
    /// The origin's answer delimits its body in a way that could be read in two.
    #[error("`{authority}` delimits its response by {what}")]
    Framing {
        /// The origin.
        authority: Authority,
        /// What is there instead of one length or `chunked`.
        what: &'static str,
    },
    /// The origin's answer is not HTTP as it should be.
    #[error("`{authority}` broke the protocol: {source}")]
    Protocol {
        /// The origin.
        authority: Authority,
        /// hyper's account of it.
        source: hyper::Error,
    },
}

impl UpstreamError {
    /// Sorts an error of hyper's client.
    pub(super) fn of_hyper(authority: &Authority, source: hyper::Error) -> Self {
        let authority = authority.clone();
        let io = source
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .map(std::io::Error::kind);
        if matches!(h2_reason(&source), Some(H2::Unprocessed)) {
            Self::Refused { authority, source }
        } else if source.is_user() {
            Self::RequestBody { source }
        } else if source.is_incomplete_message()
            || source.is_closed()
            || source.is_canceled()
            || matches!(
                io,
                Some(
                    ErrorKind::ConnectionReset
                        | ErrorKind::BrokenPipe
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::UnexpectedEof
                )
            )
        {
            Self::Closed { authority, source }
        } else {
            Self::Protocol { authority, source }
        }
    }

    /// The way that is closed, where an upstream proxy cannot be reached.
    #[must_use]
    pub fn unreachable(&self) -> Option<&Arc<Exit>> {
        match self {
            Self::Egress(error) => error.unreachable(),
            _ => None,
        }
    }

    /// Whether sending the same request again may do better, and what must hold for that.
    pub(super) fn retry(&self) -> Retry {
        let reason = match self {
            // RFC 9113, sections 6.8 and 8.7: not processed, whatever the method.
            Self::Refused { .. } => return Retry::Unprocessed,
            Self::Closed { source, .. } | Self::Protocol { source, .. } => h2_reason(source),
            _ => return Retry::Never,
        };
        match (self, reason) {
            (_, Some(H2::WantsHttp1)) => Retry::OverHttp1,
            (_, Some(H2::Broken)) => Retry::OverHttp1IfIdempotent,
            (Self::Closed { .. }, None) => Retry::IfIdempotent,
            _ => Retry::Never,
        }
    }
}

/// When a failed request may be sent again (RFC 9110, section 9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// The origin said that it did nothing with it.
    Unprocessed,
    /// The same, and it wants HTTP/1.1.
    OverHttp1,
    /// The origin's HTTP/2 is broken; what it did with the request is not known.
    OverHttp1IfIdempotent,
    /// The connection was lost before any of the response came, as happens to one that was idle.
    IfIdempotent,
    /// It would end the same way, or do harm.
    Never,
}

enum H2 {
    Unprocessed,
    WantsHttp1,
    Broken,
}

/// What HTTP/2 itself says of an error.
fn h2_reason(error: &hyper::Error) -> Option<H2> {
    let mut source = error.source();
    let error = loop {
        match source?.downcast_ref::<h2::Error>() {
            Some(error) => break error,
            None => source = source?.source(),
        }
    };
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => Some(H2::Unprocessed),
        Some(h2::Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => {
            Some(H2::Unprocessed)
        }
        Some(h2::Reason::HTTP_1_1_REQUIRED) => Some(H2::WantsHttp1),
        Some(
            h2::Reason::PROTOCOL_ERROR
            | h2::Reason::FRAME_SIZE_ERROR
            | h2::Reason::COMPRESSION_ERROR
            | h2::Reason::FLOW_CONTROL_ERROR
            | h2::Reason::INTERNAL_ERROR,
        ) => Some(H2::Broken),
        _ => None,
    }
}

impl From<EgressError> for UpstreamError {
    fn from(error: EgressError) -> Self {
        Self::Egress(Box::new(error))
    }
}

impl From<DialError> for Fault {
    fn from(error: DialError) -> Self {
        let detail = error.to_string();
        match error {
            DialError::Dns { source, .. } => Self::new(Kind::DnsFailed, detail).caused_by(source),
            DialError::Denied {
                why: Denied::Loop { .. },
                ..
            } => Self::new(Kind::LoopDetected, detail),
            DialError::Denied { .. } => Self::new(Kind::DestinationDenied, detail),
            DialError::Connect { source, .. } => {
                let fault = Self::new(Kind::ConnectFailed, detail);
                let fault = match source.kind() {
                    ErrorKind::ConnectionRefused => fault,
                    ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
                        fault.proxy_error("destination_ip_unroutable")
                    }
                    _ => fault.proxy_error("destination_unavailable"),
                };
                fault.caused_by(source)
            }
            DialError::Timeout {
                during: Phase::Lookup,
                ..
            } => Self::new(Kind::ConnectTimeout, detail).proxy_error("dns_timeout"),
            DialError::Timeout {
                during: Phase::Connect,
                ..
            } => Self::new(Kind::ConnectTimeout, detail),
        }
    }
}

impl From<TlsError> for Fault {
    fn from(error: TlsError) -> Self {
        let fault = Self::new(Kind::UpstreamTls, error.to_string());
        let fault = match error.is_certificate() {
            true => fault.proxy_error("tls_certificate_error"),
            false => fault,
        };
        fault.caused_by(error)
    }
}

impl From<UpstreamError> for Fault {
    fn from(error: UpstreamError) -> Self {
        let detail = error.to_string();
        match error {
            UpstreamError::Dial(error) => error.into(),
            UpstreamError::Egress(error) => (*error).into(),
            UpstreamError::Tls(error) => error.into(),
            UpstreamError::HandshakeTimeout { .. } => Self::new(Kind::ConnectTimeout, detail),
            UpstreamError::ResponseTimeout { .. } => Self::new(Kind::UpstreamTimeout, detail),
            UpstreamError::RequestBody { source } => {
                Self::new(Kind::BadRequest, detail).caused_by(source)
            }
            UpstreamError::Closed { source, .. } => Self::new(Kind::UpstreamProtocol, detail)
                .proxy_error("connection_terminated")
                .caused_by(source),
            UpstreamError::Refused { source, .. } => Self::new(Kind::UpstreamProtocol, detail)
                .proxy_error("destination_unavailable")
                .caused_by(source),
            UpstreamError::Framing { .. } => Self::new(Kind::UpstreamProtocol, detail),
            UpstreamError::Protocol { source, .. } => {
                Self::new(Kind::UpstreamProtocol, detail).caused_by(source)
            }
        }
    }
}
