//! Connections that change their protocol: the origin decides, then bytes are relayed both ways.

use bytes::Bytes;
use http::{Request, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::Flight;
use crate::message::fields::upgrade_of;
use crate::upstream::{self, RequestBody, Side, Switched};

/// The client's side of a connection that may change its protocol.
#[derive(Debug)]
pub(super) struct Switch(OnUpgrade);

/// Whether the request asks for another protocol (RFC 9110, section 7.8).
pub(super) fn asked(request: &mut Request<RequestBody>) -> Option<Switch> {
    // HTTP/1.1 only: HTTP/2 has no Upgrade field, HTTP/1.0 ignores it.
    if request.version() != Version::HTTP_11 || upgrade_of(request.headers()).is_none() {
        return None;
    }
    Some(Switch(hyper::upgrade::on(request)))
}

/// Relays bytes until both sides have closed; the flight ends with it.
pub(super) async fn relay(switch: Switch, switched: Switched, mut flight: Flight) {
    let client = match switch.0.await {
        Ok(client) => client,
        Err(error) => {
            tracing::debug!(%error, "the client went away before its connection was switched");
            return;
        }
    };
    let client = Side {
        stream: TokioIo::new(client),
        said: Bytes::new(),
    };
    let origin = Side {
        stream: switched.stream,
        said: switched.read,
    };
    match upstream::relay(client, origin).await {
        Ok((sent, received)) => flight.relayed(sent, received),
        Err(error) => tracing::debug!(%error, "a switched connection ended abnormally"),
    }
}
