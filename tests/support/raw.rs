//! A connection of which every byte is seen.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::head::{Framing, Head};
use super::within;

/// What a byte stream is here.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stream, and what was read of it and not yet taken.
pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

/// A response as it was on the wire, its body without the framing.
#[derive(Clone, Debug)]
pub(crate) struct RawAnswer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    /// Connects to `address`.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within("connect", TcpStream::connect(address))
            .await
            .expect("connected");
        stream.set_nodelay(true).expect("TCP_NODELAY is set");
        Self::over(stream)
    }

    /// Wraps a stream.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            read: Vec::new(),
        }
    }

    /// The stream, when nothing read of it is left over.
    pub(crate) fn into_stream(self) -> Box<dyn Stream> {
        assert!(
            self.read.is_empty(),
            "bytes that nobody asked for: {:?}",
            text(&self.read)
        );
        self.stream
    }

    /// Sends all of `bytes`.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the bytes are sent");
    }

    /// Sends all of `bytes`, or says that the other side has gone.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let all = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        within("send", all).await
    }

    /// Ends the sending direction.
    pub(crate) async fn finish(&mut self) {
        within("finish", self.stream.shutdown())
            .await
            .expect("the sending direction is closed");
    }

    /// Exactly `count` bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(
                self.fill().await,
                "the connection ended after {:?}",
                text(&self.read)
            );
        }
        self.read.drain(..count).collect()
    }

    /// Exactly `count` bytes, or nothing where the stream ended before; waits as long as it takes.
    pub(crate) async fn take_whenever(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if !self.fill_whenever().await {
                return None;
            }
        }
        Some(self.read.drain(..count).collect())
    }

    /// The bytes up to and with `end`.
    pub(crate) async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        self.try_until(end)
            .await
            .unwrap_or_else(|rest| panic!("no {:?} in {:?}", text(end), text(&rest)))
    }

    /// A head with its empty line.
    pub(crate) async fn head(&mut self) -> Head {
        Head::parse(&self.until(b"\r\n\r\n").await)
    }

    /// The next head, or nothing where the other side closed instead.
    pub(crate) async fn next_head(&mut self) -> Option<(Vec<u8>, Head)> {
        let bytes = self.try_until_whenever(b"\r\n\r\n").await.ok()?;
        Some((bytes.clone(), Head::parse(&bytes)))
    }

    /// A response to `method`; interim ones are passed over.
    pub(crate) async fn answer_to(&mut self, method: &str) -> RawAnswer {
        let mut head = self.head().await;
        while head.status() < 200 && head.status() != 101 {
            head = self.head().await;
        }
        let bodiless = method == "HEAD" || matches!(head.status(), 101 | 204 | 304);
        let body = match head.framing() {
            _ if bodiless || (method == "CONNECT" && head.status() < 300) => Vec::new(),
            Framing::None => self.rest().await,
            framing => self.body(framing).await,
        };
        RawAnswer { head, body }
    }

    /// A response to a GET.
    pub(crate) async fn answer(&mut self) -> RawAnswer {
        self.answer_to("GET").await
    }

    /// A body framed so; trailers are dropped.
    pub(crate) async fn body(&mut self, framing: Framing) -> Vec<u8> {
        let mut body = Vec::new();
        match framing {
            Framing::None => {}
            Framing::Length(length) => {
                body = self
                    .take(usize::try_from(length).expect("a body that fits memory"))
                    .await;
            }
            Framing::Chunked => loop {
                let line = self.until(b"\r\n").await;
                let size = text(&line);
                let size =
                    usize::from_str_radix(size.trim_end().split(';').next().unwrap_or(""), 16);
                match size.expect("a chunk size in hexadecimal") {
                    0 => {
                        while self.until(b"\r\n").await != b"\r\n" {}
                        break;
                    }
                    size => body.extend(self.take(size).await),
                }
                assert_eq!(self.take(2).await, b"\r\n", "a chunk ends with CRLF");
            },
        }
        body
    }

    /// Reads and forgets `count` bytes, however many they are.
    pub(crate) async fn skip(&mut self, mut count: u64) {
        while count > 0 {
            if self.read.is_empty() {
                assert!(
                    self.fill().await,
                    "the connection ended {count} bytes early"
                );
            }
            let taken = self
                .read
                .len()
                .min(usize::try_from(count).unwrap_or(usize::MAX));
            self.read.drain(..taken);
            count -= taken as u64;
        }
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.read)
    }

    /// Waits until the other side has closed, and fails if it sends anything before.
    pub(crate) async fn closed(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "expected the end, got {:?}", text(&rest));
    }

    async fn try_until(&mut self, end: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        within("the bytes awaited", self.try_until_whenever(end)).await
    }

    async fn try_until_whenever(&mut self, end: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        loop {
            if let Some(at) = self
                .read
                .windows(end.len())
                .position(|window| window == end)
            {
                return Ok(self.read.drain(..at + end.len()).collect());
            }
            if !self.fill_whenever().await {
                return Err(std::mem::take(&mut self.read));
            }
        }
    }

    /// Reads more; false at the end of the stream, a reset being one.
    async fn fill(&mut self) -> bool {
        within("more bytes", self.fill_whenever()).await
    }

    async fn fill_whenever(&mut self) -> bool {
        self.read.reserve(64 * 1024);
        matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }
}

/// Bytes for a message to people.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
