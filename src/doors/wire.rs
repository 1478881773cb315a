//! A client's bytes as hyper reads and writes them: what was looked at before is read again, and
//! the bare error responses that hyper writes by itself leave as the documented ones.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::flood::Flood;
use super::framing::BareLf;
use super::pulse::Pulse;
use super::written::Written;
use crate::exchange::Interim;
use crate::fault::{Fault, Kind};

/// A stream whose first bytes can be looked at.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    /// Looked at, and to be read again.
    seen: BytesMut,
    /// Ours, to be written before anything else.
    answer: Bytes,
    /// Set once HTTP/1 is spoken on it.
    pulse: Option<Arc<Pulse>>,
    /// Nothing more is read of a client whose message could be read in two ways.
    refused: bool,
    /// Set once HTTP/2 is spoken on it.
    flood: Option<Flood>,
    /// Likewise: told when all is written.
    written: Option<Arc<Written>>,
    /// The client has closed its half; how long that is kept from hyper.
    ended: Option<Pin<Box<Sleep>>>,
    /// Interim responses to be written where hyper has nothing under way.
    interim: Option<Arc<Interim>>,
    /// hyper has flushed everything, so that what is written now stands between two responses.
    between: bool,
}

/// A client that closes its half after its request may wait for the response, or be gone: TCP does not tell.
/// A response that keeps flowing finds out by itself; where nothing flows for so long it counts as gone.
const HALF_CLOSE_GRACE: Duration = Duration::from_secs(3);

impl<S> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            seen: BytesMut::new(),
            answer: Bytes::new(),
            pulse: None,
            refused: false,
            flood: None,
            written: None,
            ended: None,
            interim: None,
            between: true,
        }
    }

    /// A stream of which `seen` was read elsewhere.
    pub(super) fn with_seen(stream: S, seen: &[u8]) -> Self {
        Self {
            seen: BytesMut::from(seen),
            ..Self::new(stream)
        }
    }

    /// The same stream, on which HTTP/1 will be spoken.
    pub(super) fn with_pulse(mut self, pulse: &Arc<Pulse>, interim: Arc<Interim>) -> Self {
        self.interim = Some(interim);
        self.pulse = Some(Arc::clone(pulse));
        if !self.seen.is_empty()
            && let Some(flaw) = pulse.arrived(&self.seen)
        {
            let mut seen = std::mem::take(&mut self.seen);
            let left = self.refuse(flaw, &mut seen);
            seen.truncate(left);
            seen.unsplit(std::mem::take(&mut self.seen));
            self.seen = seen;
        }
        self
    }

    /// The same stream, on which HTTP/2 will be spoken.
    pub(super) fn with_flood(mut self, written: &Arc<Written>) -> Self {
        self.flood = Some(Flood::new(std::time::Instant::now()));
        self.written = Some(Arc::clone(written));
        self
    }

    /// Has hyper refuse what could be read in two ways, as it refuses whatever it cannot read; how many of `bytes` it gets.
    ///
    /// A head is spoilt by a NUL in place of the bare LF, and completed, since hyper looks at complete ones only. A body breaks
    /// off.
    fn refuse(&mut self, flaw: BareLf, bytes: &mut [u8]) -> usize {
        self.refused = true;
        match flaw {
            BareLf::InHead(at) => {
                bytes[at] = 0;
                self.seen.extend_from_slice(b"\r\n\r\n");
                at + 1
            }
            BareLf::InBody(at) => at,
        }
    }

    /// What has been looked at.
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// The stream, and what was looked at of it; `more` was read by hyper after that.
    pub(super) fn into_parts(mut self, more: &[u8]) -> (S, Bytes) {
        self.seen.extend_from_slice(more);
        (self.stream, self.seen.freeze())
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Waits for more bytes to look at; how many came, 0 at the end.
    ///
    /// # Cancellation
    /// Dropped, nothing is lost.
    pub(super) async fn look(&mut self) -> io::Result<usize> {
        self.seen.reserve(LOOK_BYTES);
        self.stream.read_buf(&mut self.seen).await
    }
}

const LOOK_BYTES: usize = 2048;

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.seen.is_empty() {
            let count = this.seen.len().min(buf.remaining());
            if let Some(flood) = &mut this.flood {
                flood
                    .arrived(&this.seen[..count], std::time::Instant::now())
                    .map_err(io::Error::other)?;
            }
            buf.put_slice(&this.seen[..count]);
            this.seen.advance(count);
            if this.seen.is_empty() {
                this.seen = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        if this.refused {
            return Poll::Ready(Err(bare_lf()));
        }
        if let Some(ended) = &mut this.ended {
            return match this.pulse.as_ref().is_some_and(|pulse| !pulse.is_quiet()) {
                true => ended.as_mut().poll(cx).map(Ok),
                false => Poll::Ready(Ok(())),
            };
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        if let Some(flood) = &mut this.flood {
            flood
                .arrived(new, std::time::Instant::now())
                .map_err(io::Error::other)?;
        }
        let Some(pulse) = &this.pulse else {
            return Poll::Ready(Ok(()));
        };
        if !new.is_empty() {
            if let Some(flaw) = pulse.arrived(new) {
                let left = this.refuse(flaw, &mut buf.filled_mut()[before..]);
                buf.set_filled(before + left);
                if left == 0 {
                    return Poll::Ready(Err(bare_lf()));
                }
            }
        } else if buf.remaining() > 0 && !pulse.is_quiet() {
            let mut ended = Box::pin(tokio::time::sleep(HALF_CLOSE_GRACE));
            let gone = ended.as_mut().poll(cx);
            this.ended = Some(ended);
            return gone.map(Ok);
        }
        Poll::Ready(Ok(()))
    }
}

fn bare_lf() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a line ends in LF without CR")
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Whether these bytes are an error response of hyper's own, and what stands for it.
    fn documented(&self, bytes: &[u8]) -> Option<Bytes> {
        let pulse = self.pulse.as_ref()?;
        if !bytes.starts_with(b"HTTP/1.1 4") || !pulse.is_quiet() || !is_bare(bytes) {
            return None;
        }
        let fault = match &bytes[9..12] {
            b"400" => Fault::new(
                Kind::BadRequest,
                "the request cannot be parsed as HTTP/1.1 (RFC 9112)",
            ),
            b"431" | b"414" => Fault::new(
                Kind::HeadersTooLarge,
                "the request's head is larger than `proxy.max_header_bytes` allows",
            ),
            _ => return None,
        };
        Some(as_bytes(&fault))
    }

    /// Something goes out, so that a client that is gone will be found out.
    fn note_write(&mut self) {
        if let Some(ended) = &mut self.ended {
            ended.as_mut().reset(Instant::now() + HALF_CLOSE_GRACE);
        }
    }

    /// Writes the interim responses that wait, where hyper is between two responses.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.between
            && let Some(head) = self.interim.as_ref().and_then(|interim| interim.next())
        {
            self.answer = head;
            ready!(self.poll_answer(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// What hyper writes from here on is a response, before which nothing can be put any more.
    fn begin_write(&mut self) {
        self.between = false;
        if let Some(interim) = &self.interim {
            interim.clear();
        }
        self.note_write();
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.answer.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.answer.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// All our responses name their route or their fault; hyper's have neither, and no body.
fn is_bare(bytes: &[u8]) -> bool {
    let head = bytes.to_ascii_lowercase();
    let has = |text: &[u8]| head.windows(text.len()).any(|window| window == text);
    !has(b"x-burdock-route:") && !has(b"proxy-status:") && has(b"content-length: 0\r\n")
}

fn as_bytes(fault: &Fault) -> Bytes {
    let response = fault.response(None);
    let (head, body) = response.into_parts();
    let mut out = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(
        format!(
            "content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    out.extend_from_slice(&body);
    out.into()
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        ready!(this.poll_interim(cx))?;
        if let Some(answer) = this.documented(bytes) {
            this.answer = answer;
            return Poll::Ready(Ok(bytes.len()));
        }
        this.begin_write();
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        ready!(this.poll_interim(cx))?;
        let first = slices.iter().find(|slice| !slice.is_empty());
        if let Some(answer) = first.and_then(|first| this.documented(first)) {
            this.answer = answer;
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        this.begin_write();
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        // hyper flushes when it has written all it has.
        this.between = true;
        ready!(this.poll_interim(cx))?;
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        if let Some(written) = &this.written {
            written.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
