//! The places of pages, and the contexts of sessions.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::chromium::Chromium;
use super::context::{Context, InUse};
use super::error::BrowserError;
use super::fleet::Fleet;
use super::identity::Identity;
use super::options::Options;
use super::profile;
use super::seat::Seat;
use super::slot::Slot;
use super::status::{BrowserStatus, Counts, Status, Tally};
use super::visitor::{Doors, Visitor};
use crate::registry::LiveSession;
use crate::session::settings::BrowserSettings;
use crate::upstream::{Pool, Terms};

/// All browsers of a burdock, and who is in them.
#[derive(Debug)]
pub struct Browsers {
    pub(super) options: Options,
    doors: Arc<dyn Doors>,
    terms: Arc<Terms>,
    pub(super) fleet: Arc<Fleet>,
    /// One for each page that may render at once.
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// One for each context that may live at once.
    room: Arc<Semaphore>,
    /// Contexts of sessions, to evict from.
    live: Mutex<Vec<(Weak<Seat>, Weak<Context>)>>,
    /// Held while a session gets its seat, so that it gets one.
    seating: Mutex<()>,
    /// A context is not used any more, or gone.
    freed: Arc<Notify>,
    pub(super) tally: Tally,
    tended: Once,
    closing: CancellationToken,
}

impl Browsers {
    /// Starts no browser before one is needed or [`Self::start`] is called.
    pub fn new(options: Options, doors: Arc<dyn Doors>, terms: Arc<Terms>) -> Arc<Self> {
        Arc::new(Self {
            fleet: Fleet::new(options.clone(), Arc::clone(&doors)),
            places: Arc::new(Semaphore::new(options.max_pages.max(1))),
            room: Arc::new(Semaphore::new(options.max_contexts.max(1))),
            options,
            doors,
            terms,
            waiting: AtomicUsize::new(0),
            live: Mutex::default(),
            seating: Mutex::new(()),
            freed: Arc::new(Notify::new()),
            tally: Tally::default(),
            tended: Once::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Sweeps what browsers of dead burdocks left behind, and starts those that are to be warm.
    pub async fn start(self: &Arc<Self>) {
        match tokio::task::spawn_blocking(profile::sweep).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "profiles of dead browsers were removed"),
            Err(error) => tracing::warn!(%error, "profiles of dead browsers were not swept"),
        }
        if self.options.enabled {
            self.tend();
            self.fleet.warm(self.options.warm).await;
        }
    }

    /// Takes one of `max_pages` places, first come first served, until `deadline`; starts a browser if there is none. A page is made
    /// ready meanwhile, for whoever fetches the document.
    ///
    /// # Errors
    /// [`BrowserError`] where there is no browser, or no place in time.
    ///
    /// # Cancellation
    /// The place in line is given up.
    pub async fn reserve(
        self: &Arc<Self>,
        session: Option<&Arc<LiveSession>>,
        client_agent: Option<&str>,
        deadline: Instant,
    ) -> Result<Slot, BrowserError> {
        if !self.options.enabled {
            return Err(BrowserError::Disabled);
        }
        if self.options.endpoints.is_empty() {
            self.executable()?;
        }
        self.tend();
        let place = self.place(deadline).await?;
        let browser = self.browser_for(session, deadline).await?;
        let settings = session.map(|session| session.settings());
        let agent = session.and_then(|session| session.profile().user_agent.clone());
        let identity = Identity::of(
            settings
                .as_ref()
                .map_or(&BrowserSettings::default(), |settings| &settings.browser),
            agent.as_ref().and_then(|agent| agent.to_str().ok()),
            client_agent,
            &browser.own(),
        );
        let session = session.cloned();
        Ok(Slot::new(
            Arc::clone(self),
            place,
            session,
            identity,
            &browser,
            deadline,
        ))
    }

    /// What there is.
    pub fn status(&self) -> Status {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let browsers = self.fleet.all();
        Status {
            browsers: browsers
                .iter()
                .map(|browser| BrowserStatus::of(browser))
                .collect(),
            contexts: self
                .options
                .max_contexts
                .max(1)
                .saturating_sub(self.room.available_permits()),
            pages: self
                .options
                .max_pages
                .max(1)
                .saturating_sub(self.places.available_permits()),
            waiting: self.waiting.load(Ordering::Relaxed),
            counters: Counts {
                admitted: count(&self.tally.admitted),
                answered: count(&self.tally.answered),
                failed: count(&self.tally.failed),
                crashes: count(&self.tally.crashes) + count(&self.fleet.crashes),
                recycled: count(&self.fleet.recycled),
            },
        }
    }

    /// The program that is started for a browser of our own.
    ///
    /// # Errors
    /// [`BrowserError::Missing`] where there is none, [`BrowserError::Start`] where the configured one is none.
    pub fn executable(&self) -> Result<PathBuf, BrowserError> {
        self.fleet.executable()
    }

    /// The last picture of a session's pages, a JPEG 640 pixels wide, if pictures are taken.
    pub fn thumbnail(&self, session: &LiveSession) -> Option<Bytes> {
        session.attachment::<Seat>()?.thumbnail.lock().clone()
    }

    /// Ends all browsers, within 5 seconds.
    pub async fn close(&self) {
        self.closing.cancel();
        self.places.close();
        self.fleet.close(CLOSE_LIMIT).await;
    }

    async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, BrowserError> {
        let _waiting = Counted::new(&self.waiting);
        let place = timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await;
        match place {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(BrowserError::Start("burdock is ending".to_owned())),
            Err(_) => Err(BrowserError::Busy {
                pages: self.options.max_pages,
            }),
        }
    }

    /// The browser that has the session's context, or the one to make it in.
    pub(super) async fn browser_for(
        &self,
        session: Option<&Arc<LiveSession>>,
        deadline: Instant,
    ) -> Result<Arc<Chromium>, BrowserError> {
        let seat = session.and_then(|session| session.attachment::<Seat>());
        match seat.and_then(|seat| seat.context()) {
            Some(context) => Ok(Arc::clone(&context.browser)),
            None => self.fleet.choose(deadline).await,
        }
    }

    /// The session's context, or a new one in `browser`.
    pub(super) async fn context(
        &self,
        session: Option<&Arc<LiveSession>>,
        browser: &Arc<Chromium>,
        deadline: Instant,
    ) -> Result<InUse, BrowserError> {
        let Some(session) = session else {
            let visitor = Visitor::new(None, Pool::new(&self.terms));
            let context = self.open(browser, visitor, deadline).await?;
            return Ok(context.hold());
        };
        let seat = self.seat(session);
        let _one = seat.making.lock().await;
        if let Some(context) = seat.context() {
            return Ok(context);
        }
        let visitor = Visitor::new(Some(session), Arc::clone(session.pool()));
        let context = self.open(browser, visitor, deadline).await?;
        let mut live = self.live.lock();
        live.retain(|(_, context)| context.strong_count() > 0);
        live.push((Arc::downgrade(&seat), Arc::downgrade(&context)));
        drop(live);
        Ok(seat.put(&context))
    }

    /// Where pictures of the session are kept.
    pub(super) fn seat(&self, session: &Arc<LiveSession>) -> Arc<Seat> {
        let _one = self.seating.lock();
        session.attachment::<Seat>().unwrap_or_else(|| {
            let seat = Arc::<Seat>::default();
            session.attach(Arc::<Seat>::clone(&seat));
            seat
        })
    }

    async fn open(
        &self,
        browser: &Arc<Chromium>,
        visitor: Arc<Visitor>,
        deadline: Instant,
    ) -> Result<Arc<Context>, BrowserError> {
        let room = self.make_room(deadline).await?;
        Context::open(browser, &*self.doors, visitor, room, &self.freed).await
    }

    /// Room for one more context: the one that was idle longest gives way.
    async fn make_room(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, BrowserError> {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Before the look, so that what is freed in between is not missed.
            freed.as_mut().enable();
            if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
                return Ok(room);
            }
            if self.evict(|_, _| true, 1) > 0 {
                continue;
            }
            if timeout_at(deadline, freed).await.is_err() {
                return Err(BrowserError::Start(format!(
                    "all {} contexts (`browser.max_contexts`) were in use for as long as a page may take",
                    self.options.max_contexts
                )));
            }
        }
    }

    /// Closes up to `most` idle contexts that are `meant`, the one that was idle longest first; says how many.
    fn evict(&self, meant: impl Fn(&Context, Instant) -> bool, most: usize) -> usize {
        let mut idle: Vec<(Instant, Arc<Seat>, Arc<Context>)> = {
            let mut live = self.live.lock();
            live.retain(|(_, context)| context.strong_count() > 0);
            let upgraded = live
                .iter()
                .filter_map(|(seat, context)| Some((seat.upgrade()?, context.upgrade()?)));
            upgraded
                .filter_map(|(seat, context)| Some((context.idle_since()?, seat, context)))
                .filter(|(since, _, context)| meant(context, *since))
                .collect()
        };
        idle.sort_by_key(|(since, ..)| *since);
        idle.truncate(most);
        idle.iter()
            .filter(|(_, seat, context)| seat.vacate(context))
            .count()
    }

    /// Closes contexts that nobody used for long or whose browser is old, and replaces old browsers.
    pub(super) fn sweep(&self) {
        self.fleet.tend();
        let limit = self.options.context_idle_timeout;
        self.evict(
            |context, since| since.elapsed() >= limit || !context.is_usable(),
            usize::MAX,
        );
    }

    /// Has it swept every second, from the first time on.
    fn tend(self: &Arc<Self>) {
        self.tended.call_once(|| {
            let browsers = Arc::downgrade(self);
            let closing = self.closing.clone();
            tokio::spawn(async move {
                while closing
                    .run_until_cancelled(sleep(SWEEP_INTERVAL))
                    .await
                    .is_some()
                {
                    let Some(browsers) = browsers.upgrade() else {
                        return;
                    };
                    browsers.sweep();
                }
            });
        });
    }
}

/// Counted while it lasts.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const CLOSE_LIMIT: Duration = Duration::from_secs(5);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
