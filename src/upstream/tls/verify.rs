//! The verifier of origins: chains to a trusted root, and self-signed certificates that are trusted as such.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::chain::Refusal;
use super::roots::Roots;

/// rustls's verifier, with one thing added.
///
/// `openssl req -x509` marks the certificate it signs for a server as a CA. Named in
/// `tls.upstream_ca_files` it is what OpenSSL's users expect to be trusted; webpki refuses a CA as a server
/// whatever its root. Such a certificate, byte for byte the one in the file, is accepted here for the names
/// and the time it states.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` without any root: nothing verifies then.
    chains: Option<Arc<WebPkiServerVerifier>>,
    named: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(roots: Roots, provider: &Arc<CryptoProvider>) -> Self {
        let store = Arc::new(roots.store);
        // Only an empty store makes this fail, as no revocation lists are given.
        let chains =
            WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider)).build();
        Self {
            chains: chains.ok(),
            named: roots.named,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chains) = &self.chains else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        match chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(error) if is_ca_as_server(&error) && self.is_named(end_entity) => {
                verify_validity(end_entity, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        self.named.iter().any(|named| named == certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| Refusal::of(error, end_entity, intermediates))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether webpki refused the certificate for being a CA's.
pub(super) fn is_ca_as_server(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    matches!(
        other.0.downcast_ref::<webpki::Error>(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

fn verify_validity(
    certificate: &CertificateDer<'_>,
    time: UnixTime,
) -> Result<(), CertificateError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    // Before 1970 is before any `now`.
    let seconds = |at: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.max(0).cast_unsigned()))
    };
    let not_before = seconds(parsed.validity().not_before.timestamp());
    let not_after = seconds(parsed.validity().not_after.timestamp());
    if time < not_before {
        return Err(CertificateError::NotValidYetContext { time, not_before });
    }
    if time > not_after {
        return Err(CertificateError::ExpiredContext { time, not_after });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs;

    use super::*;

    #[test]
    fn without_any_root_nobody_is_trusted() {
        let key = rcgen::KeyPair::generate().expect("randomness");
        let params = rcgen::CertificateParams::new(["shop.example".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("valid");
        let roots = Roots {
            store: RootCertStore::empty(),
            named: Vec::new(),
        };
        let verifier = Verifier::new(roots, &Arc::new(aws_lc_rs::default_provider()));
        let name = ServerName::try_from("shop.example").expect("a name");
        let outcome =
            verifier.verify_server_cert(certificate.der(), &[], &name, &[], UnixTime::now());
        let refused = outcome.expect_err("no root");
        let refusal = Refusal::within(&refused).expect("what was presented");
        assert_eq!(refusal.error, CertificateError::UnknownIssuer.into());
        assert_eq!(refusal.chain.len(), 1);
        assert!(!verifier.supported_verify_schemes().is_empty());
    }
}
