//! Step four: by which route the request goes.

use http::Request;

use super::connection::Destination;
use crate::fault::{Fault, Kind};
use crate::message::fields::{X_BURDOCK_RENDER, value};
use crate::registry::LiveSession;
use crate::routing::{self, Plan, Router};
use crate::session::settings::Render;
use crate::upstream::RequestBody;

/// Asks the rules, with what the request and its session say.
pub(super) fn choose(
    request: &Request<RequestBody>,
    destination: &Destination,
    session: Option<&LiveSession>,
    router: &Router,
) -> Result<Plan, Fault> {
    let asked = match value(request.headers(), &X_BURDOCK_RENDER) {
        Some(value) => Some(parse(value.as_bytes())?),
        None => None,
    };
    let render = session.and_then(|session| session.profile().render);
    let rule = || {
        let origin = &destination.origin;
        router.rule(origin.scheme, &origin.authority, destination.target())
    };
    Ok(routing::choose(
        asked,
        render,
        rule,
        request.method(),
        request.headers(),
    ))
}

fn parse(value: &[u8]) -> Result<Render, Fault> {
    match value {
        b"http" => Ok(Render::Http),
        b"browser" => Ok(Render::Browser),
        b"auto" => Ok(Render::Auto),
        _ => Err(Fault::new(
            Kind::BadRequest,
            "X-Burdock-Render must be `http`, `browser` or `auto`",
        )),
    }
}
