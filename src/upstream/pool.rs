//! The connections of one owner, a session or a client connection, by origin; never shared with another.
//!
//! An HTTP/1.1 connection has no task of its own: whoever waits for its response drives it, and while
//! idle it is looked at when it is taken out and by [`Pool::sweep`]. An HTTP/2 connection is driven by
//! a task that ends when the pool lets go of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

use super::body::RequestBody;
use super::egress::{Egress, Exit};
use super::executor::TrackedExecutor;
use super::io::{Look, Stream};
use super::shared::{H2, Stay};
use super::tls::{SessionTls, UpstreamTls};
use crate::message::{Authority, Scheme};

/// An origin: where a connection leads and whether TLS is spoken on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
}

impl Origin {
    /// The origin that a CONNECT is for, before it is known what will be spoken: rules may tell schemes apart.
    pub(super) fn presumed(authority: &Authority) -> Self {
        let scheme = match authority.port == Scheme::Http.default_port() {
            true => Scheme::Http,
            false => Scheme::Https,
        };
        Self {
            scheme,
            authority: authority.clone(),
        }
    }
}

/// What all pools have in common.
#[derive(Debug)]
pub struct Terms {
    /// Idle HTTP/1.1 connections kept for one origin; the oldest closes.
    pub max_idle_per_host: usize,
    /// How long a connection may stay idle.
    pub idle_timeout: Duration,
    /// Roots and verifier; tickets are each pool's own.
    pub tls: Arc<UpstreamTls>,
    /// The upstream proxies, of which each pool leaves by one.
    pub egress: Arc<Egress>,
    /// What goes on without a request: HTTP/2 connections, and uploads whose responses came early.
    pub tasks: TaskTracker,
}

/// The connections of one owner.
///
/// Capacity: [`MAX_ORIGINS`] origins, the least recently used closes; each with `max_idle_per_host`
/// idle HTTP/1.1 connections and one HTTP/2 connection.
#[derive(Debug)]
pub struct Pool {
    terms: Arc<Terms>,
    /// TLS tickets of this owner alone.
    pub(super) tls: SessionTls,
    /// Held for a few comparisons and moves, never across an await.
    state: Mutex<State>,
}

/// Origins a pool keeps connections for.
pub const MAX_ORIGINS: usize = 256;

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// By what connections leave; none: directly.
    exit: Option<Arc<Exit>>,
    /// Counts the changes of that: connections of an earlier one are not kept.
    epoch: u64,
    /// Most recently used last; a session talks to few origins, so a scan beats a map.
    origins: Vec<(Origin, Entry)>,
}

#[derive(Debug, Default)]
struct Entry {
    #[allow(
        clippy::vec_box,
        reason = "a connection is large, and moves between here and its leases in its box"
    )]
    idle: Vec<Box<H1>>,
    h2: Option<H2>,
    protocol: Option<Protocol>,
    /// Set while the origin's HTTP/2 is not to be trusted.
    avoid_http2: Option<Instant>,
    /// Set while the first connection finds out which protocol the origin speaks.
    probing: Option<Arc<Notify>>,
}

/// What ALPN chose (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Which protocols will do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Any,
    /// An upgrade exists in HTTP/1.1 only.
    Http1,
}

/// How a new connection leaves.
#[derive(Debug)]
pub(super) struct Leave {
    /// The upstream proxy; none: directly.
    pub(super) exit: Option<Arc<Exit>>,
    /// The pool's at this moment.
    pub(super) epoch: u64,
}

/// What the pool has for a request.
pub(super) enum Checkout {
    /// A connection that was used before.
    Idle(Lease),
    /// The origin's HTTP/2 connection.
    Shared(http2::SendRequest<RequestBody>, Stay),
    /// None: connect. The guard lets others wait for the protocol to be known.
    Connect(Probe),
    /// Another request is finding out which protocol the origin speaks: wait for it, then ask again.
    Wait(Arc<Notify>),
}

impl Pool {
    /// An empty pool of somebody without a session, who leaves by any of the upstream proxies if there are some.
    pub fn new(terms: &Arc<Terms>) -> Arc<Self> {
        Self::leaving(terms, terms.egress.exit_of_stranger())
    }

    /// An empty pool whose connections leave by `exit`; none: directly.
    pub fn leaving(terms: &Arc<Terms>, exit: Option<Arc<Exit>>) -> Arc<Self> {
        Arc::new(Self {
            terms: Arc::clone(terms),
            tls: SessionTls::new(Arc::clone(&terms.tls)),
            state: Mutex::new(State {
                exit,
                ..State::default()
            }),
        })
    }

    /// By what its connections leave, those that rules send directly apart.
    pub fn exit(&self) -> Option<Arc<Exit>> {
        self.state.lock().exit.clone()
    }

    /// Has connections leave by `exit` from now on. Where that is another, idle ones close, and each one in use once its
    /// response ends.
    pub fn leave_by(&self, exit: Option<Arc<Exit>>) {
        let mut state = self.state.lock();
        if state.exit != exit {
            state.exit = exit;
            state.epoch += 1;
            state.origins.clear();
        }
    }

    /// The upstream proxies.
    pub fn egress(&self) -> &Egress {
        &self.terms.egress
    }

    /// By what a connection leaves that a CONNECT to `authority` makes.
    pub fn exit_to(&self, authority: &Authority) -> Option<Arc<Exit>> {
        self.route(&Origin::presumed(authority)).exit
    }

    /// How a new connection to `origin` leaves.
    pub(super) fn route(&self, origin: &Origin) -> Leave {
        let state = self.state.lock();
        let goes = |exit: &&Arc<Exit>| exit.is_own() || self.terms.egress.leads_to(origin);
        Leave {
            exit: state.exit.as_ref().filter(goes).cloned(),
            epoch: state.epoch,
        }
    }

    /// Whether a request to this origin could be sent without connecting first.
    pub fn has_idle(&self, origin: &Origin) -> bool {
        self.state.lock().origins.iter_mut().any(|(known, entry)| {
            if known != origin {
                return false;
            }
            while entry.idle.pop_if(|newest| newest.is_dead()).is_some() {}
            !entry.idle.is_empty() || entry.h2.as_ref().is_some_and(|h2| !h2.is_closed())
        })
    }

    /// Closes what has been idle for longer than the bound allows, and what origins have closed.
    pub fn sweep(&self, now: Instant) {
        let limit = self.terms.idle_timeout;
        self.state.lock().origins.retain_mut(|(_, entry)| {
            entry.idle.retain_mut(|connection| {
                now.saturating_duration_since(connection.idle_since) < limit
                    && !connection.is_dead()
            });
            entry
                .h2
                .take_if(|h2| h2.is_closed() || h2.is_idle(now, limit));
            !entry.idle.is_empty()
                || entry.h2.is_some()
                || entry.probing.is_some()
                || entry.avoids_http2()
        });
    }

    /// Closes every idle connection, and each one in use once its response ends.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.origins.clear();
    }

    /// Idle connections, HTTP/2 ones included.
    pub fn idle(&self) -> usize {
        self.state
            .lock()
            .origins
            .iter()
            .map(|(_, entry)| entry.idle.len() + usize::from(entry.h2.is_some()))
            .sum()
    }

    /// Takes out a connection that is fit for a request, or says how to get one.
    ///
    /// Nobody is woken by the connection until it is driven by the task that will use it.
    pub(super) fn checkout(self: &Arc<Self>, origin: &Origin, need: Need) -> Checkout {
        let mut state = self.state.lock();
        let epoch = state.epoch;
        let entry = state.entry(origin);
        while let Some(mut connection) = entry.take(need) {
            // Sending on it will wake whoever drove it last: that must not be the task that sends.
            if !connection.is_dead() {
                return Checkout::Idle(Lease {
                    connection: Some(connection),
                    pool: Arc::clone(self),
                    origin: origin.clone(),
                    epoch,
                    uploads: false,
                });
            }
        }
        if need == Need::Http1 {
            return Checkout::Connect(Probe::none());
        }
        if let Some(h2) = &entry.h2 {
            if !h2.is_closed() {
                let (sender, stay) = h2.open();
                return Checkout::Shared(sender, stay);
            }
            entry.h2 = None;
        }
        if let Some(probing) = &entry.probing {
            return Checkout::Wait(Arc::clone(probing));
        }
        if origin.scheme == Scheme::Http
            || entry.protocol == Some(Protocol::Http1)
            || entry.avoids_http2()
        {
            return Checkout::Connect(Probe::none());
        }
        let done = Arc::new(Notify::new());
        entry.probing = Some(Arc::clone(&done));
        Checkout::Connect(Probe(Some((Arc::clone(self), origin.clone(), done))))
    }

    /// Whether a request is still finding out which protocol the origin speaks.
    pub(super) fn is_probing(&self, origin: &Origin) -> bool {
        self.state.lock().entry(origin).probing.is_some()
    }

    /// Remembers which protocol an origin chose.
    pub(super) fn learn(&self, origin: &Origin, protocol: Protocol) {
        self.state.lock().entry(origin).protocol = Some(protocol);
    }

    /// Runs what drives connections that many requests share; each ends when the last of them and the pool have let go.
    pub(super) fn executor(&self) -> TrackedExecutor {
        TrackedExecutor(self.terms.tasks.clone())
    }

    /// Offers a new HTTP/2 connection to later requests.
    pub(super) fn share(&self, origin: &Origin, h2: H2, epoch: u64) {
        let mut state = self.state.lock();
        if !state.closed && state.epoch == epoch {
            state.entry(origin).h2 = Some(h2);
        }
    }

    /// Asks an origin by HTTP/1.1 for [`AVOID_HTTP2_FOR`].
    pub(super) fn avoid_http2(&self, origin: &Origin) {
        let mut state = self.state.lock();
        let entry = state.entry(origin);
        entry.avoid_http2 = Some(Instant::now() + AVOID_HTTP2_FOR);
        entry.h2 = None;
    }

    /// Whether an origin is asked by HTTP/1.1 though it may offer HTTP/2.
    pub(super) fn avoids_http2(&self, origin: &Origin) -> bool {
        self.state.lock().entry(origin).avoids_http2()
    }

    /// Forgets the shared HTTP/2 connection, which turned out to be of no more use.
    pub(super) fn forget_h2(&self, origin: &Origin) {
        self.state.lock().entry(origin).h2 = None;
    }

    /// A lease on a connection just made.
    pub(super) fn lease(self: &Arc<Self>, origin: &Origin, connection: H1, epoch: u64) -> Lease {
        Lease {
            connection: Some(Box::new(connection)),
            pool: Arc::clone(self),
            origin: origin.clone(),
            epoch,
            uploads: false,
        }
    }

    fn give_back(&self, origin: &Origin, mut connection: Box<H1>, epoch: u64) {
        connection.idle_since = Instant::now();
        let mut state = self.state.lock();
        if state.closed || state.epoch != epoch {
            return;
        }
        let idle = &mut state.entry(origin).idle;
        if self.terms.max_idle_per_host == 0 {
            return;
        }
        if idle.len() >= self.terms.max_idle_per_host {
            idle.remove(0);
        }
        idle.push(connection);
    }
}

/// A connection that has been idle for less is not asked again by a system call: what its origin sends so soon after a response
/// might as well arrive while the next request is on its way, and no origin gives up an idle connection so fast.
const LOOK_CLOSELY_AFTER: Duration = Duration::from_millis(10);

/// How long an origin whose HTTP/2 was found broken is asked by HTTP/1.1.
const AVOID_HTTP2_FOR: Duration = Duration::from_secs(600);

impl Entry {
    /// The idle connection that was used last of those that will do: what a proxy forwards cannot change its protocol.
    fn take(&mut self, need: Need) -> Option<Box<H1>> {
        match need {
            Need::Any => self.idle.pop(),
            Need::Http1 => {
                let at = self.idle.iter().rposition(|idle| idle.forwards.is_none())?;
                Some(self.idle.remove(at))
            }
        }
    }

    fn avoids_http2(&self) -> bool {
        self.avoid_http2.is_some_and(|until| Instant::now() < until)
    }
}

impl State {
    fn entry(&mut self, origin: &Origin) -> &mut Entry {
        let at = match self.origins.iter().position(|(known, _)| known == origin) {
            Some(at) if at + 1 == self.origins.len() => at,
            Some(at) => {
                let last = self.origins.len() - 1;
                self.origins[at..=last].rotate_left(1);
                last
            }
            None => {
                if self.origins.len() >= MAX_ORIGINS {
                    self.origins.remove(0);
                }
                self.origins.push((origin.clone(), Entry::default()));
                self.origins.len() - 1
            }
        };
        &mut self.origins[at].1
    }
}

/// Held while a connection is made that will tell which protocol the origin speaks; dropped, the others go on.
pub(super) struct Probe(Option<(Arc<Pool>, Origin, Arc<Notify>)>);

impl Probe {
    fn none() -> Self {
        Self(None)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some((pool, origin, done)) = self.0.take() {
            let mut state = pool.state.lock();
            let entry = state.entry(&origin);
            if entry
                .probing
                .as_ref()
                .is_some_and(|probing| Arc::ptr_eq(probing, &done))
            {
                entry.probing = None;
            }
            drop(state);
            done.notify_waiters();
        }
    }
}

type H1Connection = http1::Connection<TokioIo<Stream>, RequestBody>;

/// An HTTP/1.1 connection: hyper's two halves, driven by whoever holds both.
pub(super) struct H1 {
    pub(super) sender: http1::SendRequest<RequestBody>,
    connection: H1Connection,
    look: Look,
    /// The proxy at its other end, where that is given requests for the origin rather than the origin's bytes.
    pub(super) forwards: Option<Arc<Exit>>,
    /// A connection that has ended must not be polled again.
    ended: bool,
    idle_since: Instant,
    /// Kept from one request's deadline for the next's.
    pub(super) timer: Option<Pin<Box<Sleep>>>,
}

impl H1 {
    pub(super) fn new(
        sender: http1::SendRequest<RequestBody>,
        connection: H1Connection,
        look: Look,
        forwards: Option<Arc<Exit>>,
    ) -> Self {
        Self {
            sender,
            connection,
            look,
            forwards,
            ended: false,
            idle_since: Instant::now(),
            timer: None,
        }
    }

    /// Moves bytes both ways; errors reach whoever waits for the response or reads its body.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            self.ended = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }

    /// The bare stream, and what was read beyond the response, once a 101 has ended HTTP on it.
    pub(super) fn into_stream(self) -> (Stream, bytes::Bytes) {
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the last exchange is over on both sides and the origin has not closed.
    fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.ended && self.sender.is_ready()
    }

    /// Whether the connection is of no use to another request. What has come on it that nobody asked for is read here, and ends
    /// it, so that it does not become the next request's answer; TLS tickets, which come like that, are taken in.
    fn is_dead(&mut self) -> bool {
        if self.idle_since.elapsed() < LOOK_CLOSELY_AFTER {
            return !self.is_usable(&mut Context::from_waker(Waker::noop()));
        }
        let look = self.look.clone();
        look.closely(|| !self.is_usable(&mut Context::from_waker(Waker::noop())))
    }
}

impl fmt::Debug for H1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// An HTTP/1.1 connection out of its pool, for one exchange. Dropped, the connection closes: only
/// [`Lease::give_back`] keeps it.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Option<Box<H1>>,
    pool: Arc<Pool>,
    origin: Origin,
    /// The pool's when the connection was made.
    epoch: u64,
    /// Whether the request has a body, which the response may have overtaken.
    pub(super) uploads: bool,
}

impl Lease {
    pub(super) fn connection(&mut self) -> &mut H1 {
        self.connection
            .as_mut()
            .expect("the connection leaves a lease only with the lease")
    }

    pub(super) fn into_connection(mut self) -> H1 {
        *self
            .connection
            .take()
            .expect("the connection leaves a lease only with the lease")
    }

    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        self.connection().drive(cx);
    }

    /// The response has been read to its end: the connection may serve again.
    pub(super) fn give_back(mut self) {
        let Some(mut connection) = self
            .connection
            .take()
            .filter(|connection| !connection.ended)
        else {
            return;
        };
        // Nobody drives an idle connection, and this one still has a body to send.
        if self.uploads && connection.is_dead() {
            if !connection.ended {
                let tasks = &self.pool.terms.tasks;
                tasks.spawn(finish_upload(
                    connection,
                    Arc::clone(&self.pool),
                    self.origin.clone(),
                    self.epoch,
                ));
            }
            return;
        }
        self.pool.give_back(&self.origin, connection, self.epoch);
    }
}

/// Sends the rest of a request's body whose response came early, as it would be sent without a proxy between: a client that
/// is cut off in its upload may never look at the response.
async fn finish_upload(mut connection: Box<H1>, pool: Arc<Pool>, origin: Origin, epoch: u64) {
    let finished = std::future::poll_fn(|cx| match connection.is_usable(cx) {
        true => Poll::Ready(()),
        false if connection.ended => Poll::Ready(()),
        false => Poll::Pending,
    });
    let finished = tokio::time::timeout(LONGEST_UPLOAD_AFTER_RESPONSE, finished).await;
    if finished.is_ok() && !connection.ended {
        pool.give_back(&origin, connection, epoch);
    }
}

/// How long a body may still be sent after its response has ended.
const LONGEST_UPLOAD_AFTER_RESPONSE: Duration = Duration::from_secs(30);
