//! Step two: the session is there and its limit lets the request go, or a fault says why not.

use super::body::Flight;
use super::connection::Destination;
use super::identify::Named;
use super::{Exchange, OnMissing};
use crate::fault::{Fault, Kind};
use crate::registry::{Denied, Gate, LiveSession};
use crate::session::record::Counters;
use std::sync::Arc;

impl Exchange {
    /// The session, loaded or made, its expiry moved; visit and permit ride on the flight.
    ///
    /// # Cancellation
    /// Dropped while it waits for its turn, the place in line is given up.
    pub(super) async fn admit(
        &self,
        named: Option<Named>,
        destination: &Destination,
        flight: &mut Flight,
    ) -> Result<Option<Arc<LiveSession>>, Fault> {
        let Some(named) = named else {
            return match self.on_missing {
                OnMissing::Anonymous => Ok(None),
                OnMissing::Reject => Err(Fault::new(
                    Kind::SessionRequired,
                    "name a session in X-Session-ID or as the proxy user name (`sessions.on_missing = \"reject\"`)",
                )),
            };
        };
        flight.name(&named.id);
        let visit = self.registry.visit(&named.id, named.ttl).await?;
        let session = Arc::clone(&visit);
        flight.visit(visit);
        match Gate::pass(&session, &destination.origin.authority.host.text()).await {
            Ok(permit) => {
                session.count(Counters {
                    requests: 1,
                    delayed: u64::from(permit.delayed),
                    ..Counters::default()
                });
                flight.permit(permit);
                Ok(Some(session))
            }
            Err(Denied::Store(error)) => Err(error.into()),
            Err(Denied::Refused(refused)) => {
                session.count(Counters {
                    rejected: 1,
                    ..Counters::default()
                });
                Err(Fault::new(
                    Kind::RateLimited,
                    format!(
                        "session `{}` may send its next request to `{}` in {:.1} s",
                        named.id,
                        destination.origin.authority.host,
                        refused.retry_after.as_secs_f64()
                    ),
                )
                .retry_after(refused.retry_after))
            }
        }
    }
}
