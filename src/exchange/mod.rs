//! One request and its response, in seven steps: identify, admit, inject, route, fetch, absorb, deliver.
//!
//! Every door, protocol and route walks them; a [`Fault`] from any of them ends as the documented response.

mod absorb;
mod admit;
mod body;
mod connection;
mod deliver;
mod fetch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod identify;
mod inject;
mod interim;
mod route;
mod upgrade;

use std::sync::Arc;

use http::{Request, Response};
use tokio_util::task::TaskTracker;

pub use self::body::Body;
use self::body::Flight;
pub use self::connection::{Connection, Destination, Door, Tunnel};
pub use self::fetch::may_leave;
pub use self::identify::{Carriers, Named};
pub use self::interim::Interim;
use crate::fault::Fault;
use crate::observe::AccessLog;
use crate::registry::Registry;
use crate::upstream::{RequestBody, Terms, Upstream};

/// The pipeline, and what its steps work with.
#[derive(Debug)]
pub struct Exchange {
    /// The sessions.
    pub registry: Arc<Registry>,
    /// The way to origins.
    pub upstream: Arc<Upstream>,
    /// How requests name sessions and prove themselves.
    pub carriers: Carriers,
    /// What a request gets that names no session.
    pub on_missing: OnMissing,
    /// What bounds the connections of a client without a session.
    pub pool_terms: Arc<Terms>,
    /// The access log.
    pub log: AccessLog,
    /// Relays of upgraded connections; they outlive their exchange and are waited for at the end.
    pub relays: TaskTracker,
}

/// What becomes of a request that names no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// It goes without one.
    Anonymous,
    /// 400 `session-required`.
    Reject,
}

impl Exchange {
    /// Answers a request that came through a door.
    ///
    /// # Cancellation
    /// Dropped, the exchange is given up: its place in line is free, its connection to the origin closes. What
    /// a response has already changed of the session is still written.
    pub async fn exchange(
        &self,
        request: Request<RequestBody>,
        from: &Connection,
    ) -> Response<Body> {
        let mut flight = Flight::begin(self.log, from, &request);
        match self.walk(request, from, &mut flight).await {
            Ok(response) => response,
            Err(fault) => deliver::fault(&fault, flight),
        }
    }

    async fn walk(
        &self,
        mut request: Request<RequestBody>,
        from: &Connection,
        flight: &mut Flight,
    ) -> Result<Response<Body>, Fault> {
        let destination = from.destination(&request)?;
        flight.towards(&destination);
        let named = identify::identify(request.headers(), from, &self.carriers)?;
        let session = self.admit(named, &destination, flight).await?;
        let switch = upgrade::asked(&mut request);
        let route = route::choose(&request, session.as_deref())?;
        let mut request =
            inject::inject(request, &destination, session.as_deref(), switch.is_some());
        interim::relay(&mut request, from.interim.as_ref());
        let answer = self
            .fetch(request, &destination, session.as_deref(), from)
            .await?;
        let absorbed = absorb::absorb(answer, &destination, session.as_ref()).await?;
        deliver::deliver(
            absorbed,
            route,
            switch,
            session.as_ref(),
            flight,
            &self.relays,
        )
    }
}
