//! The certificate authority: one root on disk, leaves minted on demand for intercepted hosts.
//!
//! [`CertificateAuthority::open_or_create`] is called once at start (it blocks on the disk);
//! [`CertificateAuthority::server_config`] is what a door asks for each intercepted connection. The
//! authority's key signs leaves and nothing else: no handshake ever uses it.

mod error;
mod files;
mod leaf;
mod profile;
mod terminate;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

pub use self::error::CaError;
pub use self::leaf::Leaf;

use self::leaf::Leaves;
use self::profile::Root;
use self::terminate::Terminator;
use crate::message::Host;
use crate::session::time::Timestamp;

/// The root that clients trust, and the leaves minted under it.
///
/// At most 4,096 leaves are kept, about 1.5 KiB each; when that is full the least useful one goes and is
/// minted anew when its host is next asked for.
pub struct CertificateAuthority {
    root: Root,
    path: PathBuf,
    leaves: Leaves,
}

impl CertificateAuthority {
    /// Opens the authority kept in `dir` as `burdock-ca.pem` and `burdock-ca.key`, or makes it.
    ///
    /// Leaves will be valid for at most `leaf_validity`, back-dating included. Blocks on the disk, and on
    /// another process that is making the same authority at this moment.
    ///
    /// # Errors
    /// [`CaError`] when a file cannot be read or written, the key may be read by others than its owner,
    /// one half is missing, the halves do not belong together, or the authority is expired.
    pub fn open_or_create(
        dir: &Path,
        leaf_validity: Duration,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let root = files::open_or_create(dir, now)?;
        let leaves = Leaves::new(Terminator::new()?, leaf_validity);
        Ok(Self {
            root,
            path: files::certificate_path(dir),
            leaves,
        })
    }

    /// The TLS configuration that a client expecting `host` is served with: `h2` and `http/1.1`, TLS 1.2
    /// and 1.3, the chain of the leaf and this authority.
    ///
    /// # Errors
    /// As [`CertificateAuthority::leaf_for`].
    pub fn server_config(&self, host: &Host, now: Timestamp) -> Result<Arc<ServerConfig>, CaError> {
        Ok(Arc::clone(self.leaf_for(host, now)?.server_config()))
    }

    /// The leaf for `host`, minted once however many threads ask at once and again when a third of its
    /// remaining validity is left. Minting takes some 25 microseconds of computing and no I/O, so it may
    /// be called on an asynchronous worker.
    ///
    /// # Errors
    /// [`CaError::Name`] for a name that no certificate can carry, [`CaError::Expired`] once the
    /// authority itself is.
    pub fn leaf_for(&self, host: &Host, now: Timestamp) -> Result<Arc<Leaf>, CaError> {
        self.leaves.leaf_for(&self.root, host, now)
    }

    /// The authority's certificate, PEM, without the key.
    pub fn pem(&self) -> &str {
        self.root.pem()
    }

    /// The authority's certificate, DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.root.der()
    }

    /// Where the authority's certificate is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the certificate in colon-separated upper-case hex, as openssl and browsers show it.
    pub fn fingerprint_sha256(&self) -> String {
        let digest = Sha256::digest(self.root.der());
        let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    /// SHA-256 of the public key (`SubjectPublicKeyInfo`) in base64, as HPKP (RFC 7469) and Chromium's
    /// `--ignore-certificate-errors-spki-list` write pins.
    pub fn spki_sha256_base64(&self) -> String {
        STANDARD.encode(Sha256::digest(self.root.spki()))
    }

    /// When the authority ends and clients will no longer accept what it signs.
    pub fn not_after(&self) -> Timestamp {
        self.root.not_after()
    }

    /// How many leaves are kept at this moment.
    pub fn cached_leaves(&self) -> usize {
        self.leaves.len()
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("path", &self.path)
            .field("fingerprint", &self.fingerprint_sha256())
            .field("leaves", &self.leaves.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore};
    use rustls::{SupportedProtocolVersion, version};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    struct Client(TlsConnector);

    /// What a client has learnt from a handshake.
    #[derive(Debug)]
    struct Seen {
        kind: Option<HandshakeKind>,
        version: Option<ProtocolVersion>,
        group: Option<NamedGroup>,
        alpn: Option<Vec<u8>>,
    }

    fn now() -> Timestamp {
        crate::clock::now()
    }

    fn authority(dir: &tempfile::TempDir) -> CertificateAuthority {
        let month = Duration::from_hours(30 * 24);
        CertificateAuthority::open_or_create(dir.path(), month, now()).expect("made")
    }

    impl Client {
        fn trusting(
            authority: &CertificateAuthority,
            versions: &[&'static SupportedProtocolVersion],
            alpn: &[&[u8]],
        ) -> Self {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).expect("a root");
            let provider = Arc::new(aws_lc_rs::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(versions)
                .expect("supported")
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
            Self(TlsConnector::from(Arc::new(config)))
        }

        /// Visits `host`, reading a byte so that tickets arrive.
        async fn visit(&self, authority: &CertificateAuthority, host: &str) -> Seen {
            let config = authority
                .server_config(&Host::parse(host).expect(host), now())
                .expect("minted");
            let (near, far) = duplex(64 * 1024);
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).expect(host);
            let accept = TlsAcceptor::from(config).accept(far);
            let (client, server) = tokio::join!(self.0.connect(name, near), accept);
            let (mut client, mut server) = (client.expect("trusted"), server.expect("agreed"));
            server.write_all(b"!").await.expect("open");
            server.flush().await.expect("open");
            assert_eq!(client.read_u8().await.expect("open"), b'!');
            let tls = client.get_ref().1;
            Seen {
                kind: tls.handshake_kind(),
                version: tls.protocol_version(),
                group: tls
                    .negotiated_key_exchange_group()
                    .map(SupportedKxGroup::name),
                alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_is_served_any_host() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let authority = authority(&dir);
        for (tls, version) in [
            (&version::TLS13, ProtocolVersion::TLSv1_3),
            (&version::TLS12, ProtocolVersion::TLSv1_2),
        ] {
            for host in ["shop.example", "192.0.2.1", "[2001:db8::1]"] {
                let client = Client::trusting(&authority, &[tls], &[b"h2", b"http/1.1"]);
                let seen = client.visit(&authority, host).await;
                assert_eq!(seen.version, Some(version), "{host}");
                assert_eq!(seen.alpn.as_deref(), Some(&b"h2"[..]), "{host}");
                assert_eq!(seen.group, Some(NamedGroup::X25519), "{host}");
            }
        }
        assert_eq!(authority.cached_leaves(), 3);
    }

    #[tokio::test]
    async fn a_client_without_h2_is_served_http_1() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let authority = authority(&dir);
        for (offered, wanted) in [
            (&[&b"http/1.1"[..]][..], Some(&b"http/1.1"[..])),
            (&[], None),
        ] {
            let client = Client::trusting(&authority, &[&version::TLS13], offered);
            assert_eq!(
                client
                    .visit(&authority, "shop.example")
                    .await
                    .alpn
                    .as_deref(),
                wanted
            );
        }
    }

    #[tokio::test]
    async fn a_client_that_comes_again_resumes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let authority = authority(&dir);
        for tls in [&version::TLS13, &version::TLS12] {
            let client = Client::trusting(&authority, &[tls], &[]);
            for wanted in [
                HandshakeKind::Full,
                HandshakeKind::Resumed,
                HandshakeKind::Resumed,
            ] {
                assert_eq!(
                    client.visit(&authority, "shop.example").await.kind,
                    Some(wanted)
                );
            }
            assert_eq!(
                client.visit(&authority, "other.example").await.kind,
                Some(HandshakeKind::Full)
            );
        }
    }

    #[test]
    fn it_shows_its_certificate_and_never_its_key() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let authority = authority(&dir);
        let key = std::fs::read_to_string(dir.path().join("burdock-ca.key")).expect("there");
        let secret = key.lines().nth(1).expect("base64");
        let shown = format!("{authority:?}{}", authority.pem());
        assert!(!shown.contains(secret) && !shown.contains("PRIVATE KEY"));
        assert_eq!(authority.path(), dir.path().join("burdock-ca.pem"));
        assert_eq!(
            std::fs::read_to_string(authority.path()).expect("there"),
            authority.pem()
        );
        let fingerprint = authority.fingerprint_sha256();
        assert_eq!(fingerprint.len(), 32 * 3 - 1);
        assert!(
            fingerprint
                .split(':')
                .all(|pair| u8::from_str_radix(pair, 16).is_ok())
        );
        assert_eq!(
            STANDARD
                .decode(authority.spki_sha256_base64())
                .expect("base64")
                .len(),
            32
        );
    }
}
