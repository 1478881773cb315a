//! Bodies on their way to an origin and back; they stream, and an HTTP/1.1 connection rides on its response.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Lease;

/// The error of a body that broke off, whichever side broke it.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// How far a request's body has been sent; shared with whoever waits for the response or counts bytes.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
}

impl Progress {
    /// Bytes of data handed to the connection so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A request's body.
#[derive(Debug, Default)]
pub struct RequestBody {
    source: Source,
    progress: Option<Arc<Progress>>,
}

#[derive(Debug, Default)]
enum Source {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(Incoming),
}

impl RequestBody {
    /// The body of a client's request, streamed as it arrives.
    pub fn incoming(body: Incoming) -> Self {
        if body.is_end_stream() {
            return Self::default();
        }
        Self {
            source: Source::Incoming(body),
            progress: Some(Arc::default()),
        }
    }

    /// A body that is known whole; an empty one is no body at all.
    pub fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        Self {
            source: Source::Full(bytes),
            progress: Some(Arc::default()),
        }
    }

    /// Whether there is nothing to send, so that the request can be sent again.
    pub fn is_empty(&self) -> bool {
        matches!(self.source, Source::Empty)
    }

    /// Counts what is sent; `None` where there is no body.
    pub fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.source {
            Source::Empty => None,
            Source::Full(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Source::Incoming(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame.map(|frame| frame.map_err(Into::into)),
            },
        };
        let data = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) | None => 0,
        };
        if let Some(progress) = &self.progress {
            progress.sent.fetch_add(data, Ordering::Relaxed);
        }
        if frame.is_none() || matches!(self.source, Source::Full(_)) {
            self.source = Source::Empty;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Full(_) => false,
            Source::Incoming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Incoming(body) => body.size_hint(),
        }
    }
}

/// Whether the time that passed without a response is the origin's to answer for.
///
/// It is not while the request's body is still moving: a slow upload is no slow origin.
#[derive(Debug)]
pub(super) struct Upload {
    progress: Option<Arc<Progress>>,
    seen: u64,
}

impl Upload {
    pub(super) fn watch(body: &RequestBody) -> Self {
        Self {
            progress: body.progress(),
            seen: 0,
        }
    }

    /// Whether the body moved since the last call.
    pub(super) fn moved(&mut self) -> bool {
        let Some(progress) = &self.progress else {
            return false;
        };
        let sent = progress.sent();
        let moved = sent > self.seen;
        self.seen = sent;
        moved
    }
}

/// A response's body. Read to its end, its HTTP/1.1 connection goes back to its pool; dropped before, the connection closes.
#[derive(Debug)]
pub struct ResponseBody {
    body: Incoming,
    lease: Option<Lease>,
}

impl ResponseBody {
    pub(super) fn new(body: Incoming, lease: Option<Lease>) -> Self {
        let mut this = Self { body, lease };
        if this.body.is_end_stream() {
            this.give_back();
        }
        this
    }

    fn give_back(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            // The connection is polled by whoever wants its bytes: no task, no wake-up between the two.
            Poll::Pending => {
                let Some(lease) = &mut this.lease else {
                    return Poll::Pending;
                };
                lease.drive(cx);
                match Pin::new(&mut this.body).poll_frame(cx) {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => return Poll::Pending,
                }
            }
        };
        match &frame {
            Some(Ok(_)) if !this.body.is_end_stream() => {}
            Some(Ok(_)) | None => this.give_back(),
            Some(Err(_)) => this.lease = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
