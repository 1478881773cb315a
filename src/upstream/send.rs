//! One request to one origin: over a connection its owner has, or a new one, and again where that is safe.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, timeout_at};

use super::body::{Replay, RequestBody, ResponseBody, Taken, Upload};
use super::dial::Dialer;
use super::egress::{self, EgressError, Exit};
use super::error::{Retry, UpstreamError};
use super::io::{Link, Socket, Stream};
use super::pool::{Checkout, H1, Lease, Leave, Need, Origin, Pool, Probe, Protocol};
use super::reached::Reached;
use super::shared::{H2, Stay};
use super::spare::Spare;
use super::tls::Alpn;
use crate::fault::Fault;
use crate::message::{Authority, Scheme, fields};

/// The way to origins: what every pool uses and none owns.
#[derive(Debug)]
pub struct Upstream {
    /// Makes TCP connections.
    pub dialer: Arc<Dialer>,
    /// Where connections were made lately.
    pub reached: Reached,
    /// The time for TCP and TLS together.
    pub connect_timeout: Duration,
    /// The time from the request's last byte to the response's head.
    pub response_header_timeout: Duration,
}

/// What the origin answered.
#[derive(Debug)]
pub enum Answer {
    /// A response, its body still to come.
    Response(Response<ResponseBody>),
    /// 101: the protocol changed, and bytes flow from here on.
    Switched(Response<()>, Box<Switched>),
}

/// The stream after a 101, and what was already read of the new protocol.
#[derive(Debug)]
pub struct Switched {
    /// Bytes that came with the response's head.
    pub read: Bytes,
    /// The stream itself.
    pub stream: Stream,
}

impl Upstream {
    /// Connects to an origin before it is known what to say there, as a CONNECT does: as connections of `pool` leave, or directly
    /// where there is none.
    ///
    /// # Errors
    /// [`UpstreamError::Dial`], [`UpstreamError::Egress`].
    pub async fn dial(
        &self,
        pool: Option<&Arc<Pool>>,
        authority: &Authority,
    ) -> Result<Spare, UpstreamError> {
        let exit = pool.and_then(|pool| pool.exit_to(authority));
        let (Some(exit), Some(pool)) = (exit, pool) else {
            return self.dial_directly(authority).await;
        };
        let deadline = Instant::now() + self.connect_timeout;
        let link = self.through(pool, &exit, Some(authority), deadline).await?;
        Ok(Spare::new(link, Some(exit)))
    }

    async fn dial_directly(&self, authority: &Authority) -> Result<Spare, UpstreamError> {
        match self.dialer.dial(authority).await {
            Ok(stream) => {
                self.reached.note(authority);
                Ok(Spare::new(Link::Tcp(Socket::new(stream)), None))
            }
            Err(error) => {
                self.reached.forget(authority);
                Err(error.into())
            }
        }
    }

    /// Connects to a proxy and, where `target` says so, through it; and takes note of how the proxy is.
    async fn through(
        &self,
        pool: &Pool,
        exit: &Arc<Exit>,
        target: Option<&Authority>,
        deadline: Instant,
    ) -> Result<Link, EgressError> {
        let outcome = match target {
            Some(target) => egress::tunnel(&self.dialer, &pool.tls, exit, target, deadline).await,
            None => egress::reach(&self.dialer, &pool.tls, exit, deadline).await,
        };
        match (&outcome, target) {
            (Ok(_), Some(_)) => exit.proxy().carried(),
            // Whether it will do anything for us is not known yet.
            (Ok(_), None) => exit.proxy().was_reached(),
            (Err(error), _) => egress::note(&self.dialer, error),
        }
        outcome
    }

    /// Whether a connection to the proxy itself can be made.
    pub async fn reaches(&self, pool: &Pool, exit: &Arc<Exit>) -> bool {
        let deadline = Instant::now() + self.connect_timeout;
        let outcome = egress::reach(&self.dialer, &pool.tls, exit, deadline).await;
        match &outcome {
            Ok(_) => exit.proxy().was_reached(),
            Err(error) => egress::note(&self.dialer, error),
        }
        outcome.is_ok()
    }

    /// Whether somebody connected to this origin a moment ago, so that a CONNECT may promise it without another connection.
    pub fn was_reached(&self, authority: &Authority) -> bool {
        self.reached.lately(authority)
    }

    /// Sends `request` to `origin` over a connection of `pool`.
    ///
    /// `spare` yields a TCP connection to the origin that was made beforehand (for a CONNECT), if there is one.
    /// The request's URI gives the path only. An upgrade is sent where the fields ask for one.
    ///
    /// A connection that was idle may turn out to be closed. A request none of which was written is sent again on
    /// another; one of whose body no more was sent than is kept goes once more if it is idempotent, or if the origin says that
    /// it did nothing with it. An origin whose HTTP/2 is broken, or that wants HTTP/1.1, is asked by that for a while.
    ///
    /// # Errors
    /// [`Failed`], of the last attempt.
    ///
    /// # Cancellation
    /// Dropped, the exchange is given up: an HTTP/1.1 connection closes, an HTTP/2 stream is reset.
    pub async fn send(
        &self,
        pool: &Arc<Pool>,
        origin: &Origin,
        mut request: Request<RequestBody>,
        spare: impl Fn() -> Option<Spare>,
    ) -> Result<Answer, Failed> {
        let need = match fields::has(request.headers(), &UPGRADE) {
            true => Need::Http1,
            false => Need::Any,
        };
        let mut retried = false;
        loop {
            let (way, reused) = match pool.checkout(origin, need) {
                Checkout::Wait(done) => {
                    wait_for(&done, pool, origin).await;
                    continue;
                }
                Checkout::Idle(lease) => (Way::Http1(lease), true),
                Checkout::Shared(h2, stay) => (Way::Http2(h2, stay), true),
                Checkout::Connect(probe) => {
                    match self.connect(pool, origin, need, spare(), probe).await {
                        Ok(way) => (way, false),
                        Err(error) => {
                            return Err(Failed {
                                error,
                                unsent: Some(Box::new(request)),
                            });
                        }
                    }
                }
            };
            // A new HTTP/1.1 connection has no excuse; a new HTTP/2 one may be told to go elsewhere at once.
            let may_fail = reused || matches!(way, Way::Http2(..));
            let again = (may_fail && !retried).then(|| Again::of(&mut request));
            let sent = match way {
                Way::Http1(lease) => self.over_http1(lease, origin, request).await,
                Way::Http2(h2, stay) => self.over_http2(h2, stay, pool, origin, request).await,
            };
            match sent {
                Ok(answer) => {
                    if let Some(replay) = again.and_then(|again| again.replay) {
                        replay.forget();
                    }
                    return Ok(answer);
                }
                // Nothing of it was written. Every pass uses up an idle connection, so this ends.
                Err(Unsent {
                    request: Some(unsent),
                    ..
                }) if reused => request = *unsent,
                Err(Unsent { error, .. }) => {
                    let again = again.filter(|again| may_repeat(error.retry(), &again.method));
                    match again.and_then(Again::into_request) {
                        Some(again) => {
                            retried = true;
                            request = again;
                        }
                        None => {
                            return Err(Failed {
                                error,
                                unsent: None,
                            });
                        }
                    }
                }
            }
        }
    }

    async fn connect(
        &self,
        pool: &Arc<Pool>,
        origin: &Origin,
        need: Need,
        spare: Option<Spare>,
        probe: Probe,
    ) -> Result<Way, UpstreamError> {
        let deadline = Instant::now() + self.connect_timeout;
        let Leave { exit, epoch } = pool.route(origin);
        let mut forwards = None;
        let link = match (spare.and_then(|spare| spare.fit_for(exit.as_ref())), exit) {
            (Some(link), _) => link,
            (None, None) => self.dial_directly(&origin.authority).await?.into_link(),
            (None, Some(exit)) => {
                let authority = &origin.authority;
                let target = match self.forwards(&exit, origin, need)? {
                    true => None,
                    false => Some(authority),
                };
                let link = self.through(pool, &exit, target, deadline).await?;
                forwards = target.is_none().then_some(exit);
                link
            }
        };
        let look = link.look();
        let (stream, protocol) = if origin.scheme.is_secure() {
            let alpn = match need {
                Need::Any if !pool.avoids_http2(origin) => Alpn::Both,
                Need::Any | Need::Http1 => Alpn::Http1Only,
            };
            let handshake = pool.tls.handshake(link, &origin.authority, alpn);
            let tls = timeout_at(deadline, handshake).await.map_err(|_| {
                UpstreamError::HandshakeTimeout {
                    authority: origin.authority.clone(),
                    after: self.connect_timeout,
                }
            })??;
            let protocol = match tls.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            (Stream::Tls(Box::new(tls)), protocol)
        } else {
            (Stream::Plain(link), Protocol::Http1)
        };
        let hyper = |error| UpstreamError::of_hyper(&origin.authority, error);
        let way = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::Builder::new()
                    .preserve_header_case(true)
                    .title_case_headers(true)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(hyper)?;
                let connection = H1::new(sender, connection, look, forwards);
                Way::Http1(pool.lease(origin, connection, epoch))
            }
            Protocol::Http2 => {
                let executor = pool.executor();
                let (sender, connection) = http2::Builder::new(executor.clone())
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(H2_STREAM_WINDOW)
                    .initial_connection_window_size(H2_CONNECTION_WINDOW)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(hyper)?;
                let authority = origin.authority.clone();
                // The task ends when the last sender is dropped: the pool's and those of requests in flight.
                executor.execute(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%authority, %error, "HTTP/2 connection ended");
                    }
                });
                let h2 = H2::new(sender);
                let (sender, stay) = h2.open();
                pool.share(origin, h2, epoch);
                Way::Http2(sender, stay)
            }
        };
        if need == Need::Any && origin.scheme.is_secure() && !pool.avoids_http2(origin) {
            pool.learn(origin, protocol);
        }
        drop(probe);
        Ok(way)
    }

    /// Whether a proxy is given the request itself. As with curl, it is not where a rule of `connect_to` names another target, which a
    /// request has no place for.
    ///
    /// # Errors
    /// Where the destination is one that may not be named to a proxy.
    fn forwards(&self, exit: &Exit, origin: &Origin, need: Need) -> Result<bool, EgressError> {
        let (target, redirected) = self.dialer.target(&origin.authority);
        let forwards =
            exit.forwards() && !origin.scheme.is_secure() && need == Need::Any && !redirected;
        if forwards {
            self.dialer
                .judge_unresolved(&target)
                .map_err(EgressError::Destination)?;
        }
        Ok(forwards)
    }

    async fn over_http1(
        &self,
        mut lease: Lease,
        origin: &Origin,
        mut request: Request<RequestBody>,
    ) -> Result<Answer, Unsent> {
        lease.uploads = !request.body().is_empty();
        *request.version_mut() = Version::HTTP_11;
        let forwards = lease.connection().forwards.clone();
        match &forwards {
            None => *request.uri_mut() = path_only(request.uri()),
            Some(exit) => {
                *request.uri_mut() = absolute(origin, request.headers(), request.uri());
                if let Some(authorization) = exit.authorization() {
                    request
                        .headers_mut()
                        .insert(PROXY_AUTHORIZATION, authorization.clone());
                }
            }
        }
        let timer = lease.connection().timer.take();
        let mut deadline = Deadline::new(timer, self.response_header_timeout, request.body());
        // Only `drive` below can complete the response, so no waker needs to be left with it; one would have the task, which is
        // the client's whole connection, polled once more for nothing. Unconstrained: a spent budget would wait for that waker.
        let mut response = pin!(unconstrained(
            lease.connection().sender.try_send_request(request)
        ));
        let mut written = false;
        let mut waited = false;
        let response = poll_fn(|cx| {
            // What other clients have asked meanwhile is read first. Origins are then written to one after the other, and
            // each wake-up of theirs finds more than one request to answer.
            if !std::mem::replace(&mut waited, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let quiet = &mut Context::from_waker(Waker::noop());
            // Woken: most likely the response is there, and then what hyper's halves tell each other needs no waker either.
            if std::mem::replace(&mut written, true) {
                lease.drive(quiet);
                if let Poll::Ready(response) = response.as_mut().poll(quiet) {
                    return Poll::Ready(Some(response));
                }
            }
            lease.drive(cx);
            if let Poll::Ready(response) = response.as_mut().poll(quiet) {
                return Poll::Ready(Some(response));
            }
            deadline.poll(cx).map(|()| None)
        })
        .await;
        let response = self
            .judge(response, origin)
            .map_err(|unsent| unsent.without_credentials(forwards.is_some()))?;
        match forwards {
            Some(exit) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let said = response.status().to_string();
                let error = EgressError::Credentials { exit, said };
                egress::note(&self.dialer, &error);
                return Err(Unsent {
                    request: None,
                    error: error.into(),
                });
            }
            Some(exit) => exit.proxy().carried(),
            None => {}
        }
        lease.connection().timer = Some(deadline.timer);
        if let Some(what) = doubtful_framing(response.headers()) {
            let authority = origin.authority.clone();
            return Err(Unsent {
                request: None,
                error: UpstreamError::Framing { authority, what },
            });
        }
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answer::Response(
                response.map(|body| ResponseBody::new(body, Taken::Http1(lease))),
            ));
        }
        poll_fn(|cx| {
            lease.drive(cx);
            match lease.connection().has_ended() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        let (stream, read) = lease.into_connection().into_stream();
        Ok(Answer::Switched(
            response.map(drop),
            Box::new(Switched { read, stream }),
        ))
    }

    async fn over_http2(
        &self,
        mut h2: http2::SendRequest<RequestBody>,
        stay: Stay,
        pool: &Pool,
        origin: &Origin,
        mut request: Request<RequestBody>,
    ) -> Result<Answer, Unsent> {
        // hyper's HTTP/2 client does not tell of interim responses, so nobody could let the body go.
        request.body_mut().let_go();
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = absolute(origin, request.headers(), request.uri());
        let fields_sent = std::mem::take(request.headers_mut());
        // `:authority` stands for it (RFC 9113, section 8.3.1).
        *request.headers_mut() = fields::without(fields_sent, &HOST);
        let mut deadline = Deadline::new(None, self.response_header_timeout, request.body());
        let mut response = pin!(h2.try_send_request(request));
        let response = poll_fn(|cx| {
            if let Poll::Ready(response) = response.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            deadline.poll(cx).map(|()| None)
        })
        .await;
        let response =
            self.judge(response, origin)
                .inspect_err(|unsent| match unsent.error.retry() {
                    Retry::OverHttp1 | Retry::OverHttp1IfIdempotent => pool.avoid_http2(origin),
                    Retry::IfIdempotent | Retry::Unprocessed => pool.forget_h2(origin),
                    Retry::Never => {}
                })?;
        Ok(Answer::Response(
            response.map(|body| ResponseBody::new(body, Taken::Http2(stay))),
        ))
    }

    fn judge(
        &self,
        response: Option<Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
        origin: &Origin,
    ) -> Result<Response<Incoming>, Unsent> {
        match response {
            Some(Ok(response)) => Ok(response),
            Some(Err(mut failed)) => Err(Unsent {
                request: failed.take_message().map(Box::new),
                error: UpstreamError::of_hyper(&origin.authority, failed.into_error()),
            }),
            None => Err(Unsent {
                request: None,
                error: UpstreamError::ResponseTimeout {
                    authority: origin.authority.clone(),
                    after: self.response_header_timeout,
                },
            }),
        }
    }
}

/// What an origin may send ahead of the client's reading, per stream and per connection. The connection's is that of as many
/// streams as any origin allows: with less, a few that nobody reads would hold all others up.
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 256 << 20;

enum Way {
    Http1(Lease),
    Http2(http2::SendRequest<RequestBody>, Stay),
}

/// What of a response's framing cannot be passed on: hyper decodes chunked alone, and burdock offers no other coding.
fn doubtful_framing(fields: &HeaderMap) -> Option<&'static str> {
    if fields::is_chunked_alone(fields) == Some(false) {
        return Some("another Transfer-Encoding than `chunked`");
    }
    fields::values(fields, &CONTENT_LENGTH)
        .any(|length| !length.as_bytes().iter().all(u8::is_ascii_digit))
        .then_some("a Content-Length that is no number")
}

/// A failed attempt, with the request where none of it was written.
struct Unsent {
    request: Option<Box<Request<RequestBody>>>,
    error: UpstreamError,
}

impl Unsent {
    /// The same without what was for a proxy that was given the request, as `forwarded` says: the next attempt may go elsewhere.
    fn without_credentials(mut self, forwarded: bool) -> Self {
        if let Some(request) = self.request.as_mut().filter(|_| forwarded) {
            let fields = std::mem::take(request.headers_mut());
            *request.headers_mut() = fields::without(fields, &PROXY_AUTHORIZATION);
        }
        self
    }
}

/// No answer.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: UpstreamError,
    /// The request, where it was not sent because there was no connection.
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        failed.error.into()
    }
}

/// Ends when the origin has had its time; while the request's body still moves, the time starts anew.
struct Deadline {
    timer: Pin<Box<Sleep>>,
    every: Duration,
    upload: Upload,
}

impl Deadline {
    /// A deadline by the timer of an earlier request, if there is one: moving a timer costs less than making one.
    fn new(timer: Option<Pin<Box<Sleep>>>, every: Duration, body: &RequestBody) -> Self {
        let timer = match timer {
            Some(mut timer) => {
                timer.as_mut().reset(Instant::now() + every);
                timer
            }
            None => Box::pin(tokio::time::sleep(every)),
        };
        Self {
            timer,
            every,
            upload: Upload::watch(body),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whatever was spent on reading: what an origin sends without end must not keep its time from passing.
        while unconstrained(self.timer.as_mut()).poll_unpin(cx).is_ready() {
            if !self.upload.moved() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(Instant::now() + self.every);
        }
        Poll::Pending
    }
}

/// Waits until the protocol of an origin is known.
///
/// The registration comes before the second look, so that a probe that ends in between is not missed.
async fn wait_for(done: &tokio::sync::Notify, pool: &Pool, origin: &Origin) {
    let mut notified = pin!(done.notified());
    notified.as_mut().enable();
    if pool.is_probing(origin) {
        notified.await;
    }
}

/// Whether a request may be sent a second time.
fn may_repeat(retry: Retry, method: &Method) -> bool {
    match retry {
        Retry::Unprocessed | Retry::OverHttp1 => true,
        Retry::IfIdempotent | Retry::OverHttp1IfIdempotent => method.is_idempotent(),
        Retry::Never => false,
    }
}

/// A request to be sent a second time. Fields are kept as a list, since cloning a map costs several allocations; how the
/// client spelt their names is not kept for the few requests that need this.
struct Again {
    method: Method,
    uri: Uri,
    fields: Vec<(HeaderName, HeaderValue)>,
    /// `None` where there is no body.
    replay: Option<Replay>,
}

impl Again {
    fn of(request: &mut Request<RequestBody>) -> Self {
        let replay = request.body_mut().keep();
        let mut fields = Vec::with_capacity(request.headers().len());
        fields.extend(
            request
                .headers()
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            fields,
            replay,
        }
    }

    /// The request; `None` where too much of its body was sent.
    fn into_request(self) -> Option<Request<RequestBody>> {
        let body = match self.replay {
            Some(replay) => replay.into_body()?,
            None => RequestBody::default(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        for (name, value) in self.fields {
            request.headers_mut().append(name, value);
        }
        Some(request)
    }
}

fn path_only(uri: &Uri) -> Uri {
    match uri.path_and_query() {
        Some(_) if uri.scheme().is_none() => uri.clone(),
        Some(path) => Uri::from(path.clone()),
        None => Uri::from_static("/"),
    }
}

/// `scheme://authority/path`: what HTTP/2 makes its pseudo-header fields of (RFC 9113, section 8.3.1).
/// The authority is written as in the Host field, which the exchange has set.
fn absolute(origin: &Origin, fields: &HeaderMap, uri: &Uri) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match origin.scheme {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    });
    parts.authority = fields
        .get(HOST)
        .and_then(|host| http::uri::Authority::try_from(host.as_bytes()).ok())
        .or_else(|| {
            let text = origin.authority.for_scheme(origin.scheme);
            http::uri::Authority::try_from(text).ok()
        });
    parts.path_and_query = uri
        .path_and_query()
        .cloned()
        .or(Some(http::uri::PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
