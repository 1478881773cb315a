//! The response's body, and what must last as long as it does: the visit, the permit, the account of the exchange.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::{Connection, Destination};
use crate::fault::Fault;
use crate::observe::{AccessLog, Entry};
use crate::registry::{Permit, Visit};
use crate::session::id::SessionId;
use crate::session::record::Counters;
use crate::upstream::{BodyError, Progress, RequestBody, ResponseBody};

/// A response's body on its way to the client.
#[derive(Debug)]
pub struct Body {
    source: Source,
    /// Dropped with the body, or at its end.
    flight: Option<Flight>,
}

#[derive(Debug)]
enum Source {
    Empty,
    Full(Bytes),
    Origin(ResponseBody),
    /// What was read of the origin's already, and the rest of it.
    Read(VecDeque<Frame<Bytes>>, Option<ResponseBody>),
}

impl Body {
    /// A body that is known whole.
    pub fn full(bytes: Bytes) -> Self {
        let source = match bytes.is_empty() {
            true => Source::Empty,
            false => Source::Full(bytes),
        };
        Self {
            source,
            flight: None,
        }
    }

    /// No body.
    pub fn empty() -> Self {
        Self {
            source: Source::Empty,
            flight: None,
        }
    }

    pub(super) fn from_origin(body: ResponseBody, flight: Flight) -> Self {
        Self {
            source: Source::Origin(body),
            flight: Some(flight),
        }
    }

    /// What was read of a body already, and the rest of it.
    pub(super) fn read(
        read: VecDeque<Frame<Bytes>>,
        rest: Option<ResponseBody>,
        flight: Flight,
    ) -> Self {
        Self {
            source: Source::Read(read, rest),
            flight: Some(flight),
        }
    }

    pub(super) fn riding(mut self, flight: Flight) -> Self {
        self.flight = Some(flight);
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Empty => None,
            Source::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.source = Source::Empty;
                Some(Ok(Frame::data(bytes)))
            }
            Source::Origin(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            },
            Source::Read(read, rest) => match (read.pop_front(), rest) {
                (Some(frame), _) => Some(Ok(frame)),
                (None, Some(body)) => match Pin::new(body).poll_frame(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(frame) => frame,
                },
                (None, None) => None,
            },
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(flight), Source::Origin(_) | Source::Read(..)) =
                    (frame.data_ref(), &mut this.flight, &this.source)
                {
                    flight.received(data.len());
                }
            }
            Some(Err(_)) | None => this.flight = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Full(_) => false,
            Source::Origin(body) => body.is_end_stream(),
            Source::Read(read, rest) => {
                read.is_empty() && rest.as_ref().is_none_or(ResponseBody::is_end_stream)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Origin(body) => body.size_hint(),
            // Whatever the origin said of its length stands in the fields.
            Source::Read(..) => SizeHint::default(),
        }
    }
}

/// An exchange under way: its session's visit and permit, and what is counted and logged of it. Dropped, it is over.
#[derive(Debug, Default)]
pub(super) struct Flight {
    entry: Option<Box<Entry>>,
    session: Option<SessionId>,
    permit: Option<Permit>,
    visit: Option<Visit>,
    /// A browser context's right to one request.
    slot: Option<OwnedSemaphorePermit>,
    upload: Option<Arc<Progress>>,
    bytes_in: u64,
    /// Sent besides the request's body: over a switched connection.
    relayed: u64,
    failed: bool,
}

impl Flight {
    pub(super) fn begin(log: AccessLog, from: &Connection, request: &Request<RequestBody>) -> Self {
        let mut flight = Self::default();
        flight.entry = log.begin(from.client, request.method());
        flight.upload = request.body().progress();
        flight
    }

    pub(super) fn towards(&mut self, destination: &Destination) {
        if let Some(entry) = &mut self.entry {
            let origin = &destination.origin;
            entry.towards(origin.scheme, &origin.authority, destination.path());
        }
    }

    /// The session that the request names, whether or not there turns out to be one.
    pub(super) fn name(&mut self, id: &SessionId) {
        if let Some(entry) = &mut self.entry {
            entry.session = Some(id.as_str().into());
        }
        self.session = Some(id.clone());
    }

    pub(super) fn session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }

    pub(super) fn visit(&mut self, visit: Visit) {
        self.visit = Some(visit);
    }

    /// By which route the exchange went, where that is not http.
    pub(super) fn route(&mut self, route: &'static str) {
        if let Some(entry) = &mut self.entry {
            entry.route = route;
        }
    }

    /// Leaves it out of the access log: nobody was asked for anything.
    pub(super) fn unlogged(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.unsaid = true;
        }
    }

    pub(super) fn slot(&mut self, slot: OwnedSemaphorePermit) {
        self.slot = Some(slot);
    }

    pub(super) fn permit(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some(entry) = &mut self.entry {
            entry.status = Some(status);
        }
    }

    pub(super) fn failed(&mut self, fault: &Fault) {
        if let Some(entry) = &mut self.entry {
            entry.fault = Some(fault.kind().row().name);
        }
        // A request that was refused is counted as rejected, not as failed: it holds no permit.
        self.failed = self.permit.is_some();
    }

    /// Counts the bytes of a switched connection, sent to the origin and received from it.
    pub(super) fn relayed(&mut self, sent: u64, received: u64) {
        self.relayed += sent;
        self.bytes_in += received;
    }

    /// Counts bytes that came from the origin.
    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let bytes_out = self.relayed + self.upload.as_ref().map_or(0, |upload| upload.sent());
        if let Some(entry) = &mut self.entry {
            entry.bytes_in = self.bytes_in;
            entry.bytes_out = bytes_out;
        }
        // The permit goes first: whoever waits for its slot need not wait for the counting.
        self.permit = None;
        if let Some(visit) = &self.visit
            && (self.failed || self.bytes_in > 0 || bytes_out > 0)
        {
            visit.count(Counters {
                failed: u64::from(self.failed),
                bytes_in: self.bytes_in,
                bytes_out,
                ..Counters::default()
            });
        }
    }
}
