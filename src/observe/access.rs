//! The access log: one line an exchange, written when its last byte has gone.
//!
//! A query often holds what is nobody else's business, so only the path is logged; no field of a message is.

use std::net::SocketAddr;
use std::time::Instant;

use http::{Method, StatusCode};

use crate::message::{Authority, Scheme};

/// Whether exchanges are logged.
#[derive(Clone, Copy, Debug)]
pub struct AccessLog {
    enabled: bool,
}

/// An exchange as the log shows it. Dropped, it is written.
#[derive(Debug)]
pub struct Entry {
    started: Instant,
    client: SocketAddr,
    method: Method,
    target: Target,
    /// The session's id, once it is known.
    pub session: Option<Box<str>>,
    /// The status sent to the client; `None` if it went away before.
    pub status: Option<StatusCode>,
    /// The fault that was answered with, if it was one.
    pub fault: Option<&'static str>,
    /// Nobody was asked for anything: there is no line.
    pub unsaid: bool,
    /// `http`; `browser` where the page was rendered; `page` for what a page asked for.
    pub route: &'static str,
    /// Bytes of the response's body.
    pub bytes_in: u64,
    /// Bytes of the request's body.
    pub bytes_out: u64,
}

#[derive(Debug, Default)]
struct Target {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Box<str>,
}

impl AccessLog {
    /// Logs at level info where it is enabled and the log's filter lets it through.
    pub fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    /// Begins the line of an exchange; `None` where nothing is to be logged, so that nothing is gathered.
    pub fn begin(self, client: SocketAddr, method: &Method) -> Option<Box<Entry>> {
        let wanted =
            self.enabled && tracing::enabled!(target: "burdock::access", tracing::Level::INFO);
        wanted.then(|| {
            Box::new(Entry {
                started: Instant::now(),
                client,
                method: method.clone(),
                target: Target::default(),
                session: None,
                status: None,
                fault: None,
                unsaid: false,
                route: "http",
                bytes_in: 0,
                bytes_out: 0,
            })
        })
    }
}

impl Entry {
    /// Where the request goes, once it is known.
    pub fn towards(&mut self, scheme: Scheme, authority: &Authority, path: &str) {
        self.target = Target {
            scheme: Some(scheme),
            authority: Some(authority.clone()),
            path: path.into(),
        };
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.unsaid {
            return;
        }
        tracing::info!(
            target: "burdock::access",
            client = %self.client,
            session = self.session.as_deref().unwrap_or("-"),
            method = self.method.as_str(),
            scheme = self.target.scheme.map_or("-", Scheme::as_str),
            authority = self.target.authority.as_ref().map(tracing::field::display),
            path = &*self.target.path,
            status = self.status.map(|status| status.as_u16()),
            fault = self.fault,
            route = self.route,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        );
    }
}
