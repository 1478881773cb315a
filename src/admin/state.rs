//! The whole state of a session: Playwright's `storageState`, or `cookies.txt`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, ETAG};

use super::Admin;
use super::body::{self, Riding};
use super::etag::{self, IfMatch};
use super::json;
use super::problem::{Name, Problem};
use super::query::Parameters;
use super::sessions::{Id, find, still_there};
use crate::clock;
use crate::registry::{Visit, commit};
use crate::session::delta::CookieDelta;
use crate::session::formats::{netscape, playwright};
use crate::session::jar::{Cookie, Jar};
use crate::session::storage::{Storage, StorageDelta};
use crate::session::time::Timestamp;

/// `GET /api/v1/sessions/{id}/state`.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Id(id): Id,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let shape = Shape::read(query.as_deref())?;
    let visit = find(&admin, &id).await?;
    Ok(shown(&admin, &visit, shape).await)
}

/// `PUT /api/v1/sessions/{id}/state`: the whole state; of `cookies.txt`, which knows no storage, all cookies.
pub(super) async fn replace(
    State(admin): State<Arc<Admin>>,
    Id(id): Id,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let shape = Shape::read(query.as_deref())?;
    let visit = find(&admin, &id).await?;
    let condition = IfMatch::of(request.headers());
    let whole = body::read(request, &admin, &[shape.media_type()]).await?;
    let whole =
        whole.ok_or_else(|| Problem::new(Name::Invalid, "a body with the state is needed"))?;
    let now = clock::now();
    let (cookies, storage) = shape.parse(&whole.bytes, now)?;
    change(&visit, shape, &condition, now, |jar, present| {
        let cookies = jar.clear(now).then(jar.put(cookies, now));
        let storage =
            storage.map_or_else(StorageDelta::default, |wanted| present.difference(&wanted));
        (cookies, storage)
    })
    .await?;
    Ok(shown(&admin, &visit, shape).await)
}

/// How a state, or a part of it, is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Playwright's array of cookies.
    Cookies,
    /// Playwright's `storageState`.
    Playwright,
    /// `cookies.txt`.
    Netscape,
}

impl Shape {
    /// # Errors
    /// `invalid`, naming the parameter.
    fn read(query: Option<&str>) -> Result<Self, Problem> {
        match Parameters::read(query, &["format"])?.one("format")? {
            None | Some("playwright") => Ok(Self::Playwright),
            Some("netscape") => Ok(Self::Netscape),
            Some(_) => Err(Problem::invalid(
                "format",
                "must be `playwright` or `netscape`",
            )),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Cookies | Self::Playwright => body::JSON,
            Self::Netscape => body::TEXT,
        }
    }

    /// About how many bytes [`Self::print`] makes.
    fn weigh(self, jar: &Jar, storage: &Storage) -> usize {
        let octets = |cookie: &Cookie| {
            cookie.name().as_bytes().len() + cookie.value().as_bytes().len() + cookie.path().len()
        };
        let cookies: usize = jar
            .iter()
            .map(|cookie| octets(cookie) + cookie.domain().len())
            .sum();
        match self {
            Self::Cookies | Self::Netscape => cookies,
            Self::Playwright => cookies + storage.bytes(),
        }
    }

    fn print(self, jar: &Jar, storage: &Storage, now: Timestamp) -> Vec<u8> {
        match self {
            Self::Cookies => playwright::cookies_to_json(jar, now)
                .to_string()
                .into_bytes(),
            Self::Playwright => playwright::state_to_json(jar, storage, now)
                .to_string()
                .into_bytes(),
            Self::Netscape => netscape::print(jar, now),
        }
    }

    /// The cookies, and the storage where the format has any.
    fn parse(self, text: &[u8], now: Timestamp) -> Result<(Vec<Cookie>, Option<Storage>), Problem> {
        match self {
            Self::Cookies => Ok((
                playwright::cookies_from_json(&json::parse(text)?, now)?,
                None,
            )),
            Self::Playwright => {
                let state = playwright::state_from_json(&json::parse(text)?, now)?;
                Ok((state.cookies, Some(state.storage)))
            }
            Self::Netscape => match netscape::parse(text, now) {
                Ok(cookies) => Ok((cookies, None)),
                Err(error) => Err(Problem::invalid(
                    format!("line {}", error.line),
                    error.reason,
                )),
            },
        }
    }
}

/// The answer that shows a session's state. A large one waits for a place among those under way.
pub(super) async fn shown(admin: &Admin, visit: &Visit, shape: Shape) -> Response {
    // Copies share cookies and items, so the lock is held for no longer than it takes to count them.
    let (jar, storage) = {
        let state = visit.state();
        (state.jar.clone(), state.storage.clone())
    };
    let place = admin.pages.place_for(shape.weigh(&jar, &storage)).await;
    let text = shape.print(&jar, &storage, clock::now());
    let tag = etag::of(visit, &text);
    let mut response = Response::new(Body::new(Riding::new(Body::from(text), place)));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(shape.media_type()));
    fields.insert(ETAG, tag);
    response
}

/// Changes cookies and storage where the condition holds, and waits for the store to have taken the change.
///
/// # Errors
/// `precondition-failed`, `store-unavailable`; `not-found` where the session was deleted meanwhile.
pub(super) async fn change(
    visit: &Visit,
    shape: Shape,
    condition: &IfMatch,
    now: Timestamp,
    change: impl FnOnce(&mut Jar, &Storage) -> (CookieDelta, StorageDelta),
) -> Result<(), Problem> {
    let mut checked = Ok(());
    // The condition is looked at under the same lock that the change is made under, or another could come between. That
    // prints the state while requests of this one session wait, and only where a client asks for it.
    let number = visit.change_state(|jar, storage| {
        checked = condition.check(|| etag::of(visit, &shape.print(jar, storage, now)));
        match checked {
            Ok(()) => change(jar, storage),
            Err(_) => Default::default(),
        }
    });
    checked?;
    commit(visit, number).await?;
    still_there(visit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

    #[test]
    fn the_format_is_playwrights_unless_another_is_asked_for() {
        for (query, wanted) in [
            (None, Some(Shape::Playwright)),
            (Some("format=playwright"), Some(Shape::Playwright)),
            (Some("format=netscape"), Some(Shape::Netscape)),
            (Some("format=har"), None),
            (Some("format=netscape&format=netscape"), None),
            (Some("shape=netscape"), None),
        ] {
            assert_eq!(Shape::read(query).ok(), wanted, "{query:?}");
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let text = br#"{"cookies":[{"name":"a","value":"1","domain":"shop.example","path":"/","sameSite":"Lax"}],
            "origins":[{"origin":"https://shop.example","localStorage":[{"name":"k","value":"v"}]}]}"#;
        let (cookies, storage) = Shape::Playwright.parse(text, NOW).unwrap();
        let mut jar = Jar::default();
        jar.put(cookies, NOW);
        let storage = storage.unwrap();
        for shape in [Shape::Cookies, Shape::Playwright, Shape::Netscape] {
            let printed = shape.print(&jar, &storage, NOW);
            let (cookies, found) = shape.parse(&printed, NOW).unwrap();
            let mut again = Jar::default();
            again.put(cookies, NOW);
            assert_eq!(again.len(), 1, "{shape:?}");
            assert_eq!(found.is_some(), shape == Shape::Playwright);
            assert_eq!(found.unwrap_or_else(|| storage.clone()), storage);
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (shape, text, field) in [
            (Shape::Cookies, r#"[{"name":"a"}]"#, "[0].value"),
            (
                Shape::Playwright,
                r#"{"origins":[{"origin":"x"}]}"#,
                "origins[0].origin",
            ),
            (Shape::Netscape, "# comment\nnonsense", "line 2"),
        ] {
            let problem = shape.parse(text.as_bytes(), NOW).expect_err(text);
            assert_eq!(problem.field(), Some(field), "{text}");
        }
    }
}
