//! Step five: the origin's answer, over connections of this session or of this client connection alone.

use http::Request;

use super::Exchange;
use super::connection::{Connection, Destination};
use crate::fault::Fault;
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
        let pool = match session {
            Some(session) if !from.pins(&request) => session.pool(),
            _ => from.pool(&self.pool_terms),
        };
        let origin = &destination.origin;
        let spare = || from.take_spare(origin);
        Ok(self.upstream.send(pool, origin, request, spare).await?)
    }
}
