//! One connection to the origin, through the proxy under test or not, and one request on it.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{origin, tls};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scheme {
    Http,
    Https,
}

/// Where a client names its session: in the requests, on the `CONNECT` before them, or both.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Carrier {
    Everywhere,
    Requests,
    Connect,
}

/// What is asked, and by which way.
pub struct Target {
    scheme: Scheme,
    authority: String,
    /// The proxy, or the origin itself.
    first_hop: SocketAddr,
    proxied: bool,
    careful: Arc<ClientConfig>,
    careless: Arc<ClientConfig>,
}

impl Target {
    pub fn new(
        scheme: Scheme,
        port: u16,
        proxy: Option<SocketAddr>,
        ca: Option<&Path>,
    ) -> Result<Self> {
        ensure!(
            scheme == Scheme::Http || ca.is_some(),
            "--scheme https needs --ca"
        );
        Ok(Self {
            scheme,
            authority: format!("localhost:{port}"),
            first_hop: proxy.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port))),
            proxied: proxy.is_some(),
            careful: tls::careful(ca)?,
            careless: tls::careless()?,
        })
    }

    /// The bytes of a request for `size` bytes, and a cookie if it shall be.
    pub fn request(&self, size: usize, cookie: bool, session: Option<&str>) -> Vec<u8> {
        let absolute = match (self.scheme, self.proxied) {
            (Scheme::Http, true) => format!("http://{}", self.authority),
            _ => String::new(),
        };
        let session = field(session);
        let cookie = if cookie { origin::COOKIE } else { "" };
        format!(
            "GET {absolute}/{size}{cookie} HTTP/1.1\r\nHost: {}\r\nUser-Agent: load\r\nAccept: */*\r\n{session}\r\n",
            self.authority
        )
        .into_bytes()
    }

    /// Opens a connection that is ready for a request; `session` is named on the `CONNECT`, where there is one.
    pub async fn connect(&self, session: Option<&str>, careful: bool) -> Result<Connection> {
        let tcp = TcpStream::connect(self.first_hop)
            .await
            .with_context(|| format!("connect to {}", self.first_hop))?;
        tcp.set_nodelay(true)?;
        let mut connection = Connection::over(Box::new(tcp));
        if self.scheme == Scheme::Http {
            return Ok(connection);
        }
        if self.proxied {
            let connect = format!(
                "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n{1}\r\n",
                self.authority,
                field(session)
            );
            connection
                .establish(connect.as_bytes())
                .await
                .context("CONNECT")?;
        }
        let config = if careful {
            &self.careful
        } else {
            &self.careless
        };
        let tls = TlsConnector::from(Arc::clone(config))
            .connect(ServerName::try_from("localhost")?, connection.stream)
            .await
            .context("TLS handshake")?;
        Ok(Connection::over(Box::new(tls)))
    }
}

fn field(session: Option<&str>) -> String {
    session.map_or_else(String::new, |id| format!("X-Session-ID: {id}\r\n"))
}

/// A byte stream, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Box<[u8]>,
}

/// What the client saw of a response.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub length: usize,
    /// The other side wants the connection closed after it.
    pub close: bool,
}

impl Connection {
    fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: vec![0; 32 << 10].into_boxed_slice(),
        }
    }

    /// Sends a request and reads its whole response, showing the body to `see` in pieces.
    pub async fn exchange(&mut self, request: &[u8], mut see: impl FnMut(&[u8])) -> Result<Reply> {
        let (head, filled, reply) = self.ask(request).await?;
        let body = &self.buffer[head..filled];
        let mut missing = reply
            .length
            .checked_sub(body.len())
            .context("more bytes than Content-Length says")?;
        see(body);
        while missing > 0 {
            let wanted = missing.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..wanted]).await?;
            ensure!(read > 0, "the connection ended {missing} bytes early");
            see(&self.buffer[..read]);
            missing -= read;
        }
        Ok(reply)
    }

    async fn establish(&mut self, connect: &[u8]) -> Result<()> {
        let (head, filled, reply) = self.ask(connect).await?;
        ensure!(reply.status == 200, "answered {}", reply.status);
        ensure!(head == filled, "bytes before the handshake");
        Ok(())
    }

    /// The length of the response head, how much of the buffer is filled, and what the head says.
    async fn ask(&mut self, request: &[u8]) -> Result<(usize, usize, Reply)> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(
                read > 0,
                "the connection ended before a whole response head"
            );
            filled += read;
            if let Some((head, reply)) = parse(&self.buffer[..filled])? {
                return Ok((head, filled, reply));
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(usize, Reply)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        return Ok(None);
    };
    let mut reply = Reply {
        status: response.code.context("a response without a status")?,
        length: 0,
        close: false,
    };
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            reply.length = std::str::from_utf8(field.value)?.parse()?;
        } else if field.name.eq_ignore_ascii_case("connection") {
            reply.close = field.value.eq_ignore_ascii_case(b"close");
        } else {
            ensure!(
                !field.name.eq_ignore_ascii_case("transfer-encoding"),
                "a transfer coding where the origin sent Content-Length"
            );
        }
    }
    Ok(Some((head, reply)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_whole_or_not_at_all() {
        let message = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: close\r\n\r\nhello";
        let head = message.len() - 5;
        for cut in 0..head {
            assert!(
                parse(&message[..cut]).unwrap().is_none(),
                "cut after {cut} bytes"
            );
        }
        let reply = Reply {
            status: 200,
            length: 5,
            close: true,
        };
        assert_eq!(parse(message).unwrap(), Some((head, reply)));
    }

    #[test]
    fn a_transfer_coding_is_an_error() {
        let message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(parse(message).is_err());
    }

    #[test]
    fn a_request_through_a_proxy_is_absolute_and_names_its_session() {
        let direct = Target::new(Scheme::Http, 81, None, None).unwrap();
        let proxy = SocketAddr::from(([127, 0, 0, 1], 8080));
        let proxied = Target::new(Scheme::Http, 81, Some(proxy), None).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(
            text(direct.request(7, None)).starts_with("GET /7 HTTP/1.1\r\nHost: localhost:81\r\n")
        );
        let request = text(proxied.request(7, Some("a")));
        assert!(
            request.starts_with("GET http://localhost:81/7 HTTP/1.1\r\nHost: localhost:81\r\n")
        );
        assert!(request.ends_with("\r\nX-Session-ID: a\r\n\r\n"));
    }
}
