//! What there is of browsers, to be shown.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::chromium::Chromium;

/// What there is, as the admin API shows it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The browsers.
    pub browsers: Vec<BrowserStatus>,
    /// Live contexts in all.
    pub contexts: usize,
    /// Places of pages that are taken.
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
    /// As it calls itself.
    pub version: String,
    /// Its live contexts.
    pub contexts: usize,
    /// Its pages.
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
    /// Documents that were to be rendered.
    pub admitted: u64,
    /// Of those: that became a page.
    pub answered: u64,
    /// Of those: that ended in an error, or were given up by their client.
    pub failed: u64,
    /// Renderers and browsers that ended by themselves.
    pub crashes: u64,
    /// Browsers replaced because of their age.
    pub recycled: u64,
}

/// The counters of renders.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) admitted: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) crashes: AtomicU64,
}

impl BrowserStatus {
    pub(super) fn of(browser: &Chromium) -> Self {
        Self {
            pid: browser.pid(),
            endpoint: browser.endpoint.clone(),
            version: browser.product.clone(),
            contexts: browser.contexts.load(Ordering::Relaxed),
            pages: browser.pages.load(Ordering::Relaxed),
            rendered: browser.rendered.load(Ordering::Relaxed),
            draining: browser.is_draining(),
        }
    }
}

/// One render that was begun: it ends as failed unless it is [answered](Self::answer).
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    tally: &'a Tally,
    answered: bool,
}

impl<'a> Outcome<'a> {
    pub(super) fn begin(tally: &'a Tally) -> Self {
        tally.admitted.fetch_add(1, Ordering::Relaxed);
        Self {
            tally,
            answered: false,
        }
    }

    pub(super) fn answer(mut self) {
        self.answered = true;
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        let counter = match self.answered {
            true => &self.tally.answered,
            false => &self.tally.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
