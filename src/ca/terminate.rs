//! TLS towards clients: what all leaves share of it.

use std::sync::Arc;

use rcgen::KeyPair;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{CipherSuite, ServerConfig, version};

use super::error::CaError;
use super::profile::{Root, new_key};

/// Tickets sent after a TLS 1.3 handshake. A client uses a ticket once and receives the next when it does;
/// each costs 4 of some 70 microseconds.
const TICKETS: usize = 1;

/// The leaves' key and the configuration they are all served with.
///
/// One key serves all leaves of a process, as in mitmproxy. It lives in memory only and ends with the
/// process; whoever could read it there could as well ask for a leaf of any name, so a key a host would
/// protect nothing, and would cost each first connection a key generation.
pub(super) struct Terminator {
    key: KeyPair,
    signing_key: Arc<dyn SigningKey>,
    template: ServerConfig,
}

impl Terminator {
    pub(super) fn new() -> Result<Self, CaError> {
        let key = new_key()?;
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing_key = aws_lc_rs::sign::any_ecdsa_type(&pkcs8)?;
        Ok(Self {
            key,
            signing_key,
            template: template()?,
        })
    }

    pub(super) fn leaf_key(&self) -> &KeyPair {
        &self.key
    }

    /// The chain that is served: the root goes along so that clients may pin its key.
    pub(super) fn certified_key(
        &self,
        leaf: CertificateDer<'static>,
        root: &Root,
    ) -> Arc<CertifiedKey> {
        let chain = vec![leaf, root.der().clone()];
        Arc::new(CertifiedKey::new(chain, Arc::clone(&self.signing_key)))
    }

    /// The shared configuration with this leaf in it. Ticket keys and session cache stay shared: a ticket
    /// is only honoured under the server name it was issued for.
    pub(super) fn server_config(&self, certified_key: &Arc<CertifiedKey>) -> Arc<ServerConfig> {
        let mut config = self.template.clone();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(certified_key)));
        Arc::new(config)
    }
}

fn template() -> Result<ServerConfig, CaError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Stateless tickets: resumption costs no memory here, however many clients there are.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = TICKETS;
    config.ignore_client_order = has_aes();
    Ok(config)
}

/// Clients are on this machine or its network, so what guards for decades would only cost computing: there is
/// no post-quantum key exchange, and AES-128 with SHA-256 goes before the AES-256 with SHA-384 that OpenSSL's
/// clients name first. The latter makes a handshake of 97 microseconds one of 69.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    provider
        .cipher_suites
        .sort_by_key(|suite| !is_aes_128(suite.suite()));
    provider
}

fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Whether this processor computes AES itself. Where it does not, `ChaCha20` is faster, and a client on the same
/// machine names that first.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    let found = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let found = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = false;
    found
}
