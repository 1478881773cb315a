//! The walk of a request that a page makes: identify, admit, inject, fetch and deliver as its browser context's listener knows them.
//!
//! The browser chose the cookies, by rules that need the page (SameSite, partitions), and keeps those it is sent; what it made of them comes
//! to the session when the page is done. So nothing is injected but what makes the context one visitor, and nothing is absorbed here.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, RETRY_AFTER, UPGRADE_INSECURE_REQUESTS};
use http::{HeaderValue, Method, Request, Response};

use super::absorb::{Absorbed, heed_retry_after};
use super::body::{Body, Flight};
use super::connection::{Connection, Destination};
use super::{Exchange, deliver, interim, upgrade};
use crate::browser::{Document, Over, Visitor};
use crate::clock;
use crate::fault::{Fault, Kind};
use crate::message::fields::{Rewrite, joined_cookie, request_fields, value};
use crate::upstream::{Answer, RequestBody};

impl Exchange {
    /// Answers a request of `visitor`'s browser: by the document on offer, or by the origin over the session's connections.
    pub(super) async fn walk_for_page(
        &self,
        mut request: Request<RequestBody>,
        from: &Connection,
        visitor: &Arc<Visitor>,
        flight: &mut Flight,
    ) -> Result<Response<Body>, Fault> {
        let destination = from.destination(&request)?;
        flight.towards(&destination);
        flight.route("page");
        let for_document = is_for_document(&request);
        if for_document && let Some(mut url) = destination.url() {
            url.set_fragment(None);
            visitor.before_document(&url).await;
            if let Some(document) = visitor.take(url.as_str()) {
                return Ok(offered(&document, flight));
            }
        }
        // The budget of the context; the semaphore is never closed.
        if let Ok(slot) = Arc::clone(&visitor.slots).acquire_owned().await {
            flight.slot(slot);
        }
        let session = visitor
            .session()
            .map_err(|over| Fault::new(Kind::UnknownSession, over.to_string()))?;
        if let Some(session) = &session {
            flight.name(session.id());
            let visit = session.join(clock::now());
            flight.visit(visit.ok_or_else(|| Fault::new(Kind::UnknownSession, Over.to_string()))?);
        }
        let switch = upgrade::asked(&mut request);
        let mut request = as_visitor(
            request,
            &destination,
            visitor,
            session.as_deref().map(|session| session.profile()),
            switch.is_some(),
        );
        interim::relay(&mut request, from.interim.as_ref());
        let pool = match &session {
            Some(session) => session.pool(),
            None => visitor.own_pool(),
        };
        let spare = || from.take_spare(&destination.origin);
        let (answer, _) = self
            .send(pool, &destination.origin, request, spare, session.as_ref())
            .await?;
        if let (Some(session), Answer::Response(response)) = (&session, &answer)
            && response.headers().contains_key(RETRY_AFTER)
        {
            heed_retry_after(response.status(), response.headers(), &destination, session);
        }
        let answer = Absorbed::by_browser(answer);
        let mut response = deliver::to_page(answer, switch, flight, &self.relays)?;
        if for_document {
            // One that the browser kept would be shown in place of the next that is offered.
            let fields = response.headers_mut();
            fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        Ok(response)
    }
}

/// Whether a browser asks for a document, of a frame too. Only trustworthy origins are told so by Sec-Fetch-Dest (Fetch Metadata, section 2);
/// all are asked for an upgrade of insecure requests.
fn is_for_document(request: &Request<RequestBody>) -> bool {
    const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
    if *request.method() != Method::GET {
        return false;
    }
    match value(request.headers(), &SEC_FETCH_DEST) {
        Some(dest) => matches!(
            dest.as_bytes(),
            b"document" | b"iframe" | b"frame" | b"embed" | b"object"
        ),
        None => request.headers().contains_key(UPGRADE_INSECURE_REQUESTS),
    }
}

fn offered(document: &Document, flight: &mut Flight) -> Response<Body> {
    flight.unlogged();
    let flight = std::mem::take(flight);
    let mut response = Response::new(Body::full(document.body.clone()).riding(flight));
    *response.status_mut() = document.status;
    *response.headers_mut() = document.fields.clone();
    response
}

/// The fields as the origin shall see them: the browser's own, with the session's, and the context's identity over all.
fn as_visitor(
    mut request: Request<RequestBody>,
    destination: &Destination,
    visitor: &Visitor,
    profile: Option<Arc<crate::registry::Profile>>,
    upgrade: bool,
) -> Request<RequestBody> {
    let fields = std::mem::take(request.headers_mut());
    let rewrite = Rewrite {
        host: Some(destination.host.clone()),
        cookie: joined_cookie(&fields),
        user_agent: profile
            .as_ref()
            .and_then(|profile| profile.user_agent.clone()),
        defaults: profile.as_ref().map_or(&[], |profile| &profile.defaults),
        upgrade,
    };
    let fields = request_fields(fields, rewrite);
    // Chromium tells low-entropy hints to trustworthy origins, in requests of HTTP that are no preflights.
    let hints = !upgrade
        && *request.method() != Method::OPTIONS
        && (destination.origin.scheme.is_secure()
            || destination.origin.authority.host.is_localhost());
    *request.headers_mut() = identified(fields, &visitor.identity(), hints);
    request
}

/// Puts the identity's values where the browser sent those fields, and takes out those that it shall not have. With `hints` client hints are
/// added where they are missing: a worker that was told who it seems to be sends none.
fn identified(
    fields: HeaderMap,
    identity: &[(HeaderName, Option<HeaderValue>)],
    hints: bool,
) -> HeaderMap {
    if identity.is_empty() {
        return fields;
    }
    let mut out = HeaderMap::with_capacity(fields.len());
    for (name, value) in &fields {
        match identity.iter().find(|(known, _)| known == name) {
            None => {
                out.append(name, value.clone());
            }
            Some((_, Some(value))) => {
                out.insert(name, value.clone());
            }
            Some((_, None)) => {}
        }
    }
    for (name, value) in identity.iter().filter(|_| hints) {
        if let Some(value) = value
            && name.as_str().starts_with("sec-ch-ua")
            && !out.contains_key(name)
        {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_replaces_what_is_there_and_adds_nothing() {
        let fields: HeaderMap = [
            ("user-agent", "HeadlessChrome"),
            ("accept", "*/*"),
            ("sec-ch-ua", "x"),
        ]
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .into_iter()
        .collect();
        let identity = [
            (
                http::header::USER_AGENT,
                Some(HeaderValue::from_static("Firefox")),
            ),
            (HeaderName::from_static("sec-ch-ua"), None),
            (
                HeaderName::from_static("sec-ch-ua-mobile"),
                Some(HeaderValue::from_static("?0")),
            ),
        ];
        let added = identified(fields.clone(), &identity, true);
        assert_eq!(added["sec-ch-ua-mobile"], "?0");
        let out = identified(fields, &identity, false);
        let lines: Vec<_> = out
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(lines, [("user-agent", &b"Firefox"[..]), ("accept", b"*/*")]);
    }
}
