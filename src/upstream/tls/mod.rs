//! TLS towards origins: one verifier for the process, tickets for each session alone.
//!
//! Roots, provider and verifier are large and shared; a [`SessionTls`] adds 40 bytes until its first
//! handshake, then half a KiB and what its tickets hold (a certificate chain each; some 4 KiB a server), so that no origin can
//! tell by a resumed handshake that two sessions come from one place.

mod accept_any;
mod chain;
mod error;
mod roots;
mod tickets;
mod verify;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{DnsName, ServerName};
use rustls::{ClientConfig, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

pub use self::chain::Presented;
pub use self::error::{Reason, TlsError};
pub use self::roots::RootsError;

use self::accept_any::AcceptAny;
use self::tickets::Tickets;
use self::verify::Verifier;
use crate::config::HostGlob;
use crate::message::{Authority, Host};

/// Hosts named in the log as unverified; further ones go unnamed.
const NAMED_INSECURE: usize = 1_024;

/// The protocols offered to an origin (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`, then `http/1.1`.
    Both,
    /// `http/1.1` alone: for upgrades, and for origins whose HTTP/2 is broken.
    Http1Only,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        let all: &[&[u8]] = match self {
            Self::Both => &[b"h2", b"http/1.1"],
            Self::Http1Only => &[b"http/1.1"],
        };
        all.iter().map(|protocol| protocol.to_vec()).collect()
    }
}

/// What all sessions share of TLS: roots, verifier, provider. One for the process.
pub struct UpstreamTls {
    verifying: ClientConfig,
    accepting: ClientConfig,
    insecure_hosts: Vec<HostGlob>,
    named: Mutex<HashSet<Host>>,
}

impl UpstreamTls {
    /// Trusts the platform's roots and those in `upstream_ca_files` (PEM); certificates of
    /// `insecure_hosts` are not verified. Reads files: call it at start.
    ///
    /// # Errors
    /// [`RootsError`] naming the file of `upstream_ca_files` that cannot be used. The platform's own roots
    /// are taken as far as they can be read, with a warning in the log for the rest.
    pub fn new(
        upstream_ca_files: &[PathBuf],
        insecure_hosts: Vec<HostGlob>,
    ) -> Result<Self, RootsError> {
        let roots = roots::load(upstream_ca_files)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let accept_any = Arc::new(AcceptAny::new(&provider));
        let verifier = Arc::new(Verifier::new(roots, &provider));
        let config = |verifier: Arc<dyn ServerCertVerifier>| {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&version::TLS13, &version::TLS12])
                .map(|builder| {
                    builder
                        .dangerous()
                        .with_custom_certificate_verifier(verifier)
                        .with_no_client_auth()
                })
                .map_err(RootsError::Provider)
        };
        Ok(Self {
            verifying: config(verifier)?,
            accepting: config(accept_any)?,
            insecure_hosts,
            named: Mutex::default(),
        })
    }

    fn is_insecure(&self, host: &Host) -> bool {
        self.insecure_hosts.iter().any(|glob| glob.matches(host))
    }

    /// Says once for each host that its certificate is not looked at.
    fn name_insecure(&self, host: &Host) {
        let mut named = self.named.lock();
        if named.len() < NAMED_INSECURE && named.insert(host.clone()) {
            warn!(%host, "the origin's certificate is not verified (`tls.insecure_hosts`)");
        }
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("insecure_hosts", &self.insecure_hosts)
            .finish_non_exhaustive()
    }
}

/// TLS of one session: the shared part, and tickets that are used by this session only.
///
/// At most 32 servers are remembered, with two TLS 1.3 tickets each; the least recently used goes first.
pub struct SessionTls {
    shared: Arc<UpstreamTls>,
    verifying: OnceLock<TlsConnector>,
    accepting: OnceLock<TlsConnector>,
}

impl SessionTls {
    /// A session that holds no tickets yet.
    pub fn new(shared: Arc<UpstreamTls>) -> Self {
        Self {
            shared,
            verifying: OnceLock::new(),
            accepting: OnceLock::new(),
        }
    }

    /// Performs the handshake with `authority` over `io` and verifies its certificate. The deadline is the
    /// caller's. The protocol agreed upon is in the stream's `alpn_protocol()`.
    ///
    /// # Errors
    /// [`TlsError`] with the reason.
    ///
    /// # Cancellation
    /// Dropped, `io` is closed; a ticket that was offered is spent.
    pub async fn handshake<IO>(
        &self,
        io: IO,
        authority: &Authority,
        alpn: Alpn,
    ) -> Result<TlsStream<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = server_name(&authority.host).ok_or_else(|| TlsError::no_name(authority))?;
        self.connector(&authority.host)
            .with_alpn(alpn.protocols())
            .connect(name, io)
            .await
            .map_err(|source| TlsError::new(authority, source))
    }

    fn connector(&self, host: &Host) -> &TlsConnector {
        if self.shared.is_insecure(host) {
            self.shared.name_insecure(host);
            self.accepting
                .get_or_init(|| with_own_tickets(&self.shared.accepting))
        } else {
            self.verifying
                .get_or_init(|| with_own_tickets(&self.shared.verifying))
        }
    }
}

impl fmt::Debug for SessionTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTls")
            .field("used", &self.verifying.get().is_some())
            .finish_non_exhaustive()
    }
}

fn with_own_tickets(shared: &ClientConfig) -> TlsConnector {
    let mut config = shared.clone();
    config.resumption = Resumption::store(Arc::new(Tickets::default()));
    TlsConnector::from(Arc::new(config))
}

/// The name that the certificate must carry; names that no certificate can carry have none.
fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Name(name) => DnsName::try_from(name.to_string())
            .ok()
            .map(ServerName::DnsName),
        Host::V4(ip) => Some(ServerName::IpAddress((*ip).into())),
        Host::V6(ip) => Some(ServerName::IpAddress((*ip).into())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;

    use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{HandshakeKind, ServerConfig};
    use time::{Duration, OffsetDateTime};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::config::{Flag, Sources, load};

    type Handshake = Result<TlsStream<DuplexStream>, TlsError>;

    /// An authority of the tests' own, whose root is given to burdock as a file.
    struct Pki {
        issuer: Issuer<'static, KeyPair>,
        file: tempfile::NamedTempFile,
    }

    impl Pki {
        fn new() -> Self {
            let key = KeyPair::generate().expect("randomness");
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let root = params.self_signed(&key).expect("valid");
            let file = tempfile::NamedTempFile::new().expect("a temporary file");
            fs::write(&file, root.pem()).expect("written");
            Self {
                issuer: Issuer::new(params, key),
                file,
            }
        }

        /// An origin for `name` whose certificate is valid from and to so many days from now.
        fn origin(&self, name: &str, days: (i64, i64)) -> Origin {
            let key = KeyPair::generate().expect("randomness");
            let leaf = params(name, days)
                .signed_by(&key, &self.issuer)
                .expect("valid");
            Origin::new(&leaf, &key)
        }

        fn shared(&self, insecure: &[&str]) -> Arc<UpstreamTls> {
            let flag = Flag {
                name: "--insecure",
                key: "tls.insecure_hosts",
                values: insecure.iter().map(ToString::to_string).collect(),
            };
            let sources = Sources {
                flags: vec![flag],
                ..Sources::default()
            };
            let globs = load(&sources).expect("valid globs").tls.insecure_hosts;
            Arc::new(
                UpstreamTls::new(&[self.file.path().to_owned()], globs).expect("a usable root"),
            )
        }

        fn session(&self) -> SessionTls {
            SessionTls::new(self.shared(&[]))
        }
    }

    struct Origin(ServerConfig);

    fn params(name: &str, days: (i64, i64)) -> CertificateParams {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_before = OffsetDateTime::now_utc() + Duration::days(days.0);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(days.1);
        params
    }

    impl Origin {
        fn new(leaf: &Certificate, key: &KeyPair) -> Self {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let provider = Arc::new(aws_lc_rs::default_provider());
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("supported")
                .with_no_client_auth()
                .with_single_cert(vec![leaf.der().clone()], key)
                .expect("a pair");
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Self(config)
        }

        /// An origin that vouches for itself, and its certificate.
        fn self_signed(name: &str, days: (i64, i64), is_ca: IsCa) -> (Self, Certificate) {
            let key = KeyPair::generate().expect("randomness");
            let mut params = params(name, days);
            params
                .distinguished_name
                .push(rcgen::DnType::OrganizationName, "stranger");
            params.is_ca = is_ca;
            let leaf = params.self_signed(&key).expect("valid");
            (Self::new(&leaf, &key), leaf)
        }

        /// One connection of `session`, on which the origin says a byte so that its tickets arrive.
        async fn visit(&self, session: &SessionTls, host: &str, alpn: Alpn) -> Handshake {
            let (near, far) = duplex(64 * 1024);
            let accept = TlsAcceptor::from(Arc::new(self.0.clone())).accept(far);
            let authority = Authority::parse(host, Some(443)).expect(host);
            let (client, server) = tokio::join!(session.handshake(near, &authority, alpn), accept);
            let mut client = client?;
            let mut server = server.expect("the client was content");
            server.write_all(b"!").await.expect("open");
            server.flush().await.expect("open");
            assert_eq!(client.read_u8().await.expect("open"), b'!');
            Ok(client)
        }

        async fn reason(&self, session: &SessionTls, host: &str) -> TlsError {
            self.visit(session, host, Alpn::Both)
                .await
                .expect_err("no trust")
        }
    }

    fn kind(stream: &TlsStream<DuplexStream>) -> Option<HandshakeKind> {
        stream.get_ref().1.handshake_kind()
    }

    const VALID: (i64, i64) = (-1, 30);

    #[tokio::test]
    async fn the_offered_protocols_are_the_callers_choice() {
        let pki = Pki::new();
        let origin = pki.origin("shop.example", VALID);
        let session = pki.session();
        for (alpn, wanted) in [(Alpn::Both, &b"h2"[..]), (Alpn::Http1Only, b"http/1.1")] {
            let stream = origin
                .visit(&session, "shop.example", alpn)
                .await
                .expect("trusted");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(wanted));
        }
    }

    #[tokio::test]
    async fn an_address_is_verified_as_one() {
        let pki = Pki::new();
        for (name, host) in [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "[2001:db8::1]")] {
            let origin = pki.origin(name, VALID);
            assert!(
                origin.visit(&pki.session(), host, Alpn::Both).await.is_ok(),
                "{host}"
            );
            assert!(
                origin
                    .visit(&pki.session(), "192.0.2.2", Alpn::Both)
                    .await
                    .is_err(),
                "{host}"
            );
        }
    }

    #[tokio::test]
    async fn tickets_are_used_by_the_session_that_received_them_only() {
        let pki = Pki::new();
        for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
            let mut origin = pki.origin("shop.example", VALID);
            let resolver = Arc::clone(&origin.0.cert_resolver);
            origin.0 = ServerConfig::builder_with_provider(Arc::clone(origin.0.crypto_provider()))
                .with_protocol_versions(versions)
                .expect("supported")
                .with_no_client_auth()
                .with_cert_resolver(resolver);
            let shared = pki.shared(&[]);
            let (a, b) = (
                SessionTls::new(Arc::clone(&shared)),
                SessionTls::new(shared),
            );
            for (session, wanted) in [
                (&a, HandshakeKind::Full),
                (&a, HandshakeKind::Resumed),
                (&b, HandshakeKind::Full),
                (&b, HandshakeKind::Resumed),
                (&a, HandshakeKind::Resumed),
            ] {
                let stream = origin
                    .visit(session, "shop.example", Alpn::Both)
                    .await
                    .expect("trusted");
                assert_eq!(kind(&stream), Some(wanted), "{versions:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_certificate_is_said_with_the_remedy() {
        let pki = Pki::new();
        let session = pki.session();
        // Its root has the name of ours, as that of a CA made anew would.
        let namesake = Pki::new().origin("shop.example", VALID);
        assert_eq!(
            namesake.reason(&session, "shop.example").await.reason,
            Reason::UnknownIssuer
        );
        let stranger = Origin::self_signed("shop.example", VALID, IsCa::NoCa).0;
        let error = stranger.reason(&session, "shop.example").await;
        assert_eq!(error.reason, Reason::UnknownIssuer);
        let [presented] = &error.chain[..] else {
            panic!("one certificate: {:?}", error.chain)
        };
        assert_eq!(presented.subject, presented.issuer, "it is self-signed");
        assert_eq!(
            error.to_string(),
            format!(
                "TLS with `shop.example:443`: the certificate is signed by no trusted root: `{}` is not known here; presented \
                 was {presented}; add its root to `tls.upstream_ca_files`, or `shop.example` to `tls.insecure_hosts`",
                presented.issuer
            )
        );
        let expired = pki
            .origin("shop.example", (-30, -1))
            .reason(&session, "shop.example")
            .await;
        assert!(
            matches!(expired.reason, Reason::Expired(Some(_))),
            "{expired}"
        );
        let early = pki
            .origin("shop.example", (1, 30))
            .reason(&session, "shop.example")
            .await;
        assert!(
            matches!(early.reason, Reason::NotYetValid(Some(_))),
            "{early}"
        );
        let other = pki
            .origin("other.example", VALID)
            .reason(&session, "shop.example")
            .await;
        assert!(matches!(other.reason, Reason::NameMismatch(_)), "{other}");
        assert!(other.to_string().contains("other.example"), "{other}");
        for error in [error, expired, early, other] {
            assert!(error.is_certificate());
            assert!(std::error::Error::source(&error).is_some());
        }
    }

    #[tokio::test]
    async fn a_self_signed_certificate_is_trusted_once_it_is_named() {
        let ca = IsCa::Ca(BasicConstraints::Unconstrained);
        for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, ca] {
            let (origin, certificate) = Origin::self_signed("shop.example", VALID, is_ca);
            let (expired, ended) = Origin::self_signed("shop.example", (-30, -1), is_ca);
            let pki = Pki::new();
            let error = origin.reason(&pki.session(), "shop.example").await;
            assert_eq!(error.reason, Reason::UnknownIssuer);
            fs::write(&pki.file, certificate.pem() + &ended.pem()).expect("written");
            let session = pki.session();
            let trusted = origin.visit(&session, "shop.example", Alpn::Both).await;
            assert!(trusted.is_ok(), "{trusted:?}");
            let error = origin.reason(&session, "other.example").await;
            assert!(matches!(error.reason, Reason::NameMismatch(_)), "{error}");
            let error = expired.reason(&session, "shop.example").await;
            assert!(matches!(error.reason, Reason::Expired(Some(_))), "{error}");
        }
    }

    #[tokio::test]
    async fn an_insecure_host_may_present_anything_and_others_may_not() {
        let pki = Pki::new();
        let session = SessionTls::new(pki.shared(&["shop.example"]));
        let stranger = Pki::new().origin("whoever.example", (-30, -1));
        let stream = stranger.visit(&session, "shop.example", Alpn::Both).await;
        assert_eq!(kind(&stream.expect("accepted")), Some(HandshakeKind::Full));
        let again = stranger.visit(&session, "shop.example", Alpn::Both).await;
        assert_eq!(
            kind(&again.expect("accepted")),
            Some(HandshakeKind::Resumed)
        );
        assert!(
            stranger
                .visit(&session, "whoever.example", Alpn::Both)
                .await
                .is_err()
        );
        assert_eq!(session.shared.named.lock().len(), 1, "named once");
    }

    #[tokio::test]
    async fn what_is_no_tls_is_told_apart() {
        let pki = Pki::new();
        let shop = Authority::parse("shop.example:80", None).expect("valid");
        for (answer, wanted) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Reason::NotTls),
            (b"", Reason::Closed),
            // A fatal alert in the clear: handshake_failure.
            (
                &[21, 3, 3, 0, 2, 2, 40],
                Reason::Refused(rustls::AlertDescription::HandshakeFailure),
            ),
        ] {
            let (near, mut far) = duplex(64 * 1024);
            far.write_all(answer).await.expect("room");
            far.shutdown().await.expect("open");
            let error = pki
                .session()
                .handshake(near, &shop, Alpn::Both)
                .await
                .expect_err("no TLS");
            assert_eq!(error.reason, wanted);
            assert!(!error.is_certificate());
        }
    }

    #[tokio::test]
    async fn a_name_for_which_there_is_no_certificate_is_refused_before_the_handshake() {
        let (near, _far) = duplex(1);
        let odd = Authority {
            host: Host::Name("a!b.example".into()),
            port: 443,
        };
        let error = Pki::new()
            .session()
            .handshake(near, &odd, Alpn::Both)
            .await
            .expect_err("odd");
        assert_eq!(error.reason, Reason::NoServerName);
        let source =
            std::error::Error::source(&error).and_then(|error| error.downcast_ref::<io::Error>());
        assert_eq!(
            source.map(io::Error::kind),
            Some(io::ErrorKind::InvalidInput)
        );
    }

    #[test]
    fn an_unused_session_costs_next_to_nothing() {
        assert!(size_of::<SessionTls>() <= 48, "{}", size_of::<SessionTls>());
    }
}
