//! An origin whose answers stream, the same by every protocol: a service of the test's behind hyper's server.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use super::{Origin, Raw};

/// The error of a body that the test breaks off.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
pub(crate) type Streamed = BoxBody<Bytes, Broken>;

/// What an origin speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/1.1 over TLS.
    Http1,
    /// HTTP/2 over TLS.
    Http2,
}

impl Origin {
    /// An origin that answers each request with what `service` makes of it.
    pub(crate) async fn serving<F>(
        name: &str,
        speaks: Speaks,
        service: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Streamed>> + Send + 'static,
    {
        let service = Arc::new(service);
        let serve = move |wire: Raw| {
            let service = Arc::clone(&service);
            let answer = move |request| {
                let answer = service(request);
                async { Ok::<_, Infallible>(answer.await) }
            };
            let io = TokioIo::new(wire.into_stream());
            async move {
                let service = hyper::service::service_fn(answer);
                // A client may go away at any time; the test sees the request or not.
                if speaks == Speaks::Http2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(io, service).await;
                } else {
                    let mut server = hyper::server::conn::http1::Builder::new();
                    let server = server.auto_date_header(false).half_close(true);
                    let _ = server.serve_connection(io, service).await;
                }
            }
        };
        match speaks {
            Speaks::Plain => Self::tcp(name, serve).await,
            Speaks::Http1 => Self::tls_tcp(name, &["http/1.1"], move |wire, _| serve(wire)).await,
            Speaks::Http2 => Self::tls_tcp(name, &["h2"], move |wire, _| serve(wire)).await,
        }
    }
}

/// A body that is known whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Streamed {
    http_body_util::Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body whose frames are sent while it is read; it ends when the sender is dropped.
pub(crate) fn channel<E>() -> (mpsc::Sender<Result<Frame<Bytes>, E>>, Channel<E>) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Channel(receiver))
}

/// A body that comes from a [`channel`].
pub(crate) struct Channel<E>(mpsc::Receiver<Result<Frame<Bytes>, E>>);

impl<E> http_body::Body for Channel<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.0.poll_recv(cx)
    }
}

/// A body of `length` octets in pieces, which counts what was asked of it; its length is announced or not.
pub(crate) struct Counted {
    left: u64,
    announced: bool,
    taken: Arc<AtomicU64>,
}

/// Octets in a piece of a [`Counted`] body.
const PIECE: usize = 64 << 10;

impl Counted {
    /// The body, and how many octets of it have been taken.
    pub(crate) fn new(length: u64, announced: bool) -> (Self, Arc<AtomicU64>) {
        let taken = Arc::<AtomicU64>::default();
        let body = Self {
            left: length,
            announced,
            taken: Arc::clone(&taken),
        };
        (body, taken)
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        if length == 0 {
            return Poll::Ready(None);
        }
        let first = self.taken.fetch_add(length as u64, Ordering::Relaxed);
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(pattern(first, length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.announced {
            true => http_body::SizeHint::with_exact(self.left),
            false => http_body::SizeHint::default(),
        }
    }
}

/// The octets from place `first` of a body that repeats itself at no power of two, so that a lost piece shows.
pub(crate) fn pattern(first: u64, length: usize) -> Bytes {
    const LONGEST: usize = 2 << 20;
    static OCTETS: LazyLock<Bytes> =
        LazyLock::new(|| (0..LONGEST + 251).map(|at| (at % 251) as u8).collect());
    let first = usize::try_from(first % 251).expect("below 251");
    OCTETS.slice(first..first + length)
}

/// Reads a body to its end and checks that it is the pattern from its first octet on; how long it was.
pub(crate) async fn read_pattern<B>(mut body: B) -> u64
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("a body that is whole");
        let Some(data) = frame.data_ref() else {
            continue;
        };
        assert!(
            data == &pattern(length, data.len()),
            "a body that is itself from octet {length} on"
        );
        length += data.len() as u64;
    }
    length
}
