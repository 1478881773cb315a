//! A proxy client: absolute-form requests, `CONNECT` with TLS inside, HTTP/1.1 and h2, every session carrier.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::raw::{Raw, RawAnswer, Stream, text};
use super::{tls, within};

/// A request body; text and bytes become one by `into`.
pub(crate) struct Body(BoxBody<Bytes, Infallible>);

impl Body {
    /// A body that is made while it is sent.
    pub(crate) fn stream(
        body: impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static,
    ) -> Self {
        Self(BoxBody::new(body))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(BoxBody::new(Full::new(bytes.into())))
    }
}

/// A request to be filled.
pub(crate) fn request(method: &str, url: &str) -> http::request::Builder {
    Request::builder().method(method).uri(url)
}

/// A whole response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The first field of that name as text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .get(name)
            .map(|value| value.to_str().expect("visible ASCII"))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        text(&self.body)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

impl From<RawAnswer> for Answer {
    fn from(RawAnswer { head, body }: RawAnswer) -> Self {
        let mut response = Response::builder().status(head.status());
        for name in head.names() {
            for value in head.fields(name) {
                response = response.header(name, value);
            }
        }
        let (parts, ()) = response.body(()).expect("a valid head").into_parts();
        Self {
            status: head.status(),
            version: Version::HTTP_11,
            fields: parts.headers,
            body: body.into(),
        }
    }
}

/// A client of one proxy. It keeps its connections: one for plain HTTP, one tunnel an authority.
pub(crate) struct Client {
    proxy: SocketAddr,
    ca_pem: Option<String>,
    alpn: &'static [&'static str],
    /// Whether everything goes by one h2c connection, in absolute form.
    prior_knowledge: bool,
    fields: Vec<(String, String)>,
    connect_fields: Vec<(String, String)>,
    open: HashMap<String, Sender>,
}

impl Client {
    /// A client that sends HTTP/1.1 inside tunnels.
    pub(crate) fn new(proxy: SocketAddr, ca_pem: &str) -> Self {
        Self {
            ca_pem: Some(ca_pem.to_owned()),
            ..Self::direct(proxy)
        }
    }

    /// A client that speaks to a server itself, without TLS.
    pub(crate) fn direct(server: SocketAddr) -> Self {
        Self {
            proxy: server,
            ca_pem: None,
            alpn: &["http/1.1"],
            prior_knowledge: false,
            fields: Vec::new(),
            connect_fields: Vec::new(),
            open: HashMap::new(),
        }
    }

    /// Offers h2 alone inside tunnels.
    #[must_use]
    pub(crate) fn http2(self) -> Self {
        Self {
            alpn: &["h2"],
            ..self
        }
    }

    /// Speaks h2c with prior knowledge to the proxy, every request in absolute form, `https` too.
    #[must_use]
    pub(crate) fn h2c(self) -> Self {
        Self {
            prior_knowledge: true,
            ..self
        }
    }

    /// Sends this field with every request (to a proxy: inside the tunnel).
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends this field with every `CONNECT`.
    #[must_use]
    pub(crate) fn with_connect(mut self, name: &str, value: &str) -> Self {
        self.connect_fields
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// `X-Session-ID` on every request.
    #[must_use]
    pub(crate) fn session(self, id: &str) -> Self {
        self.with("X-Session-ID", id)
    }

    /// `X-Session-ID` on every `CONNECT`.
    #[must_use]
    pub(crate) fn tunnel_session(self, id: &str) -> Self {
        self.with_connect("X-Session-ID", id)
    }

    /// `Proxy-Authorization: Basic`, where clients send it: on every `CONNECT` and every plain request.
    #[must_use]
    pub(crate) fn credentials(self, user: &str, password: &str) -> Self {
        self.with_connect("Proxy-Authorization", &basic(user, password))
    }

    /// A GET.
    pub(crate) async fn get(&mut self, url: &str) -> Answer {
        self.send(request("GET", url).body("".into()).expect("a valid URL"))
            .await
    }

    /// A POST.
    pub(crate) async fn post(&mut self, url: &str, body: &str) -> Answer {
        self.send(
            request("POST", url)
                .body(body.to_owned().into())
                .expect("a valid URL"),
        )
        .await
    }

    /// Sends a request whose URI is absolute, and reads the whole response.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Answer {
        match self.stream(request).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let body = within("the response's body", body.collect())
                    .await
                    .expect("a whole body");
                Answer {
                    status: parts.status.as_u16(),
                    version: parts.version,
                    fields: parts.headers,
                    body: body.to_bytes(),
                }
            }
            Err(refusal) => refusal,
        }
    }

    /// Sends a request and gives the response while its body arrives, or the refusal of the `CONNECT`.
    pub(crate) async fn stream(
        &mut self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Answer> {
        let uri = request.uri().clone();
        let secure = self.tunnels(&uri);
        for (name, value) in &self.fields {
            append(&mut request, name, value);
        }
        let direct = self.ca_pem.is_none();
        if !secure && !direct {
            for (name, value) in &self.connect_fields {
                append(&mut request, name, value);
            }
        }
        let sender = self.connection(&uri).await?;
        if let Sender::Http1(_) = sender {
            let host = uri.authority().expect("an absolute URI").to_string();
            request
                .headers_mut()
                .entry("host")
                .or_insert_with(|| host.parse().expect("a host"));
            if secure || direct {
                *request.uri_mut() = uri
                    .path_and_query()
                    .expect("a path")
                    .as_str()
                    .parse()
                    .expect("a path");
            }
        }
        let (parts, body) = request.into_parts();
        let response = within(
            "the response",
            sender.send(Request::from_parts(parts, body.0)),
        )
        .await;
        Ok(response.unwrap_or_else(|error| panic!("{uri}: {error:?}")))
    }

    /// A `CONNECT` to `HOST:PORT` and what it answered; the connection goes on where that was 200.
    pub(crate) async fn connect(&self, target: &str) -> (RawAnswer, Raw) {
        let mut wire = Raw::connect(self.proxy).await;
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        for (name, value) in &self.connect_fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        wire.send(head + "\r\n").await;
        let answer = wire.answer_to("CONNECT").await;
        (answer, wire)
    }

    /// An open tunnel to `HOST:PORT`.
    pub(crate) async fn tunnel(&self, target: &str) -> Raw {
        let (answer, wire) = self.connect(target).await;
        assert_eq!(answer.head.status(), 200, "CONNECT {target}: {answer:?}");
        wire
    }

    /// TLS in an open tunnel, with the ALPN that was chosen.
    pub(crate) async fn tls_tunnel(&self, target: &str) -> (Raw, Option<String>) {
        let (stream, alpn) = self.handshake(self.tunnel(target).await, target).await;
        (Raw::over(stream), alpn)
    }

    /// Opens the connection that a request to `url` would use.
    pub(crate) async fn open(&mut self, url: &str) {
        let opened = self
            .connection(&url.parse().expect("a valid URL"))
            .await
            .map(|_| ());
        opened.expect("the tunnel is open");
    }

    /// A second client whose h2 requests go by the connections that this one has open.
    pub(crate) fn sharing_connections(&self) -> Self {
        let shared = self.open.iter().filter_map(|(key, sender)| match sender {
            Sender::Http2(sender) => Some((key.clone(), Sender::Http2(sender.clone()))),
            Sender::Http1(_) => None,
        });
        Self {
            proxy: self.proxy,
            ca_pem: self.ca_pem.clone(),
            alpn: self.alpn,
            prior_knowledge: self.prior_knowledge,
            fields: self.fields.clone(),
            connect_fields: self.connect_fields.clone(),
            open: shared.collect(),
        }
    }

    fn tunnels(&self, uri: &Uri) -> bool {
        uri.scheme_str() == Some("https") && !self.prior_knowledge
    }

    /// The open connection for `uri`, opened where there is none.
    async fn connection(&mut self, uri: &Uri) -> Result<&mut Sender, Answer> {
        let secure = self.tunnels(uri);
        let key = if secure {
            authority(uri)
        } else {
            String::new()
        };
        if self.open.get(&key).is_none_or(Sender::is_closed) {
            let sender = if secure {
                self.open_tunnel(uri).await?
            } else {
                self.open_plain().await
            };
            self.open.insert(key.clone(), sender);
        }
        Ok(self.open.get_mut(&key).expect("it was put in above"))
    }

    /// Sends what is for `to` through the tunnel that is open to `from`.
    pub(crate) fn reuse_tunnel(&mut self, from: &str, to: &str) {
        let sender = self.open.remove(from).expect("that tunnel is open");
        self.open.insert(to.to_owned(), sender);
    }

    async fn handshake(&self, tunnel: Raw, target: &str) -> (Box<dyn Stream>, Option<String>) {
        let ca = self.ca_pem.as_deref().expect("a client of a proxy");
        let connector = TlsConnector::from(Arc::new(tls::client(ca, self.alpn)));
        let (host, _) = target.rsplit_once(':').expect("HOST:PORT");
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host).expect("a host name");
        let stream = within(
            "the TLS handshake",
            connector.connect(name, tunnel.into_stream()),
        )
        .await;
        let stream = stream.expect("burdock's certificate is good");
        let alpn = stream.get_ref().1.alpn_protocol().map(text);
        (Box::new(stream), alpn)
    }

    async fn open_tunnel(&self, uri: &Uri) -> Result<Sender, Answer> {
        let target = authority(uri);
        let (answer, wire) = self.connect(&target).await;
        if answer.head.status() != 200 {
            return Err(answer.into());
        }
        let (stream, alpn) = self.handshake(wire, &target).await;
        if alpn.as_deref() != Some("h2") {
            return Ok(Sender::http1(stream).await);
        }
        Ok(Sender::http2(stream).await)
    }

    async fn open_plain(&self) -> Sender {
        let stream = Raw::connect(self.proxy).await.into_stream();
        match self.prior_knowledge {
            true => Sender::http2(stream).await,
            false => Sender::http1(stream).await,
        }
    }
}

enum Sender {
    Http1(http1::SendRequest<BoxBody<Bytes, Infallible>>),
    Http2(http2::SendRequest<BoxBody<Bytes, Infallible>>),
}

impl Sender {
    async fn http1(stream: Box<dyn Stream>) -> Self {
        let handshake = http1::Builder::new()
            .preserve_header_case(true)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake
            .await
            .expect("an HTTP/1.1 connection needs no exchange");
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    async fn http2(stream: Box<dyn Stream>) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = within("the h2 preface", handshake)
            .await
            .expect("h2 is spoken");
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    async fn send(
        &mut self,
        request: Request<BoxBody<Bytes, Infallible>>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// A `Basic` credentials value.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

fn append(request: &mut Request<Body>, name: &str, value: &str) {
    let name: http::HeaderName = name.parse().expect("a field name");
    request
        .headers_mut()
        .append(name, value.parse().expect("a field value"));
}

fn authority(uri: &Uri) -> String {
    let port = uri
        .port_u16()
        .unwrap_or(if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        });
    format!("{}:{port}", uri.host().expect("an absolute URI"))
}
