//! A connection to one server: TCP, TLS where it is wanted, the login.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisResult, Value};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::trouble::{Refusal, Trouble};
use super::url::{Address, RedisUrl};

/// How long a server has for a connection, and for the answer to a probe.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a server has for the TLS handshake of a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(800);

/// Makes connections, all of one login.
#[derive(Debug)]
pub(super) struct Dialer {
    url: RedisUrl,
    ca_files: Vec<PathBuf>,
    /// Read when the first TLS connection is made.
    tls: OnceCell<Arc<ClientConfig>>,
}

/// A connection that commands share. It ends with the last handle.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    closed: CancellationToken,
    _driver: Arc<AbortOnDropHandle<()>>,
}

/// Whether a connection logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// As the URL says, and to its database.
    Yes,
    /// Not yet: sentinels rarely want one.
    No,
}

impl Dialer {
    pub(super) fn new(url: RedisUrl, ca_files: Vec<PathBuf>) -> Self {
        Self {
            url,
            ca_files,
            tls: OnceCell::new(),
        }
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// A connection for commands.
    pub(super) async fn wire(&self, address: &Address, login: Login) -> Result<Wire, Trouble> {
        let connecting = async {
            let stream = self.stream(address).await?;
            // Deadlines are the callers'.
            let config = AsyncConnectionConfig::new()
                .set_response_timeout(None)
                .set_connection_timeout(None)
                .set_pipeline_buffer_size(PIPELINE);
            let made =
                MultiplexedConnection::new_with_config(&self.login(login), stream, config).await;
            let (connection, driver) = made.map_err(|error| Trouble::answered(address, &error))?;
            let closed = CancellationToken::new();
            let ends = closed.clone().drop_guard();
            let driver = tokio::spawn(async move {
                let _ends = ends;
                driver.await;
            });
            Ok(Wire {
                connection,
                closed,
                _driver: Arc::new(AbortOnDropHandle::new(driver)),
            })
        };
        let made = timeout(PROBE_TIMEOUT, connecting).await;
        made.unwrap_or_else(|_| Err(Trouble::silent(address)))
    }

    /// A connection that listens to one channel.
    pub(super) async fn listen(&self, address: &Address, channel: &str) -> Result<PubSub, Trouble> {
        let connecting = async {
            let stream = self.stream(address).await?;
            let refused = |error| Trouble::answered(address, &error);
            let made = PubSub::new(&self.login(Login::Yes), stream).await;
            let mut listening = made.map_err(refused)?;
            listening.subscribe(channel).await.map_err(refused)?;
            Ok(listening)
        };
        let made = timeout(PROBE_TIMEOUT, connecting).await;
        made.unwrap_or_else(|_| Err(Trouble::silent(address)))
    }

    fn login(&self, login: Login) -> RedisConnectionInfo {
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        if login == Login::No {
            return info;
        }
        let info = info.set_db(self.url.database);
        let info = match self.url.user.as_str() {
            "" => info,
            user => info.set_username(user),
        };
        match &self.url.password {
            Some(password) => info.set_password(password),
            None => info,
        }
    }

    async fn stream(&self, address: &Address) -> Result<Stream, Trouble> {
        let made = TcpStream::connect((address.host.as_str(), address.port)).await;
        let stream = made
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| Trouble::unreachable(address, &error))?;
        if !self.url.tls {
            return Ok(Stream::Plain(stream));
        }
        let config = self
            .tls
            .get_or_try_init(|| trusting(&self.ca_files))
            .await?;
        let name = ServerName::try_from(address.host.clone())
            .map_err(|error| Trouble::tls(address, &error))?;
        let connector = TlsConnector::from(Arc::clone(config));
        // A server that speaks no TLS may wait for the rest of what it takes for a command.
        match timeout(HANDSHAKE_TIMEOUT, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(Trouble::tls(address, &error)),
            Err(_) => Err(Trouble::tls(address, &"the handshake is not answered")),
        }
    }
}

impl Wire {
    /// Whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Has it count as ended: it is not used for anything new.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Waits until it has.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Sends a command; its answer, errors of the server being errors.
    ///
    /// Dropped before the answer, the command may be executed all the same.
    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = self.connection.clone();
        connection
            .req_packed_command(command)
            .await?
            .extract_error()
    }

    /// Sends a command to a node of a cluster that is only about to own its slot.
    pub(super) async fn send_asking(&self, command: &Cmd) -> RedisResult<Value> {
        let mut pipe = redis::pipe();
        pipe.cmd("ASKING");
        pipe.add_command(command.clone());
        let mut connection = self.connection.clone();
        let answers = connection.req_packed_commands(&pipe, 1, 1).await?;
        answers
            .into_iter()
            .next()
            .unwrap_or(Value::Nil)
            .extract_error()
    }

    /// Sends a command that has to be answered as quickly as a probe.
    pub(super) async fn ask(&self, address: &Address, command: &Cmd) -> Result<Value, Trouble> {
        match timeout(PROBE_TIMEOUT, self.send(command)).await {
            Ok(answer) => answer.map_err(|error| Trouble::answered(address, &error)),
            Err(_) => Err(Trouble::silent(address)),
        }
    }

    /// A sentinel's answer; it gets the login only where it wants one.
    pub(super) async fn ask_sentinel(
        &self,
        dialer: &Dialer,
        address: &Address,
        command: &Cmd,
    ) -> Result<Value, Trouble> {
        let asking = async {
            match self.send(command).await {
                Err(error) if Refusal::of(&error) == Refusal::NoLogin => {}
                answer => return answer,
            }
            let mut login = redis::cmd("AUTH");
            if !dialer.url.user.is_empty() {
                login.arg(&dialer.url.user);
            }
            login.arg(dialer.url.password.as_deref().unwrap_or_default());
            self.send(&login).await?;
            self.send(command).await
        };
        match timeout(PROBE_TIMEOUT, asking).await {
            Ok(answer) => answer.map_err(|error| Trouble::answered(address, &error)),
            Err(_) => Err(Trouble::silent(address)),
        }
    }
}

/// Commands that may wait for a place on the wire before their senders wait.
const PIPELINE: usize = 1024;

/// Trust in the platform's roots and in those of some files.
async fn trusting(ca_files: &[PathBuf]) -> Result<Arc<ClientConfig>, Trouble> {
    let ca_files = ca_files.to_vec();
    let reading = tokio::task::spawn_blocking(move || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for file in &ca_files {
            let bad = |error: &dyn std::fmt::Display| {
                Trouble::new(format_args!(
                    "the certificates of `{}` cannot be used for Redis ({error})",
                    file.display()
                ))
            };
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))? {
                let certificate = certificate.map_err(|error| bad(&error))?;
                roots.add(certificate).map_err(|error| bad(&error))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Trouble::new(format_args!("TLS is not available ({error})")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    });
    reading.await.unwrap_or_else(|error| {
        Err(Trouble::new(format_args!(
            "roots could not be read ({error})"
        )))
    })
}

/// The bytes to and from a server.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
