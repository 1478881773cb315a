//! A place for one page: what is made ready while the document is fetched, and what becomes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderName;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::chromium::{Chromium, Lease};
use super::context::InUse;
use super::document::{Ask, Rendered};
use super::error::BrowserError;
use super::identity::Identity;
use super::link::CallError;
use super::page::Page;
use super::pool::Browsers;
use super::render;
use super::status::Outcome;
use crate::registry::LiveSession;
use crate::session::record::Counters;

/// A place for one page. Dropped, it is given back, and what was made ready is closed.
#[derive(Debug)]
pub struct Slot {
    pub(super) browsers: Arc<Browsers>,
    pub(super) session: Option<Arc<LiveSession>>,
    pub(super) identity: Arc<Identity>,
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Made while the document is fetched.
    stage: Option<Preparing>,
    deadline: Instant,
    // Last, so that the place is given back after all else.
    _place: OwnedSemaphorePermit,
}

/// A page that is ready to be sent somewhere.
#[derive(Debug)]
pub(super) struct Stage {
    /// Closed before its context is let go of.
    pub(super) page: Arc<Page>,
    pub(super) context: InUse,
    _lease: Lease,
}

/// A stage that is being made; dropped, it is given up.
#[derive(Debug)]
struct Preparing(JoinHandle<Result<Stage, BrowserError>>);

impl Drop for Preparing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Slot {
    pub(super) fn new(
        browsers: Arc<Browsers>,
        place: OwnedSemaphorePermit,
        session: Option<Arc<LiveSession>>,
        identity: Identity,
        browser: &Arc<Chromium>,
        deadline: Instant,
    ) -> Self {
        let mut slot = Self {
            browsers,
            session,
            fields: identity.navigation_fields(),
            identity: Arc::new(identity),
            stage: None,
            deadline,
            _place: place,
        };
        slot.stage = Some(slot.prepare(browser));
        slot
    }

    /// What the browser itself would send with the navigation, in its order; `sec-ch-ua*` and `sec-fetch-*` are for secure URLs only.
    pub fn navigation_fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    /// Renders a document in it. What the page changed of its session has been acknowledged by the session's store by then. It takes no
    /// longer than 4 seconds after the deadline, and the store's own time.
    ///
    /// # Errors
    /// [`BrowserError`]: a crash was retried once by then, if there was time.
    ///
    /// # Cancellation
    /// The page is closed. What it changed is found by the next one of its session.
    pub async fn render(mut self, ask: Ask) -> Result<Rendered, BrowserError> {
        let browsers = Arc::clone(&self.browsers);
        let outcome = Outcome::begin(&browsers.tally);
        let rendered = match self.attempt(&ask).await {
            Err(BrowserError::Crashed(why)) => {
                tracing::warn!(why, "a page was lost");
                if ask.deadline.saturating_duration_since(Instant::now()) < RETRY_TIME {
                    return Err(BrowserError::Crashed(why));
                }
                let session = self.session.as_ref();
                let browser = browsers.browser_for(session, ask.deadline).await?;
                self.stage = Some(self.prepare(&browser));
                self.attempt(&ask).await?
            }
            rendered => rendered?,
        };
        if let Some(session) = &self.session {
            session.count(Counters {
                rendered: 1,
                ..Counters::default()
            });
        }
        outcome.answer();
        Ok(rendered)
    }

    async fn attempt(&mut self, ask: &Ask) -> Result<Rendered, BrowserError> {
        let Some(mut preparing) = self.stage.take() else {
            return Err(BrowserError::Start("its page is used already".to_owned()));
        };
        let stage = match timeout_at(ask.deadline, &mut preparing.0).await {
            Ok(Ok(stage)) => stage?,
            Ok(Err(defect)) => return Err(BrowserError::Start(defect.to_string())),
            Err(_) => {
                return Err(BrowserError::Timeout(
                    "no page could be made ready for it".to_owned(),
                ));
            }
        };
        let rendered = render::render(self, &stage, ask).await;
        let browser = &stage.context.browser;
        browser.rendered.fetch_add(1, Ordering::Relaxed);
        // A browser that is gone is counted where that is noticed.
        if matches!(rendered, Err(BrowserError::Crashed(_))) && !browser.is_gone() {
            let crashes = &self.browsers.tally.crashes;
            crashes.fetch_add(1, Ordering::Relaxed);
        }
        rendered
    }

    fn prepare(&self, browser: &Arc<Chromium>) -> Preparing {
        let lease = browser.lease();
        let browsers = Arc::clone(&self.browsers);
        let session = self.session.clone();
        let identity = Arc::clone(&self.identity);
        let deadline = self.deadline;
        Preparing(tokio::spawn(async move {
            let context = browsers
                .context(session.as_ref(), &lease.0, deadline)
                .await?;
            let seeds = session
                .as_ref()
                .map(|session| context.seeds(session))
                .unwrap_or_default();
            let page = Page::open(&context, &identity, seeds, &browsers.options.blocked)
                .await
                .map_err(lost)?;
            Ok(Stage {
                page,
                context,
                _lease: lease,
            })
        }))
    }
}

/// What a failed command means for a page.
pub(super) fn lost(error: CallError) -> BrowserError {
    match error {
        CallError::Late(_) => BrowserError::Timeout(error.to_string()),
        CallError::Gone | CallError::Refused { .. } => BrowserError::Crashed(error.to_string()),
    }
}

/// A page that is lost is tried again if so much time is left.
const RETRY_TIME: Duration = Duration::from_secs(1);
