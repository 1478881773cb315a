//! The browsers that run: started when they are needed, replaced when they are old, forgotten when they are gone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::chromium::Chromium;
use super::error::BrowserError;
use super::executable;
use super::options::Options;
use super::visitor::Doors;

/// All browsers.
#[derive(Debug)]
pub(super) struct Fleet {
    options: Options,
    doors: Arc<dyn Doors>,
    browsers: Mutex<Vec<Arc<Chromium>>>,
    /// One is started at a time.
    starting: tokio::sync::Mutex<()>,
    trouble: Mutex<Option<Trouble>>,
    pub(super) crashes: AtomicU64,
    pub(super) recycled: AtomicU64,
    closing: CancellationToken,
}

/// The last start failed, which is not tried again at once.
#[derive(Debug)]
struct Trouble {
    error: String,
    until: Instant,
    pause: Duration,
}

impl Fleet {
    pub(super) fn new(options: Options, doors: Arc<dyn Doors>) -> Arc<Self> {
        Arc::new(Self {
            options,
            doors,
            browsers: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            trouble: Mutex::default(),
            crashes: AtomicU64::new(0),
            recycled: AtomicU64::new(0),
            closing: CancellationToken::new(),
        })
    }

    /// The program of our own browsers.
    pub(super) fn executable(&self) -> Result<PathBuf, BrowserError> {
        executable::find(self.options.executable.as_deref())
    }

    /// The browser for a new context: the one with the fewest pages, or a new one where all have their share.
    ///
    /// # Cancellation
    /// A start that has begun goes on.
    pub(super) async fn choose(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<Arc<Chromium>, BrowserError> {
        loop {
            if let Some(browser) = self.pick() {
                return Ok(browser);
            }
            let fleet = Arc::clone(self);
            let started = tokio::spawn(async move {
                let _one = fleet.starting.lock().await;
                match fleet.pick() {
                    Some(_) => Ok(()),
                    None => fleet.start_one().await,
                }
            });
            let why = match timeout_at(deadline, started).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(error))) => error,
                Ok(Err(defect)) => BrowserError::Start(defect.to_string()),
                Err(_) => BrowserError::Start("it did not start in time".to_owned()),
            };
            // A fuller one is better than none.
            return self.least().ok_or(why);
        }
    }

    /// Starts `count` browsers before anybody asks.
    pub(super) async fn warm(self: &Arc<Self>, count: usize) {
        for _ in 0..count.min(self.most()) {
            let _one = self.starting.lock().await;
            if self.fit().len() < count
                && let Err(error) = self.start_one().await
            {
                tracing::warn!(%error, "a browser that was to be warm did not start");
                return;
            }
        }
    }

    /// Lets old browsers take no further contexts, and ends those that have no page any more.
    pub(super) fn tend(&self) {
        let all = self.browsers.lock().clone();
        for browser in all {
            if !browser.is_draining() && browser.is_old(&self.options) && browser.drain() {
                tracing::info!(pid = browser.pid(), "a browser is replaced by a new one");
                self.recycled.fetch_add(1, Ordering::Relaxed);
            }
            if browser.is_draining() && browser.pages.load(Ordering::SeqCst) == 0 {
                browser.end();
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Chromium>> {
        self.browsers.lock().clone()
    }

    /// Ends all and waits for that.
    pub(super) async fn close(&self, limit: Duration) {
        self.closing.cancel();
        let deadline = Instant::now() + limit;
        // One that is being started is in the list when this can be had.
        let starting = timeout_at(deadline, self.starting.lock()).await;
        let all = std::mem::take(&mut *self.browsers.lock());
        for browser in &all {
            browser.end();
        }
        for browser in &all {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, browser.ended()).await.is_err() {
                tracing::warn!(pid = browser.pid(), "a browser did not end in time");
            }
        }
        drop(starting);
    }

    fn pick(&self) -> Option<Arc<Chromium>> {
        let fit = self.fit();
        let least = fit
            .iter()
            .min_by_key(|browser| browser.pages.load(Ordering::SeqCst))?;
        let share = self.options.max_pages.div_ceil(self.most());
        let is_full = least.pages.load(Ordering::SeqCst) >= share;
        (!is_full || fit.len() >= self.most()).then(|| Arc::clone(least))
    }

    fn least(&self) -> Option<Arc<Chromium>> {
        let fit = self.fit().into_iter();
        fit.min_by_key(|browser| browser.pages.load(Ordering::SeqCst))
    }

    fn fit(&self) -> Vec<Arc<Chromium>> {
        let all = self.browsers.lock();
        all.iter()
            .filter(|browser| !browser.is_draining() && !browser.is_gone())
            .cloned()
            .collect()
    }

    fn most(&self) -> usize {
        match self.options.endpoints.len() {
            0 => self.options.max_browsers.max(1),
            remote => remote,
        }
    }

    async fn start_one(self: &Arc<Self>) -> Result<(), BrowserError> {
        if self.closing.is_cancelled() {
            return Err(BrowserError::Start("burdock is ending".to_owned()));
        }
        if let Some(trouble) = &*self.trouble.lock()
            && trouble.until > Instant::now()
        {
            return Err(BrowserError::Start(trouble.error.clone()));
        }
        let started = match self.next_endpoint() {
            Some(endpoint) => Chromium::connect(&endpoint, &*self.doors).await,
            None => Chromium::start(&self.executable()?, &self.options, &*self.doors).await,
        };
        match started {
            Ok(browser) => {
                *self.trouble.lock() = None;
                self.browsers.lock().push(Arc::clone(&browser));
                tokio::spawn(watch(
                    Arc::downgrade(self),
                    Arc::downgrade(&browser),
                    browser.link.closed().clone(),
                ));
                Ok(())
            }
            Err(error) => {
                let mut trouble = self.trouble.lock();
                let pause = trouble
                    .as_ref()
                    .map_or(PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
                *trouble = Some(Trouble {
                    error: error.clone(),
                    until: Instant::now() + pause,
                    pause,
                });
                Err(BrowserError::Start(error))
            }
        }
    }

    /// A remote browser that is not connected.
    fn next_endpoint(&self) -> Option<String> {
        let all = self.browsers.lock();
        let is_free = |endpoint: &&String| {
            !all.iter()
                .any(|browser| browser.endpoint.as_ref() == Some(*endpoint) && !browser.is_gone())
        };
        let mut endpoints = self.options.endpoints.iter();
        endpoints
            .find(is_free)
            .or(self.options.endpoints.first())
            .cloned()
    }
}

/// Forgets a browser when it is gone.
async fn watch(fleet: Weak<Fleet>, browser: Weak<Chromium>, gone: CancellationToken) {
    gone.cancelled().await;
    let Some(browser) = browser.upgrade() else {
        return;
    };
    // Of a process only the wire may have broken.
    browser.end();
    let Some(fleet) = fleet.upgrade() else {
        return;
    };
    fleet
        .browsers
        .lock()
        .retain(|other| !Arc::ptr_eq(other, &browser));
    if !browser.is_draining() && !fleet.closing.is_cancelled() {
        fleet.crashes.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            pid = browser.pid(),
            endpoint = browser.endpoint,
            "a browser is gone, and all its contexts"
        );
    }
}

const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
