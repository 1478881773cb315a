//! The browsers there are, and the places of pages in them.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;
use serde::Serialize;
use tokio::time::Instant;

use super::document::{Ask, Rendered};
use super::error::BrowserError;
use super::options::Options;
use super::visitor::Doors;
use crate::registry::LiveSession;
use crate::upstream::Terms;

/// All browsers of a burdock.
#[derive(Debug)]
pub struct Browsers {
    options: Options,
    doors: Arc<dyn Doors>,
    terms: Arc<Terms>,
}

/// A place for one page, and the browser that it will be in.
#[derive(Debug)]
pub struct Slot {
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// What there is, as the admin API shows it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The browsers.
    pub browsers: Vec<BrowserStatus>,
    /// Live contexts in all.
    pub contexts: usize,
    /// Pages that are rendering.
    pub pages: usize,
    /// Requests that wait for a place.
    pub waiting: usize,
    /// Since the start.
    pub counters: Counts,
}

/// One browser.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrowserStatus {
    /// Of a process of our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Of a remote browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// As it says.
    pub version: String,
    /// Its live contexts.
    pub contexts: usize,
    /// Its open pages.
    pub pages: usize,
    /// Pages that it has rendered.
    pub rendered: u64,
    /// Whether it takes no further contexts and ends with its last page.
    pub draining: bool,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Pages that got a place.
    pub admitted: u64,
    /// Of those: that ended in a page.
    pub answered: u64,
    /// Of those: that ended in an error, clients included that went away.
    pub failed: u64,
    /// Renderers and browsers that ended by themselves.
    pub crashes: u64,
    /// Browsers replaced because of their age.
    pub recycled: u64,
}

impl Browsers {
    /// Starts nothing.
    pub fn new(options: Options, doors: Arc<dyn Doors>, terms: Arc<Terms>) -> Arc<Self> {
        Arc::new(Self {
            options,
            doors,
            terms,
        })
    }

    /// Starts the `warm` browsers and sweeps the profiles of dead ones.
    pub async fn start(self: &Arc<Self>) {}

    /// Takes a place for a page until `deadline`.
    ///
    /// # Errors
    /// [`BrowserError`] where there is no browser or no place.
    pub async fn reserve(
        self: &Arc<Self>,
        _session: Option<&Arc<LiveSession>>,
        _client_agent: Option<&str>,
        _deadline: Instant,
    ) -> Result<Slot, BrowserError> {
        let _ = (&self.options, &self.doors, &self.terms);
        Err(BrowserError::Missing)
    }

    /// What there is.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// The program that would be started.
    ///
    /// # Errors
    /// [`BrowserError::Missing`]
    pub fn executable(&self) -> Result<PathBuf, BrowserError> {
        Err(BrowserError::Missing)
    }

    /// The last picture of a session's pages.
    pub fn thumbnail(&self, _session: &LiveSession) -> Option<Bytes> {
        None
    }

    /// Ends all browsers within 5 seconds.
    pub async fn close(&self) {}
}

impl Slot {
    /// What the browser itself would send with a top-level navigation.
    pub fn navigation_fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    /// Renders.
    ///
    /// # Errors
    /// [`BrowserError`]
    pub async fn render(self, _ask: Ask) -> Result<Rendered, BrowserError> {
        Err(BrowserError::Missing)
    }
}
