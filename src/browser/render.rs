//! One document becomes one page: it is opened, waited for, read, and what it changed is kept.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::page::{NavigateParams, StopLoadingParams};
use chromiumoxide::cdp::js_protocol::runtime::TerminateExecutionParams;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use url::Url;

use super::document::{Ask, Rendered};
use super::error::BrowserError;
use super::link::CallError;
use super::options::{Wait, WaitUntil};
use super::page::Page;
use super::read::{self, Dom, Found, MAX_HTML};
use super::slot::{Slot, Stage, lost};
use super::sync::storage;
use super::watch::{Over, Ready, Told};
use crate::clock;
use crate::registry;

/// Renders `ask` on `stage`.
pub(super) async fn render(
    slot: &Slot,
    stage: &Stage,
    ask: &Ask,
) -> Result<Rendered, BrowserError> {
    if !matches!(ask.url.scheme(), "http" | "https") {
        return Err(BrowserError::Navigation(format!(
            "`{}:` is not for browsers",
            ask.url.scheme()
        )));
    }
    let Stage { page, context, .. } = stage;
    let mut name = ask.url.clone();
    name.set_fragment(None);
    context.visitor.set_identity(slot.identity.context_fields());
    if let Some(session) = &slot.session {
        context.bring_cookies(session).await.map_err(lost)?;
    }
    let offer = context.visitor.offer(
        name.as_str().to_owned(),
        Arc::new(ask.document.for_browser()),
    );
    page.will_begin_with(name.as_str());
    let first = OnceLock::new();
    let wait = ask
        .wait
        .clone()
        .unwrap_or(Wait::Until(slot.browsers.options.wait_until));
    let partial = tokio::select! {
        biased;
        error = end(&page.told) => return Err(error),
        () = context.over.cancelled() => {
            return Err(BrowserError::Navigation("its session is over".to_owned()));
        }
        opened = open(page, ask, &wait, &first) => {
            opened?;
            false
        }
        () = sleep_until(ask.deadline) => true,
    };
    drop(offer);
    if page.told.watch.lock().document.is_none() {
        return Err(BrowserError::Timeout(
            "the document was not opened".to_owned(),
        ));
    }
    let dom = tokio::select! {
        biased;
        dom = dom(page, ask, partial) => dom,
        error = end(&page.told) => Err(error),
    };
    // Also where the page itself could not be read: what it did is not undone by that.
    let (dom, stored) = keep(slot, stage, dom).await;
    let (dom, forced) = dom?;
    stored?;
    let html = dom
        .html
        .filter(|html| html.len() <= MAX_HTML)
        .ok_or(BrowserError::TooLarge(MAX_HTML / 1024 / 1024))?;
    let until = ask.deadline.max(Instant::now() + PICTURE_TIME);
    let shot = match ask.shot {
        Some(shot) => read::picture(page, shot, until)
            .await
            .inspect_err(|error| tracing::warn!(%error, "a page could not be pictured"))
            .ok(),
        None => None,
    };
    if let Some(session) = &slot.session
        && slot.browsers.options.thumbnails
    {
        match read::thumbnail(page, slot.identity.viewport, until).await {
            Ok(picture) => {
                *slot.browsers.seat(session).thumbnail.lock() = Some(picture);
            }
            Err(error) => tracing::debug!(%error, "a page has no thumbnail"),
        }
    }
    let watch = page.told.watch.lock();
    let url = [
        Some(dom.url.as_str()),
        watch.document.as_ref().map(|document| &*document.url),
    ]
    .into_iter()
    .flatten()
    .filter_map(|url| Url::parse(url).ok())
    .find(|url| matches!(url.scheme(), "http" | "https"));
    Ok(Rendered {
        html,
        url: url.unwrap_or_else(|| ask.url.clone()),
        later: watch.later(first.get().map(String::as_str)),
        partial: partial || forced,
        shot,
    })
}

/// Sends the page to its document and waits for what is to be waited for. `first` becomes the navigation's loader.
async fn open(
    page: &Page,
    ask: &Ask,
    wait: &Wait,
    first: &OnceLock<String>,
) -> Result<(), BrowserError> {
    let limit = ask.deadline.saturating_duration_since(Instant::now()) + NAVIGATION_GRACE;
    let said = page
        .call(&NavigateParams::new(ask.url.as_str()), limit)
        .await
        .map_err(lost)?;
    if let Some(loader) = said["loaderId"].as_str() {
        first.get_or_init(|| loader.to_owned());
    }
    match said["errorText"].as_str() {
        // A script was quicker, and led elsewhere.
        Some("net::ERR_ABORTED") if page.told.watch.lock().document.is_some() => {}
        Some(error) if !error.is_empty() => {
            return Err(BrowserError::Navigation(error.to_owned()));
        }
        _ => {}
    }
    match wait {
        Wait::Until(until) => reached(&page.told, *until).await,
        Wait::For(time) => {
            reached(&page.told, WaitUntil::DomContentLoaded).await;
            sleep(*time).await;
        }
        Wait::Selector(selector) => loop {
            match read::element(page, selector, ask.deadline).await {
                Ok(Found::Yes) => break,
                Ok(Found::NoSelector) => {
                    return Err(BrowserError::Selector(selector.clone()));
                }
                // Its document was left, or none is there yet.
                Err(error) => {
                    tracing::debug!(%error, "an element is looked for again");
                    sleep(SELECTOR_PAUSE).await;
                }
            }
        },
    }
    Ok(())
}

/// Waits until the page has come so far.
async fn reached(told: &Told, until: WaitUntil) {
    loop {
        let mut changed = pin!(told.changed.notified());
        // Before the look, so that what happens in between is not missed.
        changed.as_mut().enable();
        let ready = told.watch.lock().ready(until, Instant::now());
        match ready {
            Ready::Now => return,
            // Whether it was in time or not, there is another look.
            Ready::At(at) => drop(timeout_at(at, changed).await),
            Ready::Later => changed.await,
        }
    }
}

/// Waits until the page is no more, or shows that its document could not be opened.
async fn end(told: &Told) -> BrowserError {
    loop {
        let mut changed = pin!(told.changed.notified());
        changed.as_mut().enable();
        {
            let watch = told.watch.lock();
            match watch.over {
                Some(Over::Crashed) => {
                    return BrowserError::Crashed("its renderer or browser ended".to_owned());
                }
                Some(Over::Closed) => {
                    return BrowserError::Navigation("the page closed itself".to_owned());
                }
                None => {}
            }
            if let Some(failed) = watch.document.as_ref().filter(|document| document.is_error) {
                return BrowserError::Navigation(format!("nothing came of `{}`", failed.url));
            }
        }
        changed.await;
    }
}

/// Reads the page; whether that took force.
async fn dom(page: &Page, ask: &Ask, partial: bool) -> Result<(Dom, bool), BrowserError> {
    if page.told.watch.lock().is_loading() {
        page.post(&StopLoadingParams {});
    }
    let patience = Instant::now() + FIRST_LOOK;
    let until = match partial {
        true => patience,
        false => patience.max(ask.deadline),
    };
    let mut failed = match read::dom(page, until).await {
        Ok(dom) => return Ok((dom, false)),
        Err(error) => error,
    };
    for _ in 0..FORCED_LOOKS {
        if matches!(failed, CallError::Late(_)) {
            // Of a script that never ends.
            page.post(&TerminateExecutionParams {});
        }
        match read::dom(page, Instant::now() + FORCED_LOOK).await {
            Ok(dom) => return Ok((dom, true)),
            Err(CallError::Gone) => return Err(lost(CallError::Gone)),
            Err(error) => failed = error,
        }
    }
    Err(BrowserError::Timeout(failed.to_string()))
}

/// Brings what the page changed into its session, and waits for the session's store.
async fn keep(
    slot: &Slot,
    stage: &Stage,
    mut dom: Result<(Dom, bool), BrowserError>,
) -> (Result<(Dom, bool), BrowserError>, Result<(), BrowserError>) {
    let Some(session) = &slot.session else {
        return (dom, Ok(()));
    };
    let Stage { page, context, .. } = stage;
    let mut read = match &mut dom {
        Ok((dom, _)) => dom.storage(),
        Err(_) => std::collections::HashMap::new(),
    };
    let frames = page.told.watch.lock().first_party_frames();
    let (others, cookies) = tokio::join!(
        async {
            match dom.is_ok() && !frames.is_empty() {
                true => read::storage(page, frames, FRAMES_TIME).await,
                false => std::collections::HashMap::new(),
            }
        },
        context.take_cookies()
    );
    read.extend(others);
    let items = context.take_storage(page, read);
    let changes = match cookies {
        Ok(changes) => changes,
        Err(error) => return (dom, Err(lost(error))),
    };
    if changes.is_empty() && items.is_empty() {
        return (dom, Ok(()));
    }
    let now = clock::now();
    let number = session.change_state(|jar, stored| {
        let changes = changes.news(jar);
        let mut cookies = jar.put(changes.put, now);
        if !changes.removed.is_empty() {
            cookies = cookies.then(jar.remove_keys(changes.removed, now));
        }
        let (items, left_out) = storage::fit(items, stored);
        if left_out > 0 {
            tracing::warn!(
                session = %session.id(),
                left_out,
                "a page stored more than a session may keep"
            );
        }
        (cookies, items)
    });
    let stored = registry::commit(session, number).await;
    (dom, stored.map_err(BrowserError::from))
}

const NAVIGATION_GRACE: Duration = Duration::from_secs(5);
const SELECTOR_PAUSE: Duration = Duration::from_millis(50);
/// A page that answers at all does so within this time.
const FIRST_LOOK: Duration = Duration::from_millis(700);
const FORCED_LOOKS: usize = 3;
const FORCED_LOOK: Duration = Duration::from_millis(700);
const FRAMES_TIME: Duration = Duration::from_millis(500);
const PICTURE_TIME: Duration = Duration::from_millis(700);
