//! HTTP/1.1 and HTTP/2 towards a client, on the proxy port as in tunnels.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::House;
use super::accept::Place;
use super::pulse::{Answering, Overdue, Pulse};
use super::tunnel;
use super::wire::Wire;
use super::written::Written;
use crate::exchange::{Body, Connection, Door, Interim};
use crate::fault::Kind;
use crate::message::fields::PROXY_STATUS;
use crate::upstream::{BodyError, RequestBody, TrackedExecutor};

/// A connection that requests come on.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) connection: Connection,
    pub(super) house: Arc<House>,
    pub(super) place: Place,
}

/// Serves HTTP/1.1 until either side closes, the client runs out of time, or the house closes.
pub(super) async fn serve_http1<S>(mut served: Served, wire: Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let interim = Arc::<Interim>::default();
    served.connection.interim = Some(Arc::clone(&interim));
    let served = Arc::new(served);
    let pulse = Pulse::new();
    let io = TokioIo::new(wire.with_pulse(&pulse, interim));
    let service =
        service_fn(|request| answer(Arc::clone(&served), Arc::clone(&pulse), None, request));
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .title_case_headers(true)
        .auto_date_header(false)
        .max_header_size(served.house.bounds.max_header_bytes)
        .max_buf_size(served.house.bounds.max_header_bytes.max(MIN_BUFFER))
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    watch(&served, &pulse, |cx, close| {
        if close {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
}

/// Serves HTTP/2 likewise; each request in a task of its own.
pub(super) async fn serve_http2<S>(served: Served, wire: Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = Arc::new(served);
    let pulse = Pulse::new();
    let written = Arc::<Written>::default();
    let shared = (
        Arc::clone(&served),
        Arc::clone(&pulse),
        Arc::clone(&written),
    );
    let service = service_fn(move |request| {
        let (served, pulse, written) = shared.clone();
        answer(served, pulse, Some(written), request)
    });
    let max_header_bytes = u32::try_from(served.house.bounds.max_header_bytes).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(TrackedExecutor(served.house.tasks.clone()))
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_header_list_size(max_header_bytes)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(wire.with_flood(&written)), service);
    let mut connection = pin!(connection);
    watch(&served, &pulse, |cx, close| {
        written.driven(cx);
        if close {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    written.end();
}

/// hyper refuses a smaller read buffer.
const MIN_BUFFER: usize = 8192;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 250;
/// What a client may send ahead of the origin's reading, per stream and per connection. The connection's is that of all its
/// streams: with less, a few uploads that their origins do not read would hold all others up.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// What is kept of a response that the client is slow to read.
const SEND_BUFFER: usize = 256 << 10;

/// Drives a connection, closing it gracefully when the house closes and at once when its client has used up its time.
async fn watch(
    served: &Served,
    pulse: &Pulse,
    mut drive: impl FnMut(&mut Context<'_>, bool) -> Poll<hyper::Result<()>>,
) {
    let bounds = &served.house.bounds;
    let client = served.connection.client;
    // A node of its own, whose lock no other connection takes.
    let house_closes = served.house.closing.child_token();
    let mut closing = pin!(house_closes.cancelled());
    let mut closed = false;
    let mut listening = false;
    let mut look = pin!(sleep_until(
        Instant::now() + bounds.header_read_timeout.min(bounds.idle_timeout)
    ));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = drive(cx, false) {
            return Poll::Ready(Ok(ended));
        }
        // Nearly every turn is the connection's. The task and so its waker stay the same, so that being registered once is
        // enough until there is news.
        let has_news = !closed && (!listening || house_closes.is_cancelled());
        if has_news && closing.as_mut().poll(cx).is_ready() {
            closed = true;
            if let Poll::Ready(ended) = drive(cx, true) {
                return Poll::Ready(Ok(ended));
            }
        }
        if !listening || look.is_elapsed() {
            while look.as_mut().poll(cx).is_ready() {
                match pulse.overdue(bounds, std::time::Instant::now()) {
                    Ok(next) => look.as_mut().reset(next.into()),
                    Err(overdue) => return Poll::Ready(Err(overdue)),
                }
            }
        }
        listening = true;
        Poll::Pending
    })
    .await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%client, %error, "connection ended"),
        Err(Overdue::Idle) => tracing::trace!(%client, "connection was idle for too long"),
        Err(Overdue::Head) => {
            tracing::debug!(%client, "a client did not send a request's head in time")
        }
    }
}

async fn answer(
    served: Arc<Served>,
    pulse: Arc<Pulse>,
    written: Option<Arc<Written>>,
    request: Request<Incoming>,
) -> Result<Response<Tracked>, Abort> {
    let answering = pulse.begin();
    let connects = request.method() == Method::CONNECT;
    let mut response = match &served.connection.door {
        Door::Proxy if connects => tunnel::connect(&served, request).await,
        _ => {
            let tasks = &served.house.tasks;
            let request = request.map(|body| RequestBody::incoming(body, tasks));
            served
                .house
                .exchange
                .exchange(request, &served.connection)
                .await
        }
    };
    // To a page a failure is that of the network, as it would be without a proxy, and no answer that it could take for the origin's.
    if served.connection.visitor.is_some()
        && !connects
        && response.extensions().get::<Kind>().is_some()
    {
        return Err(Abort);
    }
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS
        || connects && response.status().is_success();
    let close = pulse.answered(switches);
    // A request that could be read in two ways makes what follows on the connection doubtful.
    let doubtful = response.status() == StatusCode::BAD_REQUEST
        && response.headers().contains_key(PROXY_STATUS);
    if close || doubtful {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Tracked {
        body,
        failed: None,
        written,
        _answering: answering,
    }))
}

/// A request is given up without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the request of a page failed")]
struct Abort;

/// A response's body; while it lasts the connection counts as busy.
#[derive(Debug)]
struct Tracked {
    body: Body,
    /// An error that is told once what came before it has gone out, as far as it had been written when the error came.
    failed: Option<(BodyError, u64)>,
    /// On HTTP/2.
    written: Option<Arc<Written>>,
    _answering: Answering,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.failed.is_none() {
            let polled = Pin::new(&mut this.body).poll_frame(cx);
            let Poll::Ready(Some(Err(error))) = polled else {
                return polled;
            };
            let mark = this.written.as_ref().map_or(0, |written| written.mark());
            this.failed = Some((error, mark));
            if this.written.is_none() {
                // hyper drops what it has not flushed when a body fails; a turn without news lets it flush what came before.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if let (Some(written), Some((_, mark))) = (&this.written, &this.failed) {
            ready!(written.poll(*mark, cx));
        }
        Poll::Ready(this.failed.take().map(|(error, _)| Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
