//! Step four: by which route the request goes.

use http::Request;

use crate::fault::{Fault, Kind};
use crate::message::fields::{X_BURDOCK_RENDER, value};
use crate::registry::LiveSession;
use crate::routing::{self, Reason, Route};
use crate::session::settings::Render;
use crate::upstream::RequestBody;

/// Asks the rules, with what the request and its session say.
pub(super) fn choose(
    request: &Request<RequestBody>,
    session: Option<&LiveSession>,
) -> Result<Route, Fault> {
    let asked = match value(request.headers(), &X_BURDOCK_RENDER) {
        Some(value) => Some(parse(value.as_bytes())?),
        None => None,
    };
    let render = session.and_then(|session| session.profile().render);
    match routing::choose(asked, render, request.method(), request.headers()) {
        Route::Http => Ok(Route::Http),
        Route::Browser(reason) => Err(Fault::new(
            Kind::BrowserUnavailable,
            format!(
                "{} asks for the browser route, which this version of burdock does not have; ask for `http`",
                match reason {
                    Reason::Header => "the request",
                    Reason::Session => "the session",
                }
            ),
        )),
    }
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
