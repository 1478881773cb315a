//! Step seven: the response as it came, plus our fields, its body streaming.

use std::sync::Arc;

use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, Version};
use tokio_util::task::TaskTracker;

use super::absorb::Absorbed;
use super::body::{Body, Flight};
use super::upgrade::{self, Switch};
use crate::fault::{Fault, Kind};
use crate::message::fields::{X_BURDOCK_ROUTE, X_SESSION_ID, response_fields};
use crate::registry::LiveSession;
use crate::routing::Route;
use crate::upstream::Answer;

/// Makes the response for the client; a switched connection is relayed by a task of `relays`.
pub(super) fn deliver(
    absorbed: Absorbed,
    route: Route,
    switch: Option<Switch>,
    session: Option<&Arc<LiveSession>>,
    flight: &mut Flight,
    relays: &TaskTracker,
) -> Result<Response<Body>, Fault> {
    let mut response = to_page(absorbed, switch, flight, relays)?;
    add_fields(response.headers_mut(), route, session);
    Ok(response)
}

/// The same without fields of ours, which a page would see.
pub(super) fn to_page(
    absorbed: Absorbed,
    switch: Option<Switch>,
    flight: &mut Flight,
    relays: &TaskTracker,
) -> Result<Response<Body>, Fault> {
    let mut flight = std::mem::take(flight);
    match absorbed.into_answer() {
        Answer::Response(response) => {
            flight.answered(response.status());
            let (head, body) = response.into_parts();
            let head = response_head(head);
            Ok(Response::from_parts(head, Body::from_origin(body, flight)))
        }
        Answer::Switched(response, switched) => {
            let Some(switch) = switch else {
                return Err(Fault::new(
                    Kind::UpstreamProtocol,
                    "the origin switched protocols without being asked to",
                ));
            };
            flight.answered(response.status());
            let (mut head, ()) = response.into_parts();
            head.headers = response_fields(head.headers, true);
            relays.spawn(upgrade::relay(switch, *switched, flight));
            Ok(Response::from_parts(head, Body::empty()))
        }
    }
}

/// The documented response of a fault.
pub(super) fn fault(fault: &Fault, mut flight: Flight) -> Response<Body> {
    flight.failed(fault);
    let mut response = fault.response(flight.session()).map(Body::full);
    // Whoever has to tell it from an origin's answer cannot go by its fields.
    response.extensions_mut().insert(fault.kind());
    flight.answered(response.status());
    tracing::debug!(
        session = flight.session().map(tracing::field::display),
        fault = fault.kind().row().name,
        detail = fault.detail(),
        cause = std::error::Error::source(fault).map(tracing::field::display),
        "answered with a fault"
    );
    response.map(|body| body.riding(flight))
}

/// The head of an origin's response as it travels on.
pub(super) fn response_head(mut head: Parts) -> Parts {
    // A message's version is that of its sender on this hop (RFC 9110, section 2.5).
    head.version = Version::HTTP_11;
    head.headers = response_fields(head.headers, false);
    head
}

pub(super) fn add_fields(fields: &mut HeaderMap, route: Route, session: Option<&Arc<LiveSession>>) {
    if let Some(session) = session {
        fields.insert(X_SESSION_ID, session.id_field().clone());
    }
    match route {
        Route::Http => {
            fields.insert(X_BURDOCK_ROUTE, HeaderValue::from_static("http"));
        }
        Route::Browser(reason) => {
            let route = format!("browser; reason={}", reason.as_str());
            fields.insert(
                X_BURDOCK_ROUTE,
                HeaderValue::try_from(route).expect("a reason is a lower-case word"),
            );
        }
    }
}
