//! Step five: the origin's answer, over connections of this session or of this client connection alone.

use http::Request;

use super::Exchange;
use super::connection::{Connection, Destination};
use crate::fault::{Fault, Kind};
use crate::registry::LiveSession;
use crate::upstream::{Answer, RequestBody};

impl Exchange {
    pub(super) async fn fetch(
        &self,
        request: Request<RequestBody>,
        destination: &Destination,
        session: Option<&LiveSession>,
        from: &Connection,
    ) -> Result<Answer, Fault> {
        may_leave(session)?;
        let pool = match session {
            Some(session) if !from.pins(&request) => session.pool(),
            _ => from.pool(&self.pool_terms),
        };
        let origin = &destination.origin;
        let spare = || from.take_spare(origin);
        Ok(self.upstream.send(pool, origin, request, spare).await?)
    }
}

/// Whether requests of the session may go to origins from this process's own address.
///
/// # Errors
/// `connect-failed` where the session names an upstream proxy: going directly would show the address that its owner wants
/// hidden.
pub fn may_leave(session: Option<&LiveSession>) -> Result<(), Fault> {
    if session.is_some_and(|session| session.profile().has_upstream_proxy) {
        let detail = "the session's `upstreamProxy` cannot be used: this version of burdock has no upstream proxies";
        return Err(Fault::new(Kind::ConnectFailed, detail).proxy_error("destination_unavailable"));
    }
    Ok(())
}
