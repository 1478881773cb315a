//! One page of a context, from its birth until it is closed, which is when it is dropped.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chromiumoxide::Command;
use chromiumoxide::cdp::browser_protocol::page::{
    AddScriptToEvaluateOnNewDocumentParams, GetFrameTreeParams,
    RemoveScriptToEvaluateOnNewDocumentParams, ScriptIdentifier,
};
use chromiumoxide::cdp::browser_protocol::target::{CloseTargetParams, SessionId};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use super::context::Context;
use super::identity::Identity;
use super::link::{Arrival, CallError, Link};
use super::options::Blocked;
use super::setup;
use super::sync::seed::{Fill, Seeds};
use super::sync::storage::{Items, Overlay};
use super::watch::Told;
use crate::session::origin::Origin;
use crate::session::storage::Area;

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    context: Arc<Context>,
    pub(super) session: SessionId,
    pub(super) target: String,
    pub(super) told: Arc<Told>,
    seeding: Mutex<Seeding>,
    /// The script that seeds, while it is there; held while it is replaced.
    script: tokio::sync::Mutex<Option<ScriptIdentifier>>,
}

#[derive(Debug, Default)]
struct Seeding {
    pending: Seeds,
    /// `pending` is not what the script puts.
    stale: bool,
    /// What sessionStorage is known to hold.
    session: HashMap<Origin, Items>,
    /// The URL that it will be sent to, while no document of it was asked for.
    first: Option<String>,
}

impl Page {
    /// Opens an empty page, made ready: it seems to be `identity`, and puts `seeds` into the first documents of their origins.
    ///
    /// # Cancellation
    /// The page is closed.
    pub(super) async fn open(
        context: &Arc<Context>,
        identity: &Identity,
        seeds: Seeds,
        blocked: &[Blocked],
    ) -> Result<Arc<Self>, CallError> {
        let arrival = context.browser.new_page(&context.id).await?;
        let Arrival {
            session,
            target,
            told,
            ..
        } = arrival;
        let script = seeds.script();
        let page = Arc::new(Self {
            context: Arc::clone(context),
            session,
            target,
            told,
            seeding: Mutex::new(Seeding {
                pending: seeds,
                ..Seeding::default()
            }),
            script: tokio::sync::Mutex::default(),
        });
        context.add_page(&page);
        let seeded = async {
            if let Some(source) = script {
                *page.script.lock().await = Some(page.add_script(source).await?);
            }
            Ok(())
        };
        // The script first: the set-up ends by letting the page run.
        let (seeded, ready) = tokio::join!(seeded, setup::make_ready(&page, identity, blocked));
        seeded.and(ready)?;
        Ok(page)
    }

    /// Sends a command at once.
    pub(super) fn call<C: Command>(
        &self,
        command: &C,
        limit: Duration,
    ) -> impl Future<Output = Result<Value, CallError>> + Send + use<C> {
        self.link().call(Some(&self.session), command, limit)
    }

    /// Sends one whose answer nobody waits for.
    pub(super) fn post<C: Command>(&self, command: &C) {
        self.link().post(Some(&self.session), command);
    }

    fn link(&self) -> &Link {
        &self.context.browser.link
    }

    /// It is about to be sent there.
    pub(super) fn will_begin_with(&self, url: &str) {
        self.seeding.lock().first = Some(url.to_owned());
    }

    /// Whether it has had no document yet; once `url` is asked for it has.
    pub(super) fn begins_with(&self, url: &str) -> bool {
        let mut seeding = self.seeding.lock();
        let begins = seeding.first.is_some();
        if seeding.first.as_deref() == Some(url) {
            seeding.first = None;
        }
        begins
    }

    /// Whether its script has something to put.
    pub(super) fn has_seeds(&self) -> bool {
        let pending = &self.seeding.lock().pending;
        !pending.local.is_empty() || !pending.session.is_empty()
    }

    /// A document of `origin` was there: what it was given, of localStorage as the answer.
    pub(super) fn consume(&self, origin: &Origin) -> Option<Fill> {
        let mut seeding = self.seeding.lock();
        if let Some(items) = seeding.pending.session.remove(origin) {
            seeding.session.insert(origin.clone(), items);
            seeding.stale = true;
        }
        let fill = seeding.pending.local.remove(origin);
        seeding.stale |= fill.is_some();
        fill
    }

    /// Another page has put it there.
    pub(super) fn forget_local(&self, origin: &Origin) {
        let mut seeding = self.seeding.lock();
        seeding.stale |= seeding.pending.local.remove(origin).is_some();
    }

    /// What sessionStorage is known to hold, by origins whose documents were there.
    pub(super) fn session_known(
        &self,
    ) -> parking_lot::MappedMutexGuard<'_, HashMap<Origin, Items>> {
        MutexGuard::map(self.seeding.lock(), |seeding| &mut seeding.session)
    }

    /// First parties whose storage was there, and what was heard of it.
    pub(super) fn storage_heard(&self) -> (BTreeSet<Origin>, HashMap<(Origin, Area), Overlay>) {
        let watch = self.told.watch.lock();
        (watch.stored(), watch.overlays.clone())
    }

    /// First parties whose storage was there until now: what is on its way to be told included.
    pub(super) async fn origins_now(&self) -> BTreeSet<Origin> {
        // Answered after all that happened before. A page that hangs begins no further document either.
        if let Err(error) = self.call(&GetFrameTreeParams {}, TREE_LIMIT).await {
            tracing::debug!(%error, "a page does not say which documents it has had");
        }
        self.told.watch.lock().stored()
    }

    /// Has the script put what is still to be put, and no more.
    pub(super) async fn refresh_script(&self) {
        if !self.seeding.lock().stale {
            return;
        }
        let mut script = self.script.lock().await;
        let source = {
            let mut seeding = self.seeding.lock();
            if !std::mem::take(&mut seeding.stale) {
                return;
            }
            seeding.pending.script()
        };
        let removed = script.take().map(|identifier| {
            let params = RemoveScriptToEvaluateOnNewDocumentParams { identifier };
            self.call(&params, SCRIPT_LIMIT)
        });
        let added = async {
            match source {
                Some(source) => self.add_script(source).await.map(Some),
                None => Ok(None),
            }
        };
        let removed = async {
            match removed {
                Some(removed) => removed.await.map(drop),
                None => Ok(()),
            }
        };
        let (removed, added) = tokio::join!(removed, added);
        match removed.and(added) {
            Ok(added) => *script = added,
            Err(error) => tracing::debug!(%error, "a page's seeds could not be replaced"),
        }
    }

    async fn add_script(&self, source: String) -> Result<ScriptIdentifier, CallError> {
        let params = AddScriptToEvaluateOnNewDocumentParams::new(source);
        let added = self.call(&params, SCRIPT_LIMIT).await?;
        let identifier = added["identifier"].as_str().unwrap_or_default();
        Ok(ScriptIdentifier::new(identifier))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let close = CloseTargetParams::new(self.target.clone());
        self.link().post(None, &close);
    }
}

const TREE_LIMIT: Duration = Duration::from_millis(1500);
const SCRIPT_LIMIT: Duration = Duration::from_secs(5);
