//! The certificate authority of the test origins, and TLS settings for both ends.

use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// The authority that burdock is told to trust (`tls.upstream_ca_files`).
pub(crate) static TRUSTED: LazyLock<Authority> =
    LazyLock::new(|| Authority::new("burdock test origins"));

/// One that nobody is told to trust.
pub(crate) static UNTRUSTED: LazyLock<Authority> =
    LazyLock::new(|| Authority::new("nobody knows me"));

/// A certificate authority of the tests.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params =
            CertificateParams::new(Vec::new()).expect("no names is a valid list of names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root certificate"))
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `names` and its key, both PEM.
    pub(crate) fn leaf(&self, names: &[&str]) -> (String, String) {
        self.leaf_valid(names, None)
    }

    fn leaf_valid(&self, names: &[&str], days: Option<(i64, i64)>) -> (String, String) {
        let bare = |name: &&str| name.trim_matches(['[', ']']).to_owned();
        let names: Vec<String> = names.iter().map(bare).collect();
        let mut params = CertificateParams::new(names).expect("names and addresses");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        if let Some((from, to)) = days {
            let now = time::OffsetDateTime::now_utc();
            params.not_before = now + time::Duration::days(from);
            params.not_after = now + time::Duration::days(to);
        }
        let key = KeyPair::generate().expect("a key");
        let leaf = params
            .signed_by(&key, &self.0)
            .expect("a signed certificate");
        (leaf.pem(), key.serialize_pem())
    }

    /// Server settings with a certificate for `name`.
    pub(crate) fn server(&self, name: &str, alpn: &[&str]) -> ServerConfig {
        self.server_of(&[name], alpn)
    }

    /// Server settings with one certificate for all `names`.
    pub(crate) fn server_of(&self, names: &[&str], alpn: &[&str]) -> ServerConfig {
        Self::serving(self.leaf(names), alpn)
    }

    /// The same, valid from so many days from now to so many.
    pub(crate) fn server_valid(
        &self,
        names: &[&str],
        alpn: &[&str],
        days: (i64, i64),
    ) -> ServerConfig {
        Self::serving(self.leaf_valid(names, Some(days)), alpn)
    }

    fn serving((leaf, key): (String, String), alpn: &[&str]) -> ServerConfig {
        let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).expect("our own certificate");
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).expect("our own key");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf], PrivateKeyDer::Pkcs8(key))
            .expect("the key is the certificate's");
        config.alpn_protocols = alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        config
    }
}

/// Client settings that trust the authority in `ca_pem` alone.
pub(crate) fn client(ca_pem: &str, alpn: &[&str]) -> ClientConfig {
    client_of(ca_pem, alpn, rustls::DEFAULT_VERSIONS)
}

/// The same with these versions of TLS alone.
pub(crate) fn client_of(
    ca_pem: &str,
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots
            .add(certificate.expect("PEM"))
            .expect("a certificate authority");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("the provider has these versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    config
}
