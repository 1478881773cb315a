//! Which route a request takes: decided from what it asks for, its session, the rules, and what documents looked like before.
//! Nothing here waits or does I/O.

mod evidence;
mod learned;

use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderName, RANGE, UPGRADE};

pub use self::evidence::{Evidence, Looks};
pub use self::learned::{Learned, Lesson};
use crate::config::{RouteRule, Routes, Via};
use crate::message::{Authority, Scheme};
use crate::session::settings::Render;

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is fetched as it is.
    Http,
    /// Its document is rendered, and why.
    Browser(Reason),
    /// Its document is fetched, and rendered where it needs that.
    Auto,
}

/// The route that a response came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Fetched as it is.
    Http,
    /// Rendered, and why.
    Browser(Reason),
}

/// Why the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `X-Burdock-Render` on the request.
    Header,
    /// The session's `render`.
    Session,
    /// A rule of `[[routes]]`.
    Rule,
    /// The document needed it.
    Auto,
}

impl Reason {
    /// As `X-Burdock-Route` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Session => "session",
            Self::Rule => "rule",
            Self::Auto => "auto",
        }
    }
}

/// The rules of `[[routes]]` and what was learnt.
#[derive(Debug, Default)]
pub struct Router {
    rules: Routes,
    /// What documents of `auto` looked like.
    pub learned: Learned,
}

impl Router {
    /// A router that has learnt nothing yet.
    #[must_use]
    pub fn new(rules: Routes) -> Self {
        Self {
            rules,
            learned: Learned::default(),
        }
    }

    /// The rules in their order.
    #[must_use]
    pub fn rules(&self) -> &[RouteRule] {
        &self.rules.0
    }

    /// What the first rule that is for this URL says; `path` with its query.
    #[must_use]
    pub fn rule(&self, scheme: Scheme, authority: &Authority, path: &str) -> Option<Via> {
        let mut rules = self.rules.0.iter();
        rules
            .find(|rule| rule.pattern.matches(scheme, authority, path))
            .map(|rule| rule.via)
    }
}

/// Chooses: the request's header, else the session's setting, else the rule, else http.
///
/// Only a GET is ever rendered. A request that looks like a page's part goes by http unless the header asks for the browser.
pub fn choose(
    asked: Option<Render>,
    session: Option<Render>,
    rule: impl FnOnce() -> Option<Via>,
    method: &Method,
    fields: &HeaderMap,
) -> Plan {
    if *method != Method::GET {
        return Plan::Http;
    }
    let (wanted, reason) = match (asked, session) {
        (Some(asked), _) => (asked, Reason::Header),
        (None, Some(session)) => (session, Reason::Session),
        (None, None) => match rule() {
            Some(Via::Browser) => (Render::Browser, Reason::Rule),
            Some(Via::Auto) => (Render::Auto, Reason::Rule),
            Some(Via::Http) | None => return Plan::Http,
        },
    };
    match wanted {
        Render::Http => Plan::Http,
        Render::Browser if reason == Reason::Header || is_navigation(fields) => {
            Plan::Browser(reason)
        }
        Render::Auto if is_navigation(fields) => Plan::Auto,
        Render::Browser | Render::Auto => Plan::Http,
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

    fn none() -> Option<Via> {
        None
    }

    fn rule() -> Option<Via> {
        Some(Via::Browser)
    }

    #[test]
    fn the_header_goes_before_the_session_and_that_before_the_rule() {
        let any = HeaderMap::new();
        let get = Method::GET;
        assert_eq!(choose(None, None, none, &get, &any), Plan::Http);
        assert_eq!(
            choose(Some(Render::Http), Some(Render::Browser), rule, &get, &any),
            Plan::Http
        );
        assert_eq!(
            choose(Some(Render::Browser), Some(Render::Http), none, &get, &any),
            Plan::Browser(Reason::Header)
        );
        assert_eq!(
            choose(None, Some(Render::Browser), none, &get, &any),
            Plan::Browser(Reason::Session)
        );
        assert_eq!(
            choose(None, Some(Render::Http), rule, &get, &any),
            Plan::Http
        );
        assert_eq!(
            choose(None, None, rule, &get, &any),
            Plan::Browser(Reason::Rule)
        );
        assert_eq!(
            choose(Some(Render::Auto), None, rule, &get, &any),
            Plan::Auto
        );
    }

    #[test]
    fn only_a_get_is_rendered() {
        assert_eq!(
            choose(
                Some(Render::Browser),
                None,
                rule,
                &Method::POST,
                &HeaderMap::new()
            ),
            Plan::Http
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
            let choose =
                |asked, session| choose(asked, session, none, &Method::GET, &fields(&[line]));
            let route = choose(None, Some(Render::Browser));
            assert_eq!(
                choose(None, Some(Render::Auto)) != Plan::Http,
                page,
                "{line:?}"
            );
            assert_eq!(route != Plan::Http, page, "{line:?}");
            let asked = choose(Some(Render::Browser), None);
            assert_eq!(asked, Plan::Browser(Reason::Header), "{line:?}");
        }
    }
}
