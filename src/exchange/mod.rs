//! One request and its response, in seven steps: identify, admit, inject, route, fetch, absorb, deliver.
//!
//! Every door, protocol and route walks them; a [`Fault`] from any of them ends as the documented response.

mod absorb;
mod admit;
mod body;
mod connection;
mod decode;
mod deliver;
mod fetch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod identify;
mod inject;
mod inner;
mod interim;
mod render;
mod route;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio_util::task::TaskTracker;

pub use self::body::Body;
use self::body::Flight;
pub use self::connection::{Connection, Destination, Door, Tunnel};
pub use self::fetch::Moved;
pub use self::identify::{Carriers, Named};
pub use self::interim::Interim;
pub use self::render::{Address, Page, Picture, Until, parse_wait};
use crate::browser::Browsers;
use crate::fault::Fault;
use crate::observe::AccessLog;
use crate::registry::Registry;
use crate::routing::{Plan, Route, Router};
use crate::upstream::{RequestBody, Terms, Upstream};

/// The pipeline, and what its steps work with.
#[derive(Debug)]
pub struct Exchange {
    /// The sessions.
    pub registry: Arc<Registry>,
    /// The browsers that render pages.
    pub browsers: Arc<Browsers>,
    /// How long a page may take.
    pub page_timeout: Duration,
    /// The rules of routes, and what was learnt.
    pub router: Router,
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
        let walked = match &from.visitor {
            None => self.walk(request, from, &mut flight).await,
            Some(visitor) => {
                self.walk_for_page(request, from, visitor, &mut flight)
                    .await
            }
        };
        match walked {
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
        let plan = route::choose(&request, &destination, session.as_deref(), &self.router)?;
        if plan != Plan::Http {
            // Boxed, so that the walk of every other request need not have room for this one's.
            let rendering =
                self.render(request, &destination, session.as_ref(), from, plan, flight);
            return Box::pin(rendering).await;
        }
        let switch = upgrade::asked(&mut request);
        let mut request =
            inject::inject(request, &destination, session.as_deref(), switch.is_some());
        interim::relay(&mut request, from.interim.as_ref());
        let answer = self
            .fetch(request, &destination, session.as_ref(), from)
            .await?;
        let absorbed = absorb::absorb(answer, &destination, session.as_ref()).await?;
        deliver::deliver(
            absorbed,
            Route::Http,
            switch,
            session.as_ref(),
            flight,
            &self.relays,
        )
    }
}
