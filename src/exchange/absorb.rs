//! Step six: what the response changes of the session, acknowledged by its store before anything is released.

use std::sync::Arc;

use http::header::{HeaderMap, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};

use super::connection::Destination;
use crate::clock;
use crate::fault::Fault;
use crate::message::fields::has;
use crate::registry::{LiveSession, commit};
use crate::session::jar::CookieUrl;
use crate::session::limiter::retry_after;
use crate::upstream::Answer;

/// An answer whose changes are safe. Only [`absorb`] makes one for a client, and only one of these can be delivered.
#[derive(Debug)]
pub(super) struct Absorbed(Answer);

impl Absorbed {
    /// An answer to a page: its browser keeps the cookies, and tells them when the page is done.
    pub(super) fn by_browser(answer: Answer) -> Self {
        Self(answer)
    }

    pub(super) fn into_answer(self) -> Answer {
        self.0
    }
}

/// Stores the cookies that the response sets, and heeds its Retry-After.
///
/// # Cancellation
/// Once the head has been read the change is made, and its writing completes whoever goes away.
pub(super) async fn absorb(
    answer: Answer,
    destination: &Destination,
    session: Option<&Arc<LiveSession>>,
) -> Result<Absorbed, Fault> {
    let Some(session) = session else {
        return Ok(Absorbed(answer));
    };
    let (status, fields) = match &answer {
        Answer::Response(response) => (response.status(), response.headers()),
        Answer::Switched(response, _) => (response.status(), response.headers()),
    };
    heed_retry_after(status, fields, destination, session);
    if has(fields, &SET_COOKIE) && !session.is_gone() {
        let host = destination.origin.authority.host.text();
        let url = CookieUrl {
            secure: destination.origin.scheme.is_secure(),
            host: &host,
            path: destination.path(),
        };
        let now = clock::now();
        let lines = fields.get_all(SET_COOKIE).iter().map(HeaderValue::as_bytes);
        let number = session.change(|jar, _| jar.receive(&url, lines, now));
        commit(session, number).await?;
    }
    Ok(Absorbed(answer))
}

/// A 429 or 503 with Retry-After (RFC 9110, section 10.2.3) pauses the session for that host.
pub(super) fn heed_retry_after(
    status: StatusCode,
    fields: &HeaderMap,
    destination: &Destination,
    session: &LiveSession,
) {
    if !matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        return;
    }
    let now = clock::now();
    if let Some(until) = fields
        .get(RETRY_AFTER)
        .and_then(|value| retry_after(value.as_bytes(), now))
    {
        session
            .gate()
            .pause(&destination.origin.authority.host.text(), until, now);
    }
}
