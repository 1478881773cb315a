//! The browser route: the document is fetched as by http, and what its scripts make of it is the response.
//!
//! ```text
//! browser   reserve a page → navigate as a browser would → fetch → absorb → HTML? render : as it is
//! auto      fetch → absorb → does it need a browser? reserve, render : as it is
//! ```

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    self, CONTENT_DISPOSITION, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION,
    USER_AGENT,
};
use http::response::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::absorb::Absorbed;
use super::body::{Body, Flight};
use super::connection::{Connection, Destination};
use super::decode::decoded;
use super::deliver::{add_fields, response_head};
use super::{Exchange, absorb, deliver, inject, interim};
use crate::browser::{Ask, Document, Shot, Wait, WaitUntil};
use crate::clock;
use crate::config::Via;
use crate::fault::{Fault, Kind};
use crate::message::fields::{X_BURDOCK_PARTIAL, X_BURDOCK_WAIT, value};
use crate::registry::LiveSession;
use crate::routing::{Looks, Plan, Reason, Route};
use crate::upstream::{Answer, BodyError, RequestBody, ResponseBody};

/// A picture that the page's request asks for, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct Picture(pub Shot);

/// What a rendered response has besides what HTTP can say, as an extension of it.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where the page is, with its fragment.
    pub url: Url,
    /// The picture that was asked for.
    pub picture: Option<Bytes>,
}

/// What a page's request asks for besides the document.
struct Wish {
    url: Url,
    wait: Option<Wait>,
    shot: Option<Shot>,
    agent: Option<String>,
    deadline: Instant,
    until: Option<Until>,
}

impl Exchange {
    pub(super) async fn render(
        &self,
        request: Request<RequestBody>,
        destination: &Destination,
        session: Option<&Arc<LiveSession>>,
        from: &Connection,
        plan: Plan,
        flight: &mut Flight,
    ) -> Result<Response<Body>, Fault> {
        let wish = self.wish(&request, destination)?;
        let reserve = || {
            self.browsers
                .reserve(session, wish.agent.as_deref(), wish.deadline)
        };
        let lesson = match plan {
            Plan::Auto => {
                self.router
                    .learned
                    .find(&host_of(destination), destination.path(), clock::now())
            }
            Plan::Http | Plan::Browser(_) => None,
        };
        let route = match (plan, lesson) {
            (Plan::Browser(reason), _) => Some(reason),
            (_, Some(lesson)) if lesson.via == Via::Browser => Some(Reason::Auto),
            _ => None,
        };
        let mut slot = None;
        let mut request = request;
        let fields = std::mem::take(request.headers_mut());
        *request.headers_mut() = match route {
            None => fields,
            Some(_) => {
                let reserved = slot.insert(reserve().await?);
                as_navigation(fields, reserved.navigation_fields(), destination)
            }
        };
        let mut request = inject::inject(
            request,
            destination,
            session.map(|session| &**session),
            false,
        );
        interim::relay(&mut request, from.interim.as_ref());
        let fetching = self.fetch(request, destination, session, from);
        let answer = match &slot {
            // What is to be rendered has that much time for all of it.
            Some(_) => timeout_at(wish.deadline, fetching)
                .await
                .map_err(|_| no_document())??,
            None => fetching.await?,
        };
        let absorbed = absorb::absorb(answer, destination, session).await?;
        let unrendered = match plan {
            Plan::Browser(reason) => Route::Browser(reason),
            Plan::Auto | Plan::Http => Route::Http,
        };
        let skips = lesson.is_some_and(|lesson| lesson.via == Via::Http);
        let (head, body) = match absorbed.into_answer() {
            Answer::Response(response) if !skips && is_page(&response) => response.into_parts(),
            answer => {
                let absorbed = Absorbed::by_browser(answer);
                return deliver::deliver(absorbed, unrendered, None, session, flight, &self.relays);
            }
        };
        let limit = match route {
            Some(_) => MAX_DOCUMENT,
            None => MAX_EVIDENCE,
        };
        let read = Whole::read(body, limit, wish.deadline).await;
        let read = read.map_err(|error| {
            let detail = format!("the document broke off: {error}");
            Fault::new(Kind::UpstreamProtocol, detail)
        })?;
        flight.answered(head.status);
        let document = match read {
            Whole::All(bytes, frames) => (bytes, frames),
            Whole::Larger(frames, rest) | Whole::Late(frames, rest) if plan == Plan::Auto => {
                let body = Body::read(frames, Some(rest), std::mem::take(flight));
                return Ok(as_it_came(head, body, Route::Http, session, None));
            }
            Whole::Late(..) => return Err(no_document()),
            Whole::Larger(..) => {
                let detail = format!(
                    "the document is larger than the {} MiB that are rendered",
                    MAX_DOCUMENT >> 20
                );
                return Err(Fault::new(Kind::UpstreamProtocol, detail));
            }
        };
        let (bytes, frames) = document;
        let looks = match plan {
            Plan::Auto => decoded(&bytes, &head.headers, MAX_EVIDENCE).map(|text| Looks::of(&text)),
            Plan::Http | Plan::Browser(_) => None,
        };
        let evidence = looks.and_then(|looks| looks.needs_browser());
        let reason = match plan {
            Plan::Browser(reason) => reason,
            Plan::Auto if evidence.is_some() => Reason::Auto,
            Plan::Auto | Plan::Http => {
                let body = Body::read(frames, None, std::mem::take(flight));
                return Ok(as_it_came(head, body, Route::Http, session, None));
            }
        };
        let slot = match slot {
            Some(slot) => slot,
            None => reserve().await?,
        };
        flight.received(bytes.len());
        let fields = response_head(head.clone()).headers;
        let ask = Ask {
            url: wish.url.clone(),
            document: Arc::new(Document {
                status: head.status,
                fields,
                body: bytes,
            }),
            wait: wish.wait,
            shot: wish.shot,
            deadline: wish.deadline,
        };
        if let Some(until) = &wish.until {
            until.rendering.store(true, Ordering::Relaxed);
        }
        flight.route("browser");
        let rendered = slot.render(ask).await?;
        if let (Some(looks), Some(evidence)) = (looks, evidence) {
            let gained = looks.gained(&Looks::of(rendered.html.as_bytes()));
            self.router.learned.learn(
                &host_of(destination),
                destination.path(),
                evidence,
                gained,
                clock::now(),
            );
        }
        let (status, fields) = match rendered.later {
            Some((status, fields)) => (status, fields),
            None => (head.status, head.headers),
        };
        flight.answered(status);
        let mut parts = head_of(status, undescribed(&fields));
        let place = |url: &Url| {
            let mut url = url.clone();
            url.set_fragment(None);
            url
        };
        if place(&rendered.url) != place(&wish.url) {
            // What the URL standard serializes is a field value.
            if let Ok(location) = HeaderValue::try_from(place(&rendered.url).as_str()) {
                parts.headers.insert(CONTENT_LOCATION, location);
            }
        }
        if rendered.partial {
            parts
                .headers
                .insert(X_BURDOCK_PARTIAL, HeaderValue::from_static("timeout"));
        }
        let body = Body::full(Bytes::from(rendered.html)).riding(std::mem::take(flight));
        let page = Page {
            url: rendered.url,
            picture: rendered.shot,
        };
        Ok(as_it_came(
            parts,
            body,
            Route::Browser(reason),
            session,
            Some(page),
        ))
    }

    fn wish(
        &self,
        request: &Request<RequestBody>,
        destination: &Destination,
    ) -> Result<Wish, Fault> {
        let url = match request.extensions().get::<Address>() {
            Some(Address(url)) => Some(url.clone()),
            None => destination.url(),
        };
        let wait = match value(request.headers(), &X_BURDOCK_WAIT) {
            Some(wait) => Some(parse_wait(wait.as_bytes()).ok_or_else(|| {
                Fault::new(
                    Kind::BadRequest,
                    "X-Burdock-Wait must be `domcontentloaded`, `load`, `networkidle`, `selector:CSS` or `ms:N`",
                )
            })?),
            None => None,
        };
        Ok(Wish {
            url: url.ok_or_else(|| {
                Fault::new(
                    Kind::BadRequest,
                    "the target is no URL that a browser could open",
                )
            })?,
            wait,
            shot: request
                .extensions()
                .get::<Picture>()
                .map(|picture| picture.0),
            agent: value(request.headers(), &USER_AGENT)
                .and_then(|agent| agent.to_str().ok())
                .map(str::to_owned),
            deadline: match request.extensions().get::<Until>() {
                Some(until) => until.deadline,
                None => Instant::now() + self.page_timeout,
            },
            until: request.extensions().get::<Until>().cloned(),
        })
    }
}

/// When the page is taken as it is, as an extension of its request; without it, after `browser.navigation_timeout`.
#[derive(Clone, Debug)]
pub struct Until {
    deadline: Instant,
    rendering: Arc<AtomicBool>,
}

impl Until {
    /// For a page that is taken as it is at `deadline`.
    #[must_use]
    pub fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            rendering: Arc::default(),
        }
    }

    /// Whether the page is being rendered, so that something comes of it at the deadline.
    #[must_use]
    pub fn is_rendering(&self) -> bool {
        self.rendering.load(Ordering::Relaxed)
    }
}

/// The URL of a page's request with its fragment, which a request target has not, as an extension of it.
#[derive(Clone, Debug)]
pub struct Address(pub Url);

/// A wait as `X-Burdock-Wait` and `/api/scrape` write it.
pub fn parse_wait(text: &[u8]) -> Option<Wait> {
    let text = std::str::from_utf8(text).ok()?.trim();
    Some(match text.split_once(':') {
        None => Wait::Until(match text {
            "domcontentloaded" => WaitUntil::DomContentLoaded,
            "load" => WaitUntil::Load,
            "networkidle" => WaitUntil::NetworkIdle,
            _ => return None,
        }),
        Some(("selector", selector)) if !selector.trim().is_empty() => {
            Wait::Selector(selector.trim().to_owned())
        }
        Some(("ms", number)) => Wait::For(Duration::from_millis(
            number
                .parse()
                .ok()
                .filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?,
        )),
        Some(_) => return None,
    })
}

/// Whether the response is a document that a browser would show as a page of its own.
fn is_page(response: &Response<ResponseBody>) -> bool {
    let status = response.status();
    let fields = response.headers();
    let redirects =
        matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) && fields.contains_key(LOCATION);
    let is_html = value(fields, &CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/html")
                || essence.eq_ignore_ascii_case("application/xhtml+xml")
        });
    let downloads = value(fields, &CONTENT_DISPOSITION).is_some_and(|disposition| {
        disposition
            .as_bytes()
            .trim_ascii_start()
            .to_ascii_lowercase()
            .starts_with(b"attachment")
    });
    is_html
        && !redirects
        && !downloads
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::PARTIAL_CONTENT
        )
}

/// The client's fields as a browser's navigation would have them. What would have the origin answer with less than the document goes.
fn as_navigation(
    client: HeaderMap,
    navigation: &[(HeaderName, HeaderValue)],
    destination: &Destination,
) -> HeaderMap {
    const CONDITIONS: [HeaderName; 6] = [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ];
    let trusted =
        destination.origin.scheme.is_secure() || destination.origin.authority.host.is_localhost();
    // Fetch Metadata and client hints are for trustworthy origins alone.
    let sent = |name: &HeaderName| trusted || !name.as_str().starts_with("sec-");
    let replaced = |name: &HeaderName| {
        navigation.iter().any(|(known, _)| known == name) || name.as_str().starts_with("sec-ch-ua")
    };
    let mut fields = HeaderMap::with_capacity(client.len() + navigation.len());
    for (name, value) in &client {
        if !CONDITIONS.contains(name) && !replaced(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    for (name, value) in navigation.iter().filter(|(name, _)| sent(name)) {
        fields.append(name.clone(), value.clone());
    }
    fields
}

/// The host as lessons know it, with the port where it is not the scheme's.
fn host_of(destination: &Destination) -> String {
    let origin = &destination.origin;
    origin.authority.for_scheme(origin.scheme).to_string()
}

/// The fields of a document but those that describe its original bytes.
fn undescribed(fields: &HeaderMap) -> HeaderMap {
    let describes = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "content-encoding"
                | "content-length"
                | "content-type"
                | "content-range"
                | "content-md5"
                | "content-digest"
                | "repr-digest"
                | "digest"
                | "etag"
                | "last-modified"
                | "accept-ranges"
                | "transfer-encoding"
                | "trailer"
        )
    };
    let mut out = HeaderMap::with_capacity(fields.len());
    out.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    for (name, value) in fields.iter().filter(|(name, _)| !describes(name)) {
        out.append(name.clone(), value.clone());
    }
    out
}

fn head_of(status: StatusCode, fields: HeaderMap) -> Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.headers = fields;
    parts
}

fn as_it_came(
    head: Parts,
    body: Body,
    route: Route,
    session: Option<&Arc<LiveSession>>,
    page: Option<Page>,
) -> Response<Body> {
    let mut response = Response::from_parts(response_head(head), body);
    if let Some(page) = page {
        response.extensions_mut().insert(page);
    }
    add_fields(response.headers_mut(), route, session);
    response
}

fn no_document() -> Fault {
    let detail = "the document did not come within `browser.navigation_timeout`";
    Fault::new(Kind::BrowserTimeout, detail)
}

/// A body read up to a limit.
enum Whole {
    /// All of it: its bytes together, and the frames as they came.
    All(Bytes, VecDeque<Frame<Bytes>>),
    /// More than that: what was read, and the rest.
    Larger(VecDeque<Frame<Bytes>>, ResponseBody),
    /// The deadline came: what was read until then, and the rest.
    Late(VecDeque<Frame<Bytes>>, ResponseBody),
}

impl Whole {
    async fn read(
        mut body: ResponseBody,
        limit: usize,
        deadline: Instant,
    ) -> Result<Self, BodyError> {
        let mut frames = VecDeque::new();
        let mut size = 0;
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let frame = match timeout_at(deadline, frame).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => break,
                Err(_) => return Ok(Self::Late(frames, body)),
            };
            size += frame.data_ref().map_or(0, Bytes::len);
            frames.push_back(frame);
            if size > limit {
                return Ok(Self::Larger(frames, body));
            }
        }
        let data = || frames.iter().filter_map(Frame::data_ref);
        let bytes = match data().count() {
            1 => data().next().cloned().unwrap_or_default(),
            _ => {
                let mut whole = BytesMut::with_capacity(size);
                data().for_each(|data| whole.extend_from_slice(data));
                whole.freeze()
            }
        };
        Ok(Self::All(bytes, frames))
    }
}

/// The largest document that is rendered, as the origin coded it. It is held in memory while it is, for a second try after a crash.
const MAX_DOCUMENT: usize = 32 << 20;
/// What is looked at to decide about `auto`; a larger document is a page by itself.
const MAX_EVIDENCE: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read() {
        for (text, wanted) in [
            ("load", Some(Wait::Until(WaitUntil::Load))),
            (" networkidle ", Some(Wait::Until(WaitUntil::NetworkIdle))),
            (
                "selector:#a:hover > b",
                Some(Wait::Selector("#a:hover > b".into())),
            ),
            ("ms:250", Some(Wait::For(Duration::from_millis(250)))),
            ("ms:-1", None),
            ("ms:", None),
            ("ms:+1", None),
            ("selector: ", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_wait(text.as_bytes()), wanted, "{text}");
        }
        assert_eq!(parse_wait(b"\xff"), None);
    }

    #[test]
    fn what_described_the_original_bytes_is_dropped() {
        let fields: HeaderMap = [
            ("etag", "x"),
            ("content-encoding", "br"),
            ("x-a", "1"),
            ("set-cookie", "a=1"),
            ("content-type", "text/html"),
        ]
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .into_iter()
        .collect();
        let out = undescribed(&fields);
        let names: Vec<_> = out.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "x-a", "set-cookie"]);
        assert_eq!(out[CONTENT_TYPE], "text/html; charset=utf-8");
    }
}
