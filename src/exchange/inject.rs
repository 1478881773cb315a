//! Step three: the request as the origin shall see it, with the session's cookies, user agent and fields.

use http::header::COOKIE;
use http::{HeaderValue, Request};

use super::connection::Destination;
use crate::clock;
use crate::message::fields::{Rewrite, joined_cookie, request_fields, values};
use crate::registry::LiveSession;
use crate::session::jar::CookieUrl;
use crate::upstream::RequestBody;

/// Rewrites the fields; `upgrade` where the origin shall decide on one.
pub(super) fn inject(
    mut request: Request<RequestBody>,
    destination: &Destination,
    session: Option<&LiveSession>,
    upgrade: bool,
) -> Request<RequestBody> {
    let fields = std::mem::take(request.headers_mut());
    let host = Some(destination.host.clone());
    let Some(session) = session else {
        let rewrite = Rewrite {
            host,
            cookie: joined_cookie(&fields),
            upgrade,
            ..Rewrite::default()
        };
        *request.headers_mut() = request_fields(fields, rewrite);
        return request;
    };
    let host_text = destination.origin.authority.host.text();
    let url = CookieUrl {
        secure: destination.origin.scheme.is_secure(),
        host: &host_text,
        path: destination.path(),
    };
    let now = clock::now();
    let (cookie, profile) = {
        let mut state = session.state();
        let own = values(&fields, &COOKIE).map(HeaderValue::as_bytes);
        let cookie = state.jar.header_for(&url, own, now);
        (cookie, state.profile().clone())
    };
    let rewrite = Rewrite {
        host,
        cookie,
        user_agent: profile.user_agent.clone(),
        defaults: &profile.defaults,
        upgrade,
    };
    *request.headers_mut() = request_fields(fields, rewrite);
    request
}
