//! Which route a request takes, decided from what it asks for; nothing here waits or looks anything up.

use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderName, RANGE, UPGRADE};

use crate::session::settings::Render;

/// The route of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Fetched as it is.
    Http,
    /// Rendered, and why.
    Browser(Reason),
}

/// Who asked for the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `X-Burdock-Render` on the request.
    Header,
    /// The session's `render`.
    Session,
}

impl Reason {
    /// As `X-Burdock-Route` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Session => "session",
        }
    }
}

/// Chooses: the request's header, else the session's setting, else http.
///
/// Only a GET is ever rendered. A request that looks like a page's part goes by http unless the header says otherwise.
pub fn choose(
    asked: Option<Render>,
    session: Option<Render>,
    method: &Method,
    fields: &HeaderMap,
) -> Route {
    if *method != Method::GET {
        return Route::Http;
    }
    match (asked, session) {
        (Some(Render::Browser), _) => Route::Browser(Reason::Header),
        (Some(Render::Http | Render::Auto), _) => Route::Http,
        (None, Some(Render::Browser)) if is_navigation(fields) => Route::Browser(Reason::Session),
        (None, _) => Route::Http,
    }
}

/// Whether a GET asks for a page rather than for a part of one.
fn is_navigation(fields: &HeaderMap) -> bool {
    const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
    const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
    let for_document = fields
        .get(SEC_FETCH_DEST)
        .is_none_or(|dest| dest.as_bytes() == b"document");
    let takes_html = !fields.contains_key(ACCEPT)
        || fields.get_all(ACCEPT).iter().any(|accept| {
            let accept = accept.as_bytes().to_ascii_lowercase();
            accept.split(|byte| *byte == b',').any(|range| {
                let kind = range.split(|byte| *byte == b';').next().unwrap_or_default();
                matches!(
                    kind.trim_ascii(),
                    b"text/html" | b"application/xhtml+xml" | b"text/*" | b"*/*"
                )
            })
        });
    for_document
        && takes_html
        && !fields.contains_key(RANGE)
        && !fields.contains_key(UPGRADE)
        && !fields.contains_key(X_REQUESTED_WITH)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn the_header_goes_before_the_session() {
        let any = HeaderMap::new();
        let get = Method::GET;
        assert_eq!(choose(None, None, &get, &any), Route::Http);
        assert_eq!(
            choose(Some(Render::Http), Some(Render::Browser), &get, &any),
            Route::Http
        );
        assert_eq!(
            choose(Some(Render::Browser), Some(Render::Http), &get, &any),
            Route::Browser(Reason::Header)
        );
        assert_eq!(
            choose(None, Some(Render::Browser), &get, &any),
            Route::Browser(Reason::Session)
        );
    }

    #[test]
    fn only_a_get_is_rendered() {
        assert_eq!(
            choose(
                Some(Render::Browser),
                None,
                &Method::POST,
                &HeaderMap::new()
            ),
            Route::Http
        );
    }

    #[test]
    fn parts_of_a_page_are_not_rendered_for_the_session() {
        for (line, page) in [
            (("sec-fetch-dest", "image"), false),
            (("sec-fetch-dest", "document"), true),
            (("accept", "application/json"), false),
            (("accept", "image/png,*/*;q=0.8"), true),
            (("accept", "text/html"), true),
            (("range", "bytes=0-1"), false),
            (("upgrade", "websocket"), false),
            (("x-requested-with", "XMLHttpRequest"), false),
        ] {
            let route = choose(None, Some(Render::Browser), &Method::GET, &fields(&[line]));
            assert_eq!(route != Route::Http, page, "{line:?}");
            let asked = choose(Some(Render::Browser), None, &Method::GET, &fields(&[line]));
            assert_eq!(asked, Route::Browser(Reason::Header), "{line:?}");
        }
    }
}
