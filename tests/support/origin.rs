//! An origin server that records what reaches it, byte by byte, and answers from a script.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{HandshakeKind, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::head::Head;
use super::raw::{Raw, text};
use super::reply::{Body, Reply, Then};
use super::{tls, within};

/// One request as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The connection it came by, counted from 0.
    pub(crate) connection: usize,
    /// The connection whose TLS ticket that connection's handshake resumed, if it did.
    pub(crate) resumes: Option<usize>,
    /// The name the client asked for in that handshake.
    pub(crate) sni: Option<String>,
    pub(crate) h2: bool,
    pub(crate) method: String,
    /// The request target; on h2 the path, with `:authority` among the head's lines.
    pub(crate) target: String,
    pub(crate) head: Head,
    /// The head as it was on the wire (HTTP/1.1).
    pub(crate) raw: String,
    pub(crate) body: Vec<u8>,
    pub(crate) body_length: u64,
}

impl Seen {
    /// The first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The `Cookie` field, empty where there is none.
    pub(crate) fn cookie(&self) -> &str {
        assert!(
            self.head.fields("cookie").len() < 2,
            "several Cookie fields: {:?}",
            self.head
        );
        self.field("cookie").unwrap_or("")
    }
}

type Script = Arc<dyn Fn(&Seen) -> Option<Reply> + Send + Sync>;

/// A server on a free port of 127.0.0.1 that answers for one host name.
pub(crate) struct Origin {
    name: String,
    secure: bool,
    address: SocketAddr,
    record: Arc<Record>,
    accepting: JoinHandle<()>,
}

impl Origin {
    /// An HTTP origin.
    pub(crate) fn plain(name: &str) -> Builder {
        Builder::new(name, None)
    }

    /// An HTTPS origin that offers HTTP/1.1 and no ALPN but that.
    pub(crate) fn tls(name: &str) -> Builder {
        Builder::new(name, Some(tls::TRUSTED.server(name, &["http/1.1"])))
    }

    /// An HTTPS origin that offers h2 and HTTP/1.1.
    pub(crate) fn h2(name: &str) -> Builder {
        Builder::new(name, Some(tls::TRUSTED.server(name, &["h2", "http/1.1"])))
    }

    /// An HTTPS origin with TLS settings of the test's own.
    pub(crate) fn with_tls(name: &str, config: ServerConfig) -> Builder {
        Builder::new(name, Some(config))
    }

    /// A TCP server that is no HTTP server: `serve` gets each connection.
    pub(crate) async fn tcp<F>(name: &str, serve: impl Fn(Raw) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (listener, address) = listen().await;
        let record = Arc::new(Record::default());
        let counted = Arc::clone(&record);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                counted.connected(peer);
                // What is sent is there, and does not wait for an acknowledgement of what came before.
                stream.set_nodelay(true).expect("TCP_NODELAY is set");
                tokio::spawn(serve(Raw::over(stream)));
            }
        });
        Self {
            name: name.to_owned(),
            secure: false,
            address,
            record,
            accepting,
        }
    }

    /// A TLS server that offers `alpn`: `serve` gets what each connection decrypts to, and the protocol that was chosen.
    pub(crate) async fn tls_tcp<F>(
        name: &str,
        alpn: &[&str],
        serve: impl Fn(Raw, Option<String>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(Arc::new(tls::TRUSTED.server(name, alpn)));
        let mut origin = Self::tcp(name, move |wire| {
            let accepting = acceptor.accept(wire.into_stream());
            let serve = serve.clone();
            async move {
                // A client that goes away during the handshake is no connection.
                let Ok(stream) = accepting.await else { return };
                let chosen = stream.get_ref().1.alpn_protocol().map(text);
                serve(Raw::over(stream), chosen).await;
            }
        })
        .await;
        origin.secure = true;
        origin
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `HOST:PORT` as its users know it: the scheme's own port.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.name, self.port())
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!(
            "{}://{}{path}",
            if self.secure { "https" } else { "http" },
            self.name
        )
    }

    /// `HOST:PORT:ADDR:PORT`: how burdock is told where it is (`upstream.connect_to`).
    pub(crate) fn connect_to(&self) -> String {
        format!(
            "{}:{}:{}:{}",
            self.name,
            self.port(),
            self.address.ip(),
            self.address.port()
        )
    }

    /// What arrived up to now.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.record
            .requests
            .lock()
            .expect("no holder panics")
            .clone()
    }

    /// The last request.
    pub(crate) fn last(&self) -> Seen {
        self.requests().pop().expect("a request arrived")
    }

    /// Whence connections came, in their order.
    pub(crate) fn peers(&self) -> Vec<IpAddr> {
        self.record.peers.lock().expect("no holder panics").clone()
    }

    /// How many connections were opened up to now.
    pub(crate) fn connections(&self) -> usize {
        self.record.peers.lock().expect("no holder panics").len()
    }

    /// Waits for `count` requests in all, and gives them.
    pub(crate) async fn seen(&self, count: usize) -> Vec<Seen> {
        let enough = async {
            loop {
                let grew = self.record.grew.notified();
                if self.requests().len() >= count {
                    return self.requests();
                }
                grew.await;
            }
        };
        within(&format!("{count} requests at {}", self.name), enough).await
    }

    fn port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An origin before it listens.
pub(crate) struct Builder {
    name: String,
    tls: Option<ServerConfig>,
    scripts: Vec<Script>,
}

impl Builder {
    fn new(name: &str, tls: Option<ServerConfig>) -> Self {
        Self {
            name: name.to_owned(),
            tls,
            scripts: Vec::new(),
        }
    }

    /// Answers `path` (without its query) with `reply`.
    #[must_use]
    pub(crate) fn on(self, path: &str, reply: Reply) -> Self {
        let path = path.to_owned();
        self.script(move |seen| {
            (seen.target.split('?').next() == Some(&path)).then(|| reply.clone())
        })
    }

    /// Answers whatever no earlier rule does.
    #[must_use]
    pub(crate) fn respond(self, reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        self.script(move |seen| Some(reply(seen)))
    }

    fn script(mut self, script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        self.scripts.push(Arc::new(script));
        self
    }

    /// Listens. What no rule answers gets 200 and `ok`.
    pub(crate) async fn start(self) -> Origin {
        let (listener, address) = listen().await;
        let record = Arc::new(Record::default());
        let secure = self.tls.is_some();
        let tls = self.tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let server = Arc::new(Server {
            tls,
            scripts: self.scripts,
            record: Arc::clone(&record),
        });
        let accepting = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let connection = server.record.connected(peer);
                tokio::spawn(Arc::clone(&server).connection(stream, connection));
            }
        });
        Origin {
            name: self.name,
            secure,
            address,
            record,
            accepting,
        }
    }
}

#[derive(Default)]
struct Record {
    requests: Mutex<Vec<Seen>>,
    /// Whence each connection came.
    peers: Mutex<Vec<IpAddr>>,
    grew: Notify,
}

impl Record {
    /// Counts a connection; its number, from 0.
    fn connected(&self, peer: SocketAddr) -> usize {
        let mut peers = self.peers.lock().expect("no holder panics");
        peers.push(peer.ip());
        peers.len() - 1
    }
}

struct Server {
    tls: Option<TlsAcceptor>,
    scripts: Vec<Script>,
    record: Arc<Record>,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, connection: usize) {
        let _ = stream.set_nodelay(true);
        let mut facts = Seen {
            connection,
            ..Seen::default()
        };
        let Some(acceptor) = &self.tls else {
            return self.http1(Raw::over(stream), facts).await;
        };
        // A client that refuses the certificate ends here; what it does then is what a test looks at.
        // A ticket says which connection it was given on, so that one that changes hands is found out.
        let number = connection.to_be_bytes();
        let accepting =
            acceptor.accept_with(stream, |session| session.set_resumption_data(&number));
        let Ok(stream) = accepting.await else { return };
        let session = stream.get_ref().1;
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            let number = session
                .received_resumption_data()
                .expect("every ticket has it");
            facts.resumes = Some(usize::from_be_bytes(number.try_into().expect("a number")));
        }
        facts.sni = session.server_name().map(str::to_owned);
        facts.h2 = session.alpn_protocol() == Some(b"h2");
        if facts.h2 {
            let service = hyper::service::service_fn(move |request| {
                Arc::clone(&self).http2(request, facts.clone())
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // A client may go away at any time; the test sees the request or not.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        } else {
            self.http1(Raw::over(stream), facts).await;
        }
    }

    async fn http1(&self, mut wire: Raw, facts: Seen) {
        while let Some((raw, head)) = wire.next_head().await {
            let mut words = head.start.split(' ').map(str::to_owned);
            let mut seen = Seen {
                method: words.next().unwrap_or_default(),
                target: words.next().unwrap_or_default(),
                raw: text(&raw),
                ..facts.clone()
            };
            if head.field("expect").is_some()
                && wire
                    .try_send("HTTP/1.1 100 Continue\r\n\r\n")
                    .await
                    .is_err()
            {
                return;
            }
            match head.framing() {
                super::head::Framing::Length(length) if length > 1 << 20 => {
                    wire.skip(length).await;
                    seen.body_length = length;
                }
                framing => {
                    seen.body = wire.body(framing).await;
                    seen.body_length = seen.body.len() as u64;
                }
            }
            seen.head = head;
            let bodiless = seen.method == "HEAD";
            let reply = self.take(seen).await;
            let mut bytes = reply.head_bytes();
            if let (Body::Bytes(body) | Body::Wire(body), false) = (&reply.body, bodiless) {
                bytes.extend(body);
            }
            if wire.try_send(bytes).await.is_err() {
                return;
            }
            if let (Body::Zeros(length), false) = (&reply.body, bodiless)
                && send_zeros(&mut wire, *length).await.is_err()
            {
                return;
            }
            match reply.then {
                Then::KeepAlive => {}
                Then::Close => return,
                Then::Echo => {
                    let (mut reading, mut writing) = tokio::io::split(wire.into_stream());
                    let _ = tokio::io::copy(&mut reading, &mut writing).await;
                    return;
                }
            }
        }
    }

    async fn http2(
        self: Arc<Self>,
        request: http::Request<hyper::body::Incoming>,
        facts: Seen,
    ) -> Result<http::Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let authority = parts
            .uri
            .authority()
            .map(|authority| format!(":authority: {authority}"));
        let fields = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", text(value.as_bytes())));
        let body = body
            .collect()
            .await
            .map(|body| body.to_bytes().to_vec())
            .unwrap_or_default();
        let seen = Seen {
            method: parts.method.to_string(),
            target: parts
                .uri
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            head: Head {
                start: String::new(),
                lines: authority.into_iter().chain(fields).collect(),
            },
            body_length: body.len() as u64,
            body,
            ..facts
        };
        let reply = self.take(seen).await;
        let mut response = http::Response::builder().status(reply.status);
        for (name, value) in &reply.fields {
            response = response.header(name, value);
        }
        let body = match reply.body {
            Body::Bytes(bytes) => bytes,
            Body::Zeros(length) => {
                vec![0; usize::try_from(length).expect("a length that fits memory")]
            }
            Body::Wire(_) => panic!("an h2 origin cannot answer with HTTP/1.1 bytes"),
        };
        Ok(response
            .body(Full::from(body))
            .expect("a scripted response is valid"))
    }

    /// Records the request, finds its reply, and waits at the reply's gate.
    async fn take(&self, seen: Seen) -> Reply {
        let reply = self.scripts.iter().find_map(|script| script(&seen));
        self.record
            .requests
            .lock()
            .expect("no holder panics")
            .push(seen);
        self.record.grew.notify_waiters();
        let reply = reply.unwrap_or_else(|| Reply::text("ok"));
        if let Some(gate) = &reply.gate {
            gate.pass().await;
        }
        reply
    }
}

async fn send_zeros(wire: &mut Raw, mut length: u64) -> std::io::Result<()> {
    let zeros = vec![0; 64 * 1024];
    while length > 0 {
        let piece = zeros
            .len()
            .min(usize::try_from(length).unwrap_or(usize::MAX));
        wire.try_send(&zeros[..piece]).await?;
        length -= piece as u64;
    }
    Ok(())
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    (listener, address)
}
