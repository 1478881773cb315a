//! Why a TLS handshake with an origin failed, said with the remedy.

use std::fmt;
use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use super::chain::{Presented, Refusal};
use super::verify::is_ca_as_server;
use crate::message::Authority;
use crate::session::time::Timestamp;

/// No TLS with an origin. Displays whom, why and what to do; the library's words are its source.
#[derive(Debug)]
pub struct TlsError {
    /// Whom to reach.
    pub authority: Authority,
    /// What was wrong.
    pub reason: Reason,
    /// What was presented where the certificate was at fault, the origin's own first.
    pub chain: Vec<Presented>,
    source: io::Error,
}

/// What was wrong with a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The chain ends at no root that is trusted here (a self-signed certificate included).
    UnknownIssuer,
    /// The certificate has ended, where known when.
    Expired(Option<Timestamp>),
    /// The certificate begins in the future, where known when.
    NotYetValid(Option<Timestamp>),
    /// The certificate is for other names: these, as the library prints them.
    NameMismatch(Vec<String>),
    /// The certificate is unusable in another way.
    Certificate,
    /// The host is a name that no certificate can carry.
    NoServerName,
    /// What answered is not TLS; most likely it is plain HTTP.
    NotTls,
    /// The origin closed the connection within the handshake.
    Closed,
    /// The origin refused with this alert.
    Refused(AlertDescription),
    /// The origin and burdock share no version, suite or group, or the origin broke the protocol.
    Handshake,
    /// The connection failed underneath.
    Transport,
}

impl TlsError {
    pub(super) fn new(authority: &Authority, source: io::Error) -> Self {
        let tls = source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let refusal = tls.and_then(Refusal::within);
        let reason = match refusal.map(|refusal| &refusal.error).or(tls) {
            Some(error) => Reason::of(error),
            None if source.kind() == io::ErrorKind::UnexpectedEof => Reason::Closed,
            None => Reason::Transport,
        };
        Self {
            authority: authority.clone(),
            reason,
            chain: refusal
                .map(|refusal| refusal.chain.clone())
                .unwrap_or_default(),
            source,
        }
    }

    pub(super) fn no_name(authority: &Authority) -> Self {
        Self {
            authority: authority.clone(),
            reason: Reason::NoServerName,
            chain: Vec::new(),
            source: io::ErrorKind::InvalidInput.into(),
        }
    }

    /// Whether the certificate was at fault, rather than the handshake.
    pub fn is_certificate(&self) -> bool {
        matches!(
            self.reason,
            Reason::UnknownIssuer
                | Reason::Expired(_)
                | Reason::NotYetValid(_)
                | Reason::NameMismatch(_)
                | Reason::Certificate
        )
    }
}

impl Reason {
    fn of(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            // Almost always a self-signed one, which `tls.upstream_ca_files` can make trusted.
            error if is_ca_as_server(error) => Self::UnknownIssuer,
            E::InvalidCertificate(error) => Self::of_certificate(error),
            E::NoCertificatesPresented => Self::Certificate,
            E::AlertReceived(alert) => Self::Refused(*alert),
            E::InvalidMessage(_) => Self::NotTls,
            _ => Self::Handshake,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            // A bad signature is a chain to a namesake of a root we trust: that root made anew, say.
            E::UnknownIssuer | E::BadSignature => Self::UnknownIssuer,
            E::Expired => Self::Expired(None),
            E::ExpiredContext { not_after, .. } => Self::Expired(Some(timestamp(*not_after))),
            E::NotValidYet => Self::NotYetValid(None),
            E::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid(Some(timestamp(*not_before)))
            }
            E::NotValidForName => Self::NameMismatch(Vec::new()),
            E::NotValidForNameContext { presented, .. } => Self::NameMismatch(presented.clone()),
            _ => Self::Certificate,
        }
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_unix_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS with `{}`: {}", self.authority, self.reason)?;
        if let (Reason::UnknownIssuer, Some(last)) = (&self.reason, self.chain.last()) {
            write!(f, ": `{}` is not known here", last.issuer)?;
        }
        for (at, presented) in self.chain.iter().enumerate() {
            let before = if at == 0 { "; presented was" } else { " and" };
            write!(f, "{before} {presented}")?;
        }
        match self.reason {
            Reason::UnknownIssuer => write!(
                f,
                "; add its root to `tls.upstream_ca_files`, or `{}` to `tls.insecure_hosts`",
                self.authority.host
            ),
            _ if self.is_certificate() => write!(
                f,
                "; to go on regardless, add `{}` to `tls.insecure_hosts`",
                self.authority.host
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str("the certificate is signed by no trusted root"),
            Self::Expired(Some(end)) => write!(f, "the certificate ended at {end}"),
            Self::Expired(None) => f.write_str("the certificate has ended"),
            Self::NotYetValid(Some(start)) => write!(f, "the certificate begins at {start}"),
            Self::NotYetValid(None) => f.write_str("the certificate begins in the future"),
            Self::NameMismatch(names) if names.is_empty() => {
                f.write_str("the certificate is for another name")
            }
            Self::NameMismatch(names) => {
                // A certificate may carry hundreds; a few tell whose it is.
                let more = if names.len() > 5 { ", ..." } else { "" };
                let names: Vec<_> = names.iter().take(5).map(String::as_str).collect();
                write!(f, "the certificate is for {}{more}", names.join(", "))
            }
            Self::Certificate => f.write_str("the certificate is unusable"),
            Self::NoServerName => f.write_str("no certificate can carry this name"),
            Self::NotTls => f.write_str("the answer is not TLS; does this port speak plain HTTP?"),
            Self::Closed => f.write_str("the origin closed the connection within the handshake"),
            Self::Refused(alert) => write!(f, "the origin refused ({alert:?})"),
            Self::Handshake => f.write_str("no agreement was reached"),
            Self::Transport => f.write_str("the connection failed within the handshake"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
