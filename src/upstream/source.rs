//! Where a request's body comes from: the client as it sends, or what was kept to be sent again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::body::BodyError;

/// What is left of a body.
#[derive(Debug, Default)]
pub(super) enum Source {
    #[default]
    Empty,
    Full(Bytes),
    Arriving(Arriving),
    /// What may have to be sent again.
    Kept(Arc<Mutex<Kept>>),
    /// What was sent before, and the rest.
    Again(VecDeque<Bytes>, Box<Source>),
}

impl Source {
    /// A client's body; what nobody reads of it is drained by a task of `tasks`.
    pub(super) fn arriving(body: Incoming, tasks: &TaskTracker) -> Self {
        Self::Arriving(Arriving {
            body: Some(body),
            tasks: tasks.clone(),
        })
    }

    /// Keeps what is sent from here on.
    pub(super) fn keep(&mut self) -> Arc<Mutex<Kept>> {
        if let Self::Kept(kept) = self {
            return Arc::clone(kept);
        }
        let kept = Arc::new(Mutex::new(Kept {
            source: std::mem::take(self),
            sent: VecDeque::new(),
            length: 0,
            lost: false,
        }));
        *self = Self::Kept(Arc::clone(&kept));
        kept
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self {
            Self::Empty => None,
            Self::Full(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Self::Arriving(body) => ready!(body.poll_frame(cx)),
            Self::Kept(kept) => ready!(kept.lock().poll_frame(cx)),
            Self::Again(sent, rest) => match sent.pop_front() {
                Some(bytes) => Some(Ok(Frame::data(bytes))),
                None => {
                    let rest = std::mem::take(&mut **rest);
                    *self = rest;
                    return self.poll_frame(cx);
                }
            },
        };
        if !matches!(frame, Some(Ok(_))) || matches!(self, Self::Full(_)) {
            *self = Self::Empty;
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Arriving(body) => body.is_end_stream(),
            Self::Kept(kept) => kept.lock().source.is_end_stream(),
            Self::Again(sent, rest) => sent.is_empty() && rest.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Arriving(body) => body.size_hint(),
            Self::Kept(kept) => kept.lock().source.size_hint(),
            Self::Again(sent, rest) => {
                let sent = sent.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(sent.saturating_add(rest.lower()));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(sent.saturating_add(upper));
                }
                hint
            }
        }
    }
}

/// A body of which is kept what was sent, up to [`MOST_KEPT`].
#[derive(Debug)]
pub(super) struct Kept {
    source: Source,
    sent: VecDeque<Bytes>,
    length: usize,
    /// More was sent than is kept, or it ended in what cannot be kept.
    lost: bool,
}

/// Octets kept of a body until its response begins; most uploads that can be refused at all are known whole by then.
const MOST_KEPT: usize = 64 << 10;

impl Kept {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.source.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) if !self.lost && self.length + data.len() <= MOST_KEPT => {
                    self.length += data.len();
                    self.sent.push_back(data.clone());
                }
                Some(_) | None => self.lose(),
            },
            Some(Err(_)) => self.lose(),
            None => {}
        }
        Poll::Ready(frame)
    }

    /// The whole of it; `None` where too much was sent. Whoever holds it finds it at its end from then on.
    pub(super) fn again(&mut self) -> Option<Source> {
        if self.lost {
            return None;
        }
        self.length = 0;
        let sent = std::mem::take(&mut self.sent);
        Some(Source::Again(
            sent,
            Box::new(std::mem::take(&mut self.source)),
        ))
    }

    /// Nothing is kept any more.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.sent = VecDeque::new();
    }
}

/// A client's body as it arrives.
#[derive(Debug)]
pub(super) struct Arriving {
    /// `None` once it has ended or broken off.
    body: Option<Incoming>,
    tasks: TaskTracker,
}

impl Arriving {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Arriving {
    /// An origin may answer without reading the body. What is on its way from the client is then read and thrown away: dropped
    /// unread it would have the client's stream reset before its response is looked at (RFC 9113, section 8.1).
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let drained = tokio::time::timeout(LONGEST_DRAIN, drain(body));
            self.tasks.spawn_on(drained, &runtime);
        }
    }
}

/// Reads the rest of a body, if it is not more than [`MOST_DRAINED`].
async fn drain(mut body: Incoming) {
    let mut left = MOST_DRAINED;
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// How long, and how much of, a body is read that nobody wants any more.
const LONGEST_DRAIN: Duration = Duration::from_secs(5);
const MOST_DRAINED: usize = 1 << 20;
