//! Step five: the origin's answer, over connections of this session or of this client connection alone, which leave as their owner
//! does: directly, or by its upstream proxy.

use std::sync::Arc;

use http::{HeaderValue, Request};

use super::Exchange;
use super::connection::{Connection, Destination};
use crate::fault::Fault;
use crate::message::Authority;
use crate::message::fields::X_BURDOCK_EGRESS;
use crate::registry::LiveSession;
use crate::upstream::{Answer, Origin, Pool, RequestBody, Spare, UpstreamError};

/// That a session was bound to another upstream proxy, as `X-Burdock-Egress` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Its proxy left the configuration.
    Rebound,
    /// Its proxy could not be reached.
    Rehomed,
}

impl Moved {
    /// The value of `X-Burdock-Egress`.
    #[must_use]
    pub fn field(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Rebound => "rebound",
            Self::Rehomed => "rehomed",
        })
    }
}

impl Exchange {
    /// The origin's answer, with `X-Burdock-Egress` where the session was bound anew.
    pub(super) async fn fetch(
        &self,
        request: Request<RequestBody>,
        destination: &Destination,
        session: Option<&Arc<LiveSession>>,
        from: &Connection,
    ) -> Result<Answer, Fault> {
        let pinned;
        let pool = match session {
            Some(session) if from.pins(&request) => {
                pinned = from.pinned_pool(&self.pool_terms, session);
                &pinned
            }
            Some(session) => session.pool(),
            None => from.pool(&self.pool_terms),
        };
        let spare = || from.take_spare(&destination.origin);
        let (mut answer, moved) = self
            .send(pool, &destination.origin, request, spare, session)
            .await?;
        if let Some(moved) = moved {
            let fields = match &mut answer {
                Answer::Response(response) => response.headers_mut(),
                Answer::Switched(response, _) => response.headers_mut(),
            };
            fields.insert(X_BURDOCK_EGRESS, moved.field());
        }
        Ok(answer)
    }

    /// Sends a request over `pool`, which is `session`'s where there is one. Where the proxy that it leaves by cannot be reached and
    /// may be exchanged for another, it goes by that.
    pub(super) async fn send(
        &self,
        pool: &Arc<Pool>,
        origin: &Origin,
        mut request: Request<RequestBody>,
        spare: impl Fn() -> Option<Spare>,
        session: Option<&Arc<LiveSession>>,
    ) -> Result<(Answer, Option<Moved>), Fault> {
        let mut moved = None;
        let mut moves = self.pool_terms.egress.proxies().len();
        loop {
            let failed = match self.upstream.send(pool, origin, request, &spare).await {
                Ok(answer) => return Ok((answer, moved.or_else(|| told(session)))),
                Err(failed) => failed,
            };
            let Some(unsent) = failed.unsent.filter(|_| moves > 0) else {
                return Err(failed.error.into());
            };
            if !self.rehome(&failed.error, pool, session).await? {
                return Err(failed.error.into());
            }
            request = *unsent;
            moves -= 1;
            moved = Some(Moved::Rehomed);
        }
    }

    /// Connects for a CONNECT, before it is known what will be said there: as connections of `session` leave, or those of the client
    /// connection `from`.
    ///
    /// # Errors
    /// As for a request, where there is no connection.
    pub async fn dial(
        &self,
        authority: &Authority,
        session: Option<&Arc<LiveSession>>,
        from: &Connection,
    ) -> Result<(Spare, Option<Moved>), Fault> {
        let pool = self.pool_for(session, from);
        let mut moved = None;
        let mut moves = self.pool_terms.egress.proxies().len();
        loop {
            let error = match self.upstream.dial(pool, authority).await {
                Ok(spare) => return Ok((spare, moved.or_else(|| told(session)))),
                Err(error) => error,
            };
            match pool {
                Some(pool) if moves > 0 && self.rehome(&error, pool, session).await? => {
                    moves -= 1;
                    moved = Some(Moved::Rehomed);
                }
                Some(_) | None => return Err(error.into()),
            }
        }
    }

    /// Whose connections a tunnel's are; none where they need no owner, as they leave directly.
    pub fn pool_for<'a>(
        &'a self,
        session: Option<&'a Arc<LiveSession>>,
        from: &'a Connection,
    ) -> Option<&'a Arc<Pool>> {
        match (session, &from.visitor) {
            (Some(session), _) => Some(session.pool()),
            (None, Some(visitor)) => Some(visitor.own_pool()),
            (None, None) if self.pool_terms.egress.is_empty() => None,
            (None, None) => Some(from.pool(&self.pool_terms)),
        }
    }

    /// Has what leaves by `pool` leave by the next proxy that can be reached, where its own cannot and it may; whether it is worth
    /// another attempt. A session's store knows by then.
    async fn rehome(
        &self,
        error: &UpstreamError,
        pool: &Arc<Pool>,
        session: Option<&Arc<LiveSession>>,
    ) -> Result<bool, Fault> {
        let egress = &self.pool_terms.egress;
        let Some(closed) = error.unreachable().filter(|exit| !exit.is_own()) else {
            return Ok(false);
        };
        if !egress.rehomes() {
            return Ok(false);
        }
        for other in egress.others(closed) {
            // Somebody else was faster.
            if pool.exit().is_none_or(|exit| exit != *closed) {
                return Ok(true);
            }
            if !self.upstream.reaches(pool, &other).await {
                continue;
            }
            match session {
                None => pool.leave_by(Some(other)),
                Some(session) => {
                    self.registry
                        .rehome(session, closed.proxy(), other.proxy())
                        .await?;
                    pool.leave_by(session.pool().exit());
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}

fn told(session: Option<&Arc<LiveSession>>) -> Option<Moved> {
    session
        .is_some_and(|session| session.has_moved())
        .then_some(Moved::Rebound)
}
