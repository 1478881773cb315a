//! Bodies on their way to an origin and back; they stream, and an HTTP/1.1 connection rides on its response.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

use super::pool::Lease;
use super::shared::Stay;
use super::source::{Kept, Source};

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
    held: Option<Held>,
}

/// A body that waits for the origin's 100 (RFC 9110, section 10.1.1), and no longer than [`LONGEST_HOLD`]: an origin may
/// ignore the expectation.
#[derive(Debug)]
struct Held {
    hold: Arc<Hold>,
    until: Pin<Box<Sleep>>,
}

/// Holds a request's body back until it is released.
#[derive(Debug, Default)]
pub struct Hold(Mutex<Releasing>);

#[derive(Debug, Default)]
struct Releasing {
    released: bool,
    waker: Option<Waker>,
}

/// What clients wait by themselves before they send a body unasked, curl among them.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

impl Hold {
    /// Lets the body go.
    pub fn release(&self) {
        let mut releasing = self.0.lock();
        releasing.released = true;
        if let Some(waker) = releasing.waker.take() {
            waker.wake();
        }
    }

    fn poll_released(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut releasing = self.0.lock();
        if releasing.released {
            return Poll::Ready(());
        }
        releasing.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The way back to a body that was given to a connection.
#[derive(Debug)]
pub(super) struct Replay {
    kept: Arc<Mutex<Kept>>,
    progress: Option<Arc<Progress>>,
}

impl Replay {
    /// The body from its beginning; `None` where too much of it was sent.
    ///
    /// Whoever holds the body that was given away finds it at its end.
    pub(super) fn into_body(self) -> Option<RequestBody> {
        let source = self.kept.lock().again()?;
        if let Some(progress) = &self.progress {
            progress.sent.store(0, Ordering::Relaxed);
        }
        Some(RequestBody {
            source,
            progress: self.progress,
            held: None,
        })
    }

    /// The response has begun: nothing has to be kept any more.
    pub(super) fn forget(&self) {
        self.kept.lock().lose();
    }
}

impl RequestBody {
    /// Keeps what is sent from here on, so that it can be sent again; `None` where there is no body.
    pub(super) fn keep(&mut self) -> Option<Replay> {
        if self.is_empty() {
            return None;
        }
        Some(Replay {
            kept: self.source.keep(),
            progress: self.progress.clone(),
        })
    }

    /// The body of a client's request, streamed as it arrives; what nobody reads of it is drained by a task of `tasks`.
    pub fn incoming(body: Incoming, tasks: &TaskTracker) -> Self {
        if body.is_end_stream() {
            return Self::default();
        }
        Self {
            source: Source::arriving(body, tasks),
            progress: Some(Arc::default()),
            held: None,
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
            held: None,
        }
    }

    /// Whether there is nothing to send, so that the request can be sent again.
    pub fn is_empty(&self) -> bool {
        matches!(self.source, Source::Empty)
    }

    /// Holds the body back until it is released; `None` where there is no body. Must be called within a runtime.
    pub fn hold(&mut self) -> Option<Arc<Hold>> {
        if self.is_empty() {
            return None;
        }
        let hold = Arc::<Hold>::default();
        self.held = Some(Held {
            hold: Arc::clone(&hold),
            until: Box::pin(tokio::time::sleep(LONGEST_HOLD)),
        });
        Some(hold)
    }

    /// Lets the body go where nobody will tell of a 100.
    pub(super) fn let_go(&mut self) {
        self.held = None;
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
        if let Some(held) = &mut self.held {
            if held.hold.poll_released(cx).is_pending() && held.until.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            self.held = None;
        }
        let frame = ready!(self.source.poll_frame(cx));
        let data = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) | None => 0,
        };
        if let Some(progress) = &self.progress {
            progress.sent.fetch_add(data, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
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
    /// Until the body has ended.
    taken: Option<Taken>,
}

/// The part of a connection that a response has for itself.
#[derive(Debug)]
pub(super) enum Taken {
    /// All of it, which is driven by whoever reads the body.
    Http1(Lease),
    /// A stream.
    Http2(#[expect(dead_code, reason = "held for its drop")] Stay),
}

impl ResponseBody {
    pub(super) fn new(body: Incoming, taken: Taken) -> Self {
        let mut this = Self {
            body,
            taken: Some(taken),
        };
        if this.body.is_end_stream() {
            this.give_back();
        }
        this
    }

    fn give_back(&mut self) {
        if let Some(Taken::Http1(lease)) = self.taken.take() {
            lease.give_back();
        }
    }
}

/// The connection is polled by whoever wants its bytes: no task, no wake-up between the two, and no waker left with the body, as
/// only the connection can fill it.
fn poll_driven(
    body: &mut Incoming,
    lease: &mut Lease,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let quiet = &mut Context::from_waker(Waker::noop());
    if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(quiet) {
        return Poll::Ready(frame);
    }
    lease.drive(quiet);
    if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(quiet) {
        return Poll::Ready(frame);
    }
    lease.drive(cx);
    Pin::new(body).poll_frame(quiet)
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.taken {
            Some(Taken::Http1(lease)) => ready!(poll_driven(&mut this.body, lease, cx)),
            Some(Taken::Http2(_)) | None => ready!(Pin::new(&mut this.body).poll_frame(cx)),
        };
        match &frame {
            Some(Ok(_)) if !this.body.is_end_stream() => {}
            Some(Ok(_)) | None => this.give_back(),
            Some(Err(_)) => this.taken = None,
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
