//! Connections to the admin port: how many, how long idle, and what every answer carries.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::body::Riding;
use super::{Admin, router};

/// Serves the admin API, HTTP/1.1 and HTTP/2 without TLS, until `closing` is cancelled and the last answer has been sent.
///
/// # Cancellation
/// Dropped, every connection of it closes at once.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, closing: CancellationToken) {
    let router = router(Arc::clone(&admin));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            Some(ended) = connections.join_next() => note(ended),
            (stream, client, place) = accept(&listener, &places) => {
                let caller = Caller {
                    admin: Arc::clone(&admin),
                    router: router.clone(),
                    client,
                };
                let closing = closing.clone();
                connections.spawn(async move {
                    converse(stream, caller, closing).await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note(ended);
    }
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection to the admin port ended abnormally");
    }
}

/// The next connection. Beyond [`MAX_CONNECTIONS`] they wait in the kernel's backlog.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, client)) => return (stream, client, place),
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept a connection");
                // Out of descriptors, most likely; until some come back trying again only burns time.
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whoever calls over one connection, and what answers.
#[derive(Debug)]
struct Caller {
    admin: Arc<Admin>,
    router: Router,
    client: SocketAddr,
}

async fn converse(stream: TcpStream, caller: Caller, closing: CancellationToken) {
    let client = caller.client;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%client, %error, "TCP_NODELAY cannot be set");
    }
    let activity = Arc::new(Activity::begin());
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    protocols
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS);
    let service = service_fn(|request| answer(&caller, &activity, request));
    let mut connection = pin!(protocols.serve_connection(TokioIo::new(stream), service));
    let mut idle = pin!(activity.idle());
    let mut closed = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%client, %error, "a connection to the admin port broke off");
                }
                return;
            }
            () = closing.cancelled(), if !closed => {
                closed = true;
                connection.as_mut().graceful_shutdown();
            }
            () = idle.as_mut() => return,
        }
    }
}

fn answer(
    caller: &Caller,
    activity: &Arc<Activity>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Riding<Busy>>, Infallible>> + use<> {
    let busy = Activity::enter(activity);
    let admin = Arc::clone(&caller.admin);
    let router = caller.router.clone();
    request.extensions_mut().insert(ConnectInfo(caller.client));
    async move {
        let head = *request.method() == Method::HEAD;
        let mut response = match admin.guard.admit(&request) {
            Ok(()) => match router.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(problem) => problem.into_response(),
        };
        let fields = response.headers_mut();
        // Answers hold cookies and tell what the visitor has done: nothing is to keep them, or read them as what they are not.
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if head
            && let Some(length) = response
                .body()
                .size_hint()
                .exact()
                .filter(|length| *length > 0)
        {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            *response.body_mut() = Body::empty();
        }
        Ok(response.map(|body| Riding::new(body, busy)))
    }
}

/// What a connection is doing: requests under way, and since when there has been none.
#[derive(Debug)]
struct Activity {
    /// Held for a count.
    state: Mutex<(usize, Instant)>,
}

/// A request under way, until its answer has been sent.
#[derive(Debug)]
struct Busy(Arc<Activity>);

impl Activity {
    fn begin() -> Self {
        Self {
            state: Mutex::new((0, Instant::now())),
        }
    }

    fn enter(this: &Arc<Self>) -> Busy {
        this.state.lock().0 += 1;
        Busy(Arc::clone(this))
    }

    /// Returns once nothing has been asked for [`IDLE_TIMEOUT`]; a client that never says anything is idle as well.
    async fn idle(&self) {
        while let Some(next) = self.next_look(Instant::now()) {
            sleep_until(next).await;
        }
    }

    /// When the connection may be idle at the earliest; `None` where it is.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        let (requests, since) = *self.state.lock();
        match requests {
            0 => Some(since + IDLE_TIMEOUT).filter(|end| *end > now),
            _ => Some(now + IDLE_TIMEOUT),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        *state = (state.0 - 1, Instant::now());
    }
}

/// Client connections at once, on one listener.
const MAX_CONNECTIONS: usize = 512;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;
/// The time for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The time between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_only_while_nothing_is_under_way() {
        let activity = Arc::new(Activity::begin());
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(activity.next_look(later(60)).is_some());
        assert!(activity.next_look(later(121)).is_none());
        let (one, two) = (Activity::enter(&activity), Activity::enter(&activity));
        drop(one);
        assert!(
            activity
                .next_look(later(500))
                .is_some_and(|next| next > later(600))
        );
        drop(two);
        assert!(activity.next_look(later(60)).is_some());
        assert!(activity.next_look(later(121)).is_none());
    }
}
