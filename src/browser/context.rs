//! A browser context: what of a session is in a browser. It is disposed of with its last owner.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::browser::{
    SetDownloadBehaviorBehavior, SetDownloadBehaviorParams,
};
use chromiumoxide::cdp::browser_protocol::network::CookieParam;
use chromiumoxide::cdp::browser_protocol::storage::{GetCookiesParams, SetCookiesParams};
use chromiumoxide::cdp::browser_protocol::target::{
    CreateBrowserContextParams, DisposeBrowserContextParams,
};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::chromium::Chromium;
use super::error::BrowserError;
use super::link::CallError;
use super::page::Page;
use super::sync::cookies::{self, Changes, Held};
use super::sync::seed::Seeds;
use super::sync::storage::{self, Items, Overlay};
use super::visitor::{Doors, OpenDoor, Visitor};
use crate::clock;
use crate::registry::LiveSession;
use crate::session::origin::Origin;
use crate::session::storage::{Area, StorageDelta};

/// A context, its listener, and what it is known to hold.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) browser: Arc<Chromium>,
    pub(super) id: String,
    pub(super) visitor: Arc<Visitor>,
    /// Closes with it.
    _door: OpenDoor,
    /// Cookies are brought by one page at a time.
    cookies: tokio::sync::Mutex<Held>,
    /// localStorage by origins whose documents have been there.
    local: Mutex<HashMap<Origin, Items>>,
    pages: Mutex<Vec<Weak<Page>>>,
    usage: Mutex<Instant>,
    users: AtomicUsize,
    /// Its session is over: nothing more may be done for it.
    pub(super) over: CancellationToken,
    /// Given back before `freed` is told.
    room: Option<OwnedSemaphorePermit>,
    /// Told when it is not used any more, and when it is gone.
    freed: Arc<Notify>,
}

impl Context {
    /// A new one in `browser`.
    pub(super) async fn open(
        browser: &Arc<Chromium>,
        doors: &dyn Doors,
        visitor: Arc<Visitor>,
        room: OwnedSemaphorePermit,
        freed: &Arc<Notify>,
    ) -> Result<Arc<Self>, BrowserError> {
        let (address, clients) = browser.reach;
        let door = doors
            .open(address, clients, Arc::clone(&visitor))
            .map_err(|error| BrowserError::Start(format!("its listener: {error}")))?;
        let params = CreateBrowserContextParams {
            // A remote browser shall not keep what burdock forgets.
            dispose_on_detach: Some(true),
            proxy_server: Some(door.address.to_string()),
            // Without it loopback would be reached directly.
            proxy_bypass_list: Some("<-loopback>".to_owned()),
            origins_with_universal_network_access: None,
        };
        let made = browser.link.call(None, &params, LIMIT).await;
        let made = made.map_err(|error| BrowserError::Start(error.to_string()))?;
        let id = made["browserContextId"].as_str().unwrap_or_default();
        let context = Arc::new(Self {
            browser: Arc::clone(browser),
            id: id.to_owned(),
            visitor,
            _door: door,
            cookies: tokio::sync::Mutex::default(),
            local: Mutex::default(),
            pages: Mutex::default(),
            usage: Mutex::new(Instant::now()),
            users: AtomicUsize::new(0),
            over: CancellationToken::new(),
            room: Some(room),
            freed: Arc::clone(freed),
        });
        browser.contexts.fetch_add(1, Ordering::SeqCst);
        context.visitor.belong_to(&context);
        let mut downloads = SetDownloadBehaviorParams::new(SetDownloadBehaviorBehavior::Deny);
        downloads.browser_context_id = Some(id.to_owned().into());
        browser.link.post(None, &downloads);
        Ok(context)
    }

    /// Whether pages may still be opened in it.
    pub(super) fn is_usable(&self) -> bool {
        !self.browser.is_gone() && !self.browser.is_draining() && !self.over.is_cancelled()
    }

    /// When it was last used; none: it is, now.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.users.load(Ordering::SeqCst) == 0).then(|| *self.usage.lock())
    }

    /// Keeps it from being evicted.
    pub(super) fn hold(self: &Arc<Self>) -> InUse {
        self.users.fetch_add(1, Ordering::SeqCst);
        InUse(Arc::clone(self))
    }

    /// What a new page has to be given of `session`.
    pub(super) fn seeds(&self, session: &LiveSession) -> Seeds {
        let local = self.local.lock();
        storage::seeds(&session.state().storage, &local)
    }

    pub(super) fn add_page(&self, page: &Arc<Page>) {
        let mut pages = self.pages.lock();
        pages.retain(|page| page.strong_count() > 0);
        pages.push(Arc::downgrade(page));
    }

    /// Makes the context hold the cookies that the session does.
    pub(super) async fn bring_cookies(&self, session: &LiveSession) -> Result<(), CallError> {
        let mut held = self.cookies.lock().await;
        let mut plan = held.plan(&session.state().jar, clock::now());
        if plan.params.is_empty() {
            return Ok(());
        }
        let params = std::mem::take(&mut plan.params);
        let (set, mut shown) = tokio::join!(self.set_cookies(params.clone()), self.cookies_shown());
        match set {
            // All or nothing: one that Chromium does not like refuses them all.
            Err(CallError::Refused { .. }) => {
                let each = params
                    .into_iter()
                    .map(|param| self.set_cookies(vec![param]));
                for refused in join_all(each).await {
                    if let Err(error) = refused {
                        tracing::debug!(%error, "a cookie of the session is none to the browser");
                    }
                }
                shown = self.cookies_shown().await;
            }
            set => set?,
        }
        held.settle(plan, shown?);
        Ok(())
    }

    /// What pages did to the cookies since the last look.
    pub(super) async fn take_cookies(&self) -> Result<Changes, CallError> {
        let mut held = self.cookies.lock().await;
        let shown = self.cookies_shown().await?;
        Ok(held.changes(shown))
    }

    fn set_cookies(
        &self,
        cookies: Vec<CookieParam>,
    ) -> impl Future<Output = Result<(), CallError>> + use<> {
        let params = SetCookiesParams {
            cookies,
            browser_context_id: Some(self.id.clone().into()),
        };
        let call = self.browser.link.call(None, &params, LIMIT);
        async move { call.await.map(drop) }
    }

    async fn cookies_shown(&self) -> Result<Vec<crate::session::jar::Cookie>, CallError> {
        let params = GetCookiesParams {
            browser_context_id: Some(self.id.clone().into()),
        };
        let answer = self.browser.link.call(None, &params, LIMIT).await?;
        Ok(cookies::read(&answer, clock::now()))
    }

    /// Documents of these origins have been in `page`: what it had for them is there now, and no page must put it there again.
    pub(super) fn consume(&self, page: &Page, origins: &BTreeSet<Origin>) {
        let pages = self.live_pages();
        let mut local = self.local.lock();
        for origin in origins {
            let fill = page.consume(origin);
            let known = fill.map(|fill| fill.result().clone());
            match known {
                Some(known) => {
                    local.insert(origin.clone(), known);
                    for other in &pages {
                        other.forget_local(origin);
                    }
                }
                None => {
                    local.entry(origin.clone()).or_default();
                }
            }
        }
    }

    /// What `page` has changed of first-party storage, by what was read and heard of it; takes note of it.
    pub(super) fn take_storage(
        &self,
        page: &Page,
        mut read: HashMap<(Origin, Area), Items>,
    ) -> StorageDelta {
        let (committed, mut overlays) = page.storage_heard();
        self.consume(page, &committed);
        let mut delta = StorageDelta::default();
        let mut local = self.local.lock();
        let mut session = page.session_known();
        for origin in committed {
            for area in [Area::LocalStorage, Area::SessionStorage] {
                let at = (origin.clone(), area);
                let read = read.remove(&at);
                let heard = overlays.remove(&at);
                if read.is_none() && heard.is_none() {
                    continue;
                }
                let known = match area {
                    Area::LocalStorage => local.entry(origin.clone()).or_default(),
                    Area::SessionStorage => session.entry(origin.clone()).or_default(),
                };
                let heard: Overlay = heard.unwrap_or_default();
                let result = heard.result(known, read);
                storage::difference(&mut delta, &origin, area, known, &result);
                *known = result;
            }
        }
        delta
    }

    /// A document of `url` is about to be answered to the browser: what must not be put into pages again goes out of their scripts.
    pub(super) async fn before_document(&self, url: &Url) {
        let pages = self.live_pages();
        let mut name = url.clone();
        name.set_fragment(None);
        // The page that this is the first document of has had none that could have taken anything.
        let looked_at: Vec<&Arc<Page>> = pages
            .iter()
            .filter(|page| !page.begins_with(name.as_str()) && page.has_seeds())
            .collect();
        let found = join_all(looked_at.iter().map(|page| page.origins_now())).await;
        for (page, origins) in looked_at.into_iter().zip(found) {
            self.consume(page, &origins);
        }
        join_all(pages.iter().map(|page| page.refresh_script())).await;
    }

    fn live_pages(&self) -> Vec<Arc<Page>> {
        self.pages.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let params = DisposeBrowserContextParams::new(self.id.clone());
        self.browser.link.post(None, &params);
        self.browser.contexts.fetch_sub(1, Ordering::SeqCst);
        self.room = None;
        self.freed.notify_waiters();
    }
}

/// Somebody uses a context.
#[derive(Debug)]
pub(super) struct InUse(Arc<Context>);

impl std::ops::Deref for InUse {
    type Target = Arc<Context>;

    fn deref(&self) -> &Arc<Context> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        *self.0.usage.lock() = Instant::now();
        self.0.users.fetch_sub(1, Ordering::SeqCst);
        self.0.freed.notify_waiters();
    }
}

const LIMIT: Duration = Duration::from_secs(5);
