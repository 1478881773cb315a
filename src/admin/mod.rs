//! The admin API (docs/INTERFACE.md, section 6): sessions and their state, scraping, health, the CA's certificate.
//!
//! Every call passes the guard first. Handlers read and check, ask the registry or the exchange, and answer; no rule of
//! cookies, settings or routes lives here.

mod body;
mod ca;
mod cookies;
mod egress;
mod etag;
mod fork;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod guard;
mod json;
mod metrics;
mod problem;
mod query;
mod routes;
mod scrape;
mod serve;
mod sessions;
mod state;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

pub use self::serve::serve;

use self::body::Room;
use self::guard::Guard;
use crate::ca::CertificateAuthority;
use crate::clock;
use crate::config::Config;
use crate::exchange::Exchange;
use crate::registry::Registry;
use crate::session::settings::Bounds;
use crate::session::time::Timestamp;

/// What the admin API works with, the same for all its listeners.
#[derive(Debug)]
pub struct Admin {
    exchange: Arc<Exchange>,
    ca: Arc<CertificateAuthority>,
    bounds: Bounds,
    guard: Guard,
    /// The addresses of the proxy.
    proxy: Vec<SocketAddr>,
    started: Timestamp,
    /// Scrapes under way.
    scrapes: Semaphore,
    /// Bodies of requests.
    uploads: Room,
    /// Bodies that are to be answered with.
    pages: Room,
}

/// The actual addresses of the listeners.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The proxy's.
    pub proxy: Vec<SocketAddr>,
    /// The admin API's.
    pub admin: Vec<SocketAddr>,
}

impl Admin {
    /// An admin API that starts now.
    pub fn new(
        exchange: Arc<Exchange>,
        ca: Arc<CertificateAuthority>,
        config: &Config,
        addresses: Addresses,
    ) -> Self {
        Self {
            exchange,
            ca,
            bounds: Bounds {
                default_ttl: config.sessions.default_ttl,
                max_ttl: config.sessions.max_ttl,
            },
            guard: Guard {
                bound: addresses.admin,
                allowed_hosts: config.admin.allowed_hosts.clone(),
                token: config.admin.token.clone(),
            },
            proxy: addresses.proxy,
            started: clock::now(),
            scrapes: Semaphore::new(MAX_SCRAPES),
            uploads: Room::new(MAX_LARGE_BODIES),
            pages: Room::new(MAX_LARGE_BODIES),
        }
    }

    fn registry(&self) -> &Registry {
        &self.exchange.registry
    }
}

/// The calls there are.
fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/healthz", get(status::alive))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(metrics::show))
        .route("/ca.pem", get(ca::pem))
        .route("/ca.der", get(ca::der))
        .route("/api/v1/status", get(status::show))
        .route(
            "/api/v1/sessions",
            get(sessions::list)
                .post(sessions::create)
                .delete(sessions::clear),
        )
        .route(
            "/api/v1/sessions/{id}",
            get(sessions::show)
                .patch(sessions::patch)
                .delete(sessions::delete),
        )
        .route(
            "/api/v1/sessions/{id}/cookies",
            get(cookies::list).put(cookies::put).delete(cookies::remove),
        )
        .route(
            "/api/v1/sessions/{id}/state",
            get(state::show).put(state::replace),
        )
        .route("/api/v1/sessions/{id}/fork", post(fork::fork))
        .route(
            "/api/v1/sessions/{id}/screenshot",
            get(sessions::screenshot),
        )
        .route("/api/v1/routes", get(routes::list).delete(routes::forget))
        .route("/api/v1/egress", get(egress::show))
        .route("/api/v1/scrape", post(scrape::scrape))
        .route("/api/scrape", post(scrape::scrape))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(admin)
}

/// Scrapes at once; further ones wait, within their own deadline.
const MAX_SCRAPES: usize = 256;
/// Bodies over a mebibyte that are held at once, in each direction.
const MAX_LARGE_BODIES: usize = 8;
