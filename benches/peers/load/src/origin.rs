//! The origin: answers `GET /N` with N bytes, on one thread, with one read and one write a request; `/N?cookie` sets a cookie as well.

use std::{cell::Cell, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task,
};
use tokio_rustls::TlsAcceptor;

use crate::pki;

/// Bytes of the largest answer that may be asked for.
const LARGEST: usize = 16 << 20;

/// What the path of a request ends in whose answer shall set a cookie.
pub const COOKIE: &str = "?cookie";

/// Serves until the process is killed. A connection that breaks is counted by the client at its other end, not here.
pub async fn serve(pki: &Path, plain: u16, tls: u16) -> Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(server_config(pki)?));
    for listener in loopback(plain).await? {
        task::spawn_local(accept(listener, None));
    }
    for listener in loopback(tls).await? {
        task::spawn_local(accept(listener, Some(acceptor.clone())));
    }
    std::future::pending().await
}

fn server_config(pki: &Path) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(pki.join(pki::CERTIFICATE))?
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(pki.join(pki::KEY))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Both families, because a proxy may resolve `localhost` to either; a machine without IPv6 has the one.
async fn loopback(port: u16) -> Result<Vec<TcpListener>> {
    let v4 = SocketAddr::from(([127, 0, 0, 1], port));
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    let first = TcpListener::bind(v4)
        .await
        .with_context(|| format!("bind {v4}"))?;
    Ok([first]
        .into_iter()
        .chain(TcpListener::bind(v6).await.ok())
        .collect())
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let acceptor = acceptor.clone();
                task::spawn_local(async move { converse(stream, acceptor).await });
            }
            // Out of descriptors: the connections that hold them get their turn.
            Err(_) => task::yield_now().await,
        }
    }
}

async fn converse(stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Result<()> {
    stream.set_nodelay(true)?;
    match acceptor {
        Some(acceptor) => answer(acceptor.accept(stream).await?).await,
        None => answer(stream).await,
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut filled = 0;
    let mut page = Page::of(0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        while let Some(asked) = parse(&buffer[..filled])? {
            if page.size != asked.size {
                page = Page::of(asked.size);
            }
            if asked.cookie {
                stream.write_all(&page.with_cookie()).await?;
            } else {
                stream.write_all(&page.message).await?;
            }
            stream.flush().await?;
            buffer.copy_within(asked.head..filled, 0);
            filled -= asked.head;
        }
        ensure!(filled < buffer.len(), "a head over {filled} bytes");
    }
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// The length of its head.
    head: usize,
    size: usize,
    cookie: bool,
}

/// The request at the start of `bytes`.
fn parse(bytes: &[u8]) -> Result<Option<Asked>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head) = request.parse(bytes)? else {
        return Ok(None);
    };
    let (Some("GET"), Some(path)) = (request.method, request.path) else {
        bail!("only GET is served");
    };
    let (plain, cookie) = match path.strip_suffix(COOKIE) {
        Some(plain) => (plain, true),
        None => (path, false),
    };
    let size = plain
        .strip_prefix('/')
        .and_then(|size| size.parse().ok())
        .filter(|size| *size <= LARGEST)
        .with_context(|| format!("`{path}` is not `/N` with N at most {LARGEST}"))?;
    Ok(Some(Asked { head, size, cookie }))
}

/// A whole response message, ready to be written.
struct Page {
    size: usize,
    message: Vec<u8>,
    /// Where in the message another field may be put.
    fields_end: usize,
}

thread_local! {
    /// Cookies set, so that each has another value than the one before.
    static SET: Cell<u64> = const { Cell::new(0) };
}

impl Page {
    fn of(size: usize) -> Self {
        let mut message = format!(
            "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
        )
        .into_bytes();
        let fields_end = message.len() - b"\r\n".len();
        message.extend(body(size));
        Self {
            size,
            message,
            fields_end,
        }
    }

    fn with_cookie(&self) -> Vec<u8> {
        let number = SET.replace(SET.get() + 1);
        let (fields, rest) = self.message.split_at(self.fields_end);
        let line = format!("Set-Cookie: n={number}; Path=/\r\n");
        [fields, line.as_bytes(), rest].concat()
    }
}

/// The bytes of `/size`: both ends make them, so that a proxy that alters a body is found out.
pub fn body(size: usize) -> impl Iterator<Item = u8> {
    (b'a'..=b'z').cycle().take(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_size() {
        let head = b"GET /1024 HTTP/1.1\r\nHost: a\r\n\r\n";
        let asked = |head: usize, cookie| {
            Some(Asked {
                head,
                size: 1024,
                cookie,
            })
        };
        assert_eq!(parse(head).unwrap(), asked(head.len(), false));
        assert_eq!(parse(&head[..head.len() - 1]).unwrap(), None);
        let head = b"GET /1024?cookie HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(parse(head).unwrap(), asked(head.len(), true));
    }

    #[test]
    fn a_cookie_is_another_each_time_and_the_rest_stays() {
        let page = Page::of(3);
        let [first, second] = [page.with_cookie(), page.with_cookie()];
        assert_ne!(first, second);
        let text = String::from_utf8(first).unwrap();
        let line = text.lines().find(|line| line.starts_with("Set-Cookie: n="));
        let without = text.replace(&format!("{}\r\n", line.unwrap()), "");
        assert_eq!(without.as_bytes(), page.message);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for path in ["/", "/x", "/-1", "/16777217"] {
            let head = format!("GET {path} HTTP/1.1\r\n\r\n");
            assert!(parse(head.as_bytes()).is_err(), "{path}");
        }
    }
}
