//! `POST /api/scrape`: one call, the page as the session's visitor sees it. Each request of it walks the same exchange as
//! any other.
//!
//! Nothing is added to what the caller and the session say: no Accept, no User-Agent, no Accept-Encoding. Who asks for a
//! coding gets the coded bytes.

mod call;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod page;
mod redirect;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Request};
use tokio::time::timeout;

use self::call::Call;
use self::page::{Followed, Page, Timings, encode, field_text, fields_object};
use self::redirect::Hop;
use super::Admin;
use super::body::{JSON, Json, Riding, Room, Unread, Whole};
use super::problem::Problem;
use crate::browser::Shot;
use crate::exchange::{self, Address, Connection, Door, Named, Picture, Until};
use crate::fault::{Fault, Kind};
use crate::message::fields::{X_BURDOCK_ROUTE, X_SESSION_ID};
use crate::session::id::SessionId;
use crate::upstream::RequestBody;

/// The handler of both paths.
pub(super) async fn scrape(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    fields: HeaderMap,
    body: Json,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let session = named(&fields)?;
    let Call {
        url,
        hop,
        shot,
        timeout: limit,
    } = Call::read(body.object()?)?;
    // Its own, so that what has no session shares no connection with any other call.
    let connection = Connection::new(client, Door::Scrape(session.clone().map(Named::by_id)));
    let rendered = Wanted {
        shot,
        until: Until::new(tokio::time::Instant::now() + limit),
    };
    let mut fetched = pin!(fetch(&admin, hop, &rendered, &connection));
    let fetched = match timeout(limit, &mut fetched).await {
        // A page is taken as it is at its deadline, which takes a moment.
        Err(_) if rendered.until.is_rendering() => timeout(TAKING_A_PAGE, fetched).await,
        fetched => fetched,
    };
    let Ok(fetched) = fetched else {
        let detail = format!(
            "the page was not there after {} ms (`timeoutMs`)",
            limit.as_millis()
        );
        let fault = Fault::new(Kind::UpstreamTimeout, detail);
        return Err(Problem::Fault { fault, session });
    };
    let Fetched {
        hop,
        head,
        whole,
        redirects,
        page,
    } = fetched.map_err(|problem| problem.of(session))?;
    let (body, body_encoding) = encode(&whole.bytes, &head.headers);
    let page = Page {
        url: &url,
        final_url: page
            .as_ref()
            .map_or(hop.url.as_str(), |page| page.url.as_str()),
        status: head.status.as_u16(),
        headers: fields_object(&head.headers),
        route: route(&head.headers),
        content_type: head.headers.get(CONTENT_TYPE).map(field_text),
        body,
        body_encoding,
        session_id: head.headers.get(X_SESSION_ID).map(field_text),
        timings: Timings {
            total_ms: millis_since(began),
            redirects,
        },
        screenshot: page
            .as_ref()
            .and_then(|page| page.picture.as_ref())
            .map(|picture| BASE64_STANDARD.encode(picture)),
    };
    let text = serde_json::to_vec(&page).expect("a page is a tree of strings and numbers");
    let mut response = Response::new(Body::new(Riding::new(Body::from(text), whole.place)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    Ok(response)
}

/// A page that has come whole.
struct Fetched {
    /// The last request.
    hop: Hop,
    head: http::response::Parts,
    whole: Whole,
    redirects: Vec<Followed>,
    /// Where it was rendered.
    page: Option<exchange::Page>,
}

/// What is wanted where the page is rendered.
struct Wanted {
    shot: Option<Shot>,
    until: Until,
}

/// Follows redirects until there is a page.
async fn fetch(
    admin: &Admin,
    mut hop: Hop,
    wanted: &Wanted,
    connection: &Connection,
) -> Result<Fetched, Problem> {
    let _turn = admin.scrapes.acquire().await;
    let mut redirects = Vec::new();
    loop {
        let began = Instant::now();
        let (head, body) = send(admin, &hop, wanted, connection).await?.into_parts();
        let Some(next) = hop.after(head.status, &head.headers) else {
            let whole = admin
                .pages
                .collect(body, MAX_PAGE)
                .await
                .map_err(|unread| cut_off(&unread))?;
            let page = head.extensions.get::<exchange::Page>().cloned();
            return Ok(Fetched {
                hop,
                head,
                whole,
                redirects,
                page,
            });
        };
        if redirects.len() == MAX_REDIRECTS {
            let detail = format!("the page is behind more than {MAX_REDIRECTS} redirects");
            return Err(Fault::new(Kind::UpstreamProtocol, detail).into());
        }
        redirects.push(Followed {
            url: hop.url.into(),
            status: head.status.as_u16(),
            ms: millis_since(began),
        });
        drain(&admin.pages, body).await;
        hop = next;
    }
}

async fn send(
    admin: &Admin,
    hop: &Hop,
    wanted: &Wanted,
    connection: &Connection,
) -> Result<http::Response<exchange::Body>, Problem> {
    let mut request = Request::new(RequestBody::full(hop.body.clone()));
    *request.method_mut() = hop.method.clone();
    *request.uri_mut() = hop.uri.clone();
    *request.headers_mut() = hop.headers.clone();
    let extensions = request.extensions_mut();
    extensions.insert(Address(hop.url.clone()));
    extensions.insert(wanted.until.clone());
    if let Some(shot) = wanted.shot {
        extensions.insert(Picture(shot));
    }
    let response = admin.exchange.exchange(request, connection).await;
    // Told by this mark and not by its fields: an origin may be a burdock too.
    match response.extensions().get::<Kind>() {
        Some(_) => Err(Problem::Answered(Box::new(response.map(Body::new)))),
        None => Ok(response),
    }
}

/// Reads a redirect's own body, so that its connection serves the next request as well; and ends it, so that the session's
/// slot is free for that.
async fn drain(room: &Room, body: exchange::Body) {
    // What is longer, slower, or breaks off, costs the connection and nothing else.
    let _ = timeout(DRAIN_TIMEOUT, room.collect(body, MAX_DRAINED)).await;
}

fn cut_off<E: std::fmt::Display>(unread: &Unread<E>) -> Problem {
    let detail = match unread {
        Unread::TooLarge => format!(
            "the page is larger than the {} MiB that a scrape takes: use the proxy",
            MAX_PAGE >> 20
        ),
        Unread::Broken(error) => format!("the page broke off: {error}"),
    };
    Fault::new(Kind::UpstreamProtocol, detail).into()
}

/// The session that the call names; the admin port needs no trust in its clients for that.
fn named(fields: &HeaderMap) -> Result<Option<SessionId>, Problem> {
    let invalid = |reason: &str| Problem::invalid("X-Session-ID", reason);
    let mut values = fields.get_all(X_SESSION_ID).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != first) {
        return Err(invalid("is there twice, with different values"));
    }
    SessionId::try_from(first.as_bytes())
        .map(Some)
        .map_err(|error| invalid(&error.to_string()))
}

/// `http` or `browser`, without the reason.
fn route(fields: &HeaderMap) -> String {
    let route = fields
        .get(X_BURDOCK_ROUTE)
        .map(field_text)
        .unwrap_or_default();
    route.split(';').next().unwrap_or_default().to_owned()
}

fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// How long it takes at most to take a page as it is.
const TAKING_A_PAGE: Duration = Duration::from_secs(5);
/// As many as the Fetch standard allows.
const MAX_REDIRECTS: usize = 20;
/// The largest page.
const MAX_PAGE: usize = 64 << 20;
/// What is read of a redirect's own body.
const MAX_DRAINED: usize = 64 << 10;
/// Far longer than a body takes that came with its head.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_named_once_and_by_a_valid_id() {
        let fields = |values: &[&'static str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(X_SESSION_ID, HeaderValue::from_static(value));
            }
            fields
        };
        assert_eq!(named(&fields(&[])).unwrap(), None);
        assert_eq!(
            named(&fields(&["a", "a"])).unwrap(),
            Some("a".parse().unwrap())
        );
        for wrong in [&["a", "b"][..], &["a b"], &[""]] {
            let problem = named(&fields(wrong)).expect_err("invalid");
            assert_eq!(problem.field(), Some("X-Session-ID"), "{wrong:?}");
        }
    }

    #[test]
    fn the_route_is_named_without_its_reason() {
        for (value, wanted) in [("http", "http"), ("browser; reason=header", "browser")] {
            let fields = HeaderMap::from_iter([(X_BURDOCK_ROUTE, HeaderValue::from_static(value))]);
            assert_eq!(route(&fields), wanted);
        }
    }
}
