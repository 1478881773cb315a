//! What an origin presented, for whoever has to find out why it was refused.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error, OtherError};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::session::time::Timestamp;

/// A certificate of a chain that was refused, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The subject, or the first name where the subject is empty.
    pub subject: String,
    /// Who says to have signed it.
    pub issuer: String,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// Certificates described of a chain; what comes after those explains nothing.
const DESCRIBED: usize = 4;

/// Symbols of a name that are shown.
const NAME_SHOWN: usize = 100;

impl Presented {
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let seconds = Timestamp::from_unix_seconds;
        let subject = match parsed.subject().iter().next() {
            Some(_) => parsed.subject().to_string(),
            None => first_name(&parsed).unwrap_or_default(),
        };
        Some(Self {
            subject: shown(&subject),
            issuer: shown(&parsed.issuer().to_string()),
            not_before: seconds(parsed.validity().not_before.timestamp()),
            not_after: seconds(parsed.validity().not_after.timestamp()),
        })
    }
}

fn first_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.first().map(|name| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        other => other.to_string(),
    })
}

/// A name out of a stranger's certificate, cut to a length that fits a message, without what could break a line.
fn shown(name: &str) -> String {
    let symbols = name.chars().take(NAME_SHOWN);
    symbols
        .map(|symbol| if symbol.is_control() { '?' } else { symbol })
        .collect()
}

impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            issuer,
            not_before,
            not_after,
        } = self;
        write!(f, "`{subject}` by `{issuer}`, {not_before} to {not_after}")
    }
}

/// The verifier's refusal, and of what: the only way to tell both through rustls.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Error,
    /// The server's own certificate first; without those that cannot be read.
    pub(super) chain: Vec<Presented>,
}

impl Refusal {
    pub(super) fn of(
        error: Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Error {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain = chain.take(DESCRIBED).filter_map(Presented::of).collect();
        let refusal = Arc::new(Self { error, chain });
        Error::InvalidCertificate(CertificateError::Other(OtherError(refusal)))
    }

    /// The refusal within an error of rustls's.
    pub(super) fn within(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
