//! Bodies that are held whole: of what type they may be, how large, and how many large ones at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Method};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Admin;
use super::guard::check_site;
use super::json::{self, Object};
use super::problem::{Name, Problem};

/// The room for bodies that are held whole. Those of up to [`SMALL`] bytes need none of it; a larger one waits for a place.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
}

/// The place of a large body, to be kept as long as its bytes are.
pub(super) type Place = OwnedSemaphorePermit;

/// A body that has been read.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) place: Option<Place>,
}

/// Why a body could not be read.
#[derive(Debug)]
pub(super) enum Unread<E> {
    /// It is larger than the limit.
    TooLarge,
    /// It broke off.
    Broken(E),
}

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Reads a body of at most `limit` bytes; trailers are passed over.
    pub(super) async fn collect<B>(
        &self,
        mut body: B,
        limit: usize,
    ) -> Result<Whole, Unread<B::Error>>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let mut bytes = BytesMut::new();
        let mut place = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else {
                continue;
            };
            if data.len() > limit - bytes.len() {
                return Err(Unread::TooLarge);
            }
            if place.is_none() {
                place = self.place_for(bytes.len() + data.len()).await;
            }
            bytes.extend_from_slice(&data);
        }
        let bytes = bytes.freeze();
        Ok(Whole { bytes, place })
    }

    /// The place of a body of `size` bytes, waited for; none where it needs none.
    pub(super) async fn place_for(&self, size: usize) -> Option<Place> {
        if size <= SMALL {
            return None;
        }
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

/// A request's body as JSON; none where it has no body.
#[derive(Debug)]
pub(super) struct Json {
    value: Option<Value>,
    /// Kept while the value is.
    _place: Option<Place>,
}

impl Json {
    pub(super) fn value(self) -> Result<Value, Problem> {
        self.value
            .ok_or_else(|| Problem::new(Name::Invalid, "a body of JSON is needed"))
    }

    pub(super) fn object(self) -> Result<Object, Problem> {
        Object::of(self.value()?)
    }

    /// The object, where no body is as good as an empty one.
    pub(super) fn object_or_empty(self) -> Result<Object, Problem> {
        self.value.map_or_else(|| Ok(Object::default()), Object::of)
    }
}

impl FromRequest<Arc<Admin>> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, admin: &Arc<Admin>) -> Result<Self, Problem> {
        let kinds = match *request.method() {
            Method::PATCH => &[JSON, MERGE_PATCH][..],
            _ => &[JSON],
        };
        let whole = read(request, admin, kinds).await?;
        let value = whole
            .as_ref()
            .map(|whole| json::parse(&whole.bytes))
            .transpose()?;
        Ok(Self {
            value,
            _place: whole.and_then(|whole| whole.place),
        })
    }
}

/// A change that takes no body; an empty object does no harm.
#[derive(Debug)]
pub(super) struct NoBody;

impl FromRequest<Arc<Admin>> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, admin: &Arc<Admin>) -> Result<Self, Problem> {
        Json::from_request(request, admin)
            .await?
            .object_or_empty()?
            .end()?;
        Ok(Self)
    }
}

/// Reads the body of a change, which is of one of these types; `None` where there is none, and no other site has sent it.
///
/// # Errors
/// `unsupported-media-type`, `forbidden`; `invalid` where it is too large (413), too slow (408) or breaks off.
pub(super) async fn read(
    request: Request,
    admin: &Admin,
    kinds: &[&str],
) -> Result<Option<Whole>, Problem> {
    let (head, body) = request.into_parts();
    let known = is_one_of(&head.headers, kinds);
    // Whatever the type says, a body may turn out to be empty.
    let limit = if known { MAX_BODY } else { 0 };
    let read = tokio::time::timeout(READ_TIMEOUT, admin.uploads.collect(body, limit));
    match read.await {
        Ok(Ok(whole)) if whole.bytes.is_empty() => {
            check_site(&head.uri, &head.headers)?;
            Ok(None)
        }
        Ok(Ok(whole)) => Ok(Some(whole)),
        Ok(Err(Unread::TooLarge)) if !known => Err(Problem::new(
            Name::UnsupportedMediaType,
            format!("Content-Type must be `{}`", kinds.join("` or `")),
        )),
        Ok(Err(Unread::TooLarge)) => Err(Problem::new(
            Name::TooLarge,
            format!("the body is larger than {MAX_BODY} bytes"),
        )),
        Ok(Err(Unread::Broken(error))) => Err(Problem::new(
            Name::Invalid,
            format!("the body broke off: {error}"),
        )),
        Err(_) => Err(Problem::new(
            Name::TooSlow,
            format!(
                "the body did not arrive within {} s",
                READ_TIMEOUT.as_secs()
            ),
        )),
    }
}

/// A body that keeps something until its last byte has gone.
#[derive(Debug)]
pub(super) struct Riding<T> {
    body: Body,
    _rider: T,
}

impl<T> Riding<T> {
    pub(super) fn new(body: Body, rider: T) -> Self {
        Self {
            body,
            _rider: rider,
        }
    }
}

impl<T: Unpin> http_body::Body for Riding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether Content-Type, without its parameters, is one of `kinds`.
fn is_one_of(fields: &HeaderMap, kinds: &[&str]) -> bool {
    let given = fields
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let given = given
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    kinds
        .iter()
        .any(|kind| given.eq_ignore_ascii_case(kind.as_bytes()))
}

pub(super) const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
pub(super) const TEXT: &str = "text/plain";

/// What a body may be that takes no place.
const SMALL: usize = 1 << 20;
/// The largest body of a request: a whole state with its storage fits.
const MAX_BODY: usize = 16 << 20;
/// How long a body may take, and wait for its place.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn the_type_is_compared_without_parameters_and_case() {
        for (given, wanted) in [
            ("application/json", true),
            ("Application/JSON ; charset=utf-8", true),
            ("application/json;", true),
            ("application/jsonp", false),
            ("text/plain", false),
            ("text/plain, application/json", false),
            ("", false),
        ] {
            let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(given))]);
            assert_eq!(is_one_of(&fields, &[JSON]), wanted, "{given}");
        }
        assert!(!is_one_of(&HeaderMap::new(), &[JSON]));
    }

    #[tokio::test]
    async fn a_large_body_takes_a_place_and_gives_it_back() {
        let room = Room::new(1);
        let body = |size| Full::new(Bytes::from(vec![b'x'; size]));
        let small = room.collect(body(SMALL), MAX_BODY).await.unwrap();
        assert!(small.place.is_none());
        let large = room.collect(body(SMALL + 1), MAX_BODY).await.unwrap();
        assert_eq!(
            (large.bytes.len(), room.places.available_permits()),
            (SMALL + 1, 0)
        );
        drop(large);
        assert_eq!(room.places.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_not_read_on() {
        let room = Room::new(1);
        let body = |text: &'static str| Full::new(Bytes::from(text));
        assert!(matches!(
            room.collect(body("abc"), 2).await,
            Err(Unread::TooLarge)
        ));
        assert_eq!(room.collect(body("abc"), 3).await.unwrap().bytes, "abc");
        assert_eq!(room.collect(body(""), 0).await.unwrap().bytes, "");
    }
}
