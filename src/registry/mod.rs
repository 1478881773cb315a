//! The sessions in use in this process: loaded once, expired on time, bounded in number.

mod gate;
mod lease;
mod live;
mod turns;
mod view;
mod writeback;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::gate::{Denied, Gate, Permit, Refused};
pub use self::live::{Attachment, Defaults, LiveSession, Profile, Seed, State, Visit};
use self::turns::Turns;
pub use self::view::SessionView;
use self::writeback::Dirty;
pub use self::writeback::commit;
use crate::adapters::{Adapter, Change, Created, DEADLINE, Freshness, Query, StoreError};
use crate::clock;
use crate::fault::{Fault, Kind};
use crate::session::id::SessionId;
use crate::session::record::{Generation, Record};
use crate::session::settings::Settings;
use crate::session::time::Timestamp;
use crate::upstream::egress::Proxy;
use crate::upstream::{self, Pool};

/// All sessions of this process.
///
/// Capacity: live sessions are at most [`Options::max_active`], plus those of other processes that are used here; one that
/// nobody has used for [`UNLOAD_AFTER`] is unloaded.
#[derive(Debug)]
pub struct Registry {
    adapters: Vec<Arc<dyn Adapter>>,
    default_adapter: usize,
    options: Options,
    /// Read-mostly: a request of a loaded session takes no lock to find it.
    live: papaya::HashMap<SessionId, Arc<LiveSession>>,
    turns: Turns,
    dirty: mpsc::UnboundedSender<Arc<LiveSession>>,
    /// How many sessions each adapter had when it was last asked; for while it does not answer.
    counts: Vec<AtomicU64>,
}

/// What governs the sessions of a registry.
#[derive(Clone, Debug)]
pub struct Options {
    /// What sessions get that set nothing themselves.
    pub settings: Settings,
    /// The defaults of requests: user agent policy and limits.
    pub defaults: Defaults,
    /// `sessions.max_active_sessions`.
    pub max_active: u64,
    /// `sessions.on_unknown`: whether a request that names an unknown session makes it.
    pub on_unknown: OnUnknown,
    /// What bounds the connections of a session.
    pub pool: Arc<upstream::Terms>,
}

/// What becomes of a request that names a session which does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// The session is made.
    Create,
    /// 404 `unknown-session`.
    Reject,
}

/// Why there is no session to work with.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is none of that id, and requests do not make one.
    #[error("session `{0}` does not exist (`sessions.on_unknown = \"reject\"`)")]
    Unknown(SessionId),
    /// There is one of that id already.
    #[error("session `{0}` exists")]
    Conflict(SessionId),
    /// No adapter of that name is configured.
    #[error("adapter `{0}` is not configured")]
    NoAdapter(String),
    /// There are as many as there may be.
    #[error("{limit} sessions are active, as many as `sessions.max_active_sessions` allows")]
    TooMany {
        /// The bound.
        limit: u64,
        /// When there may be room.
        until: Option<Timestamp>,
    },
    /// A store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A page of sessions, in the order of their ids.
#[derive(Debug)]
pub struct Page {
    /// The sessions.
    pub sessions: Vec<SessionView>,
    /// Where the next page begins, if there is one.
    pub next: Option<SessionId>,
    /// The stores that did not answer, whose sessions are missing.
    pub silent: Vec<StoreError>,
}

/// A session that nobody has used for so long is unloaded: its store keeps it, its connections close.
pub const UNLOAD_AFTER: Duration = Duration::from_secs(600);

/// How often touches and counters are told to the stores.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How often idle connections are looked at.
const SWEEP_POOLS_EVERY: Duration = Duration::from_secs(5);

impl Registry {
    /// A registry over these adapters, the first being the default; and the work that runs beside it, to be run until
    /// it ends.
    pub fn new(
        adapters: Vec<Arc<dyn Adapter>>,
        default_adapter: &str,
        options: Options,
    ) -> Result<(Arc<Self>, Upkeep), RegistryError> {
        let default_adapter = adapters
            .iter()
            .position(|adapter| adapter.name() == default_adapter)
            .ok_or_else(|| RegistryError::NoAdapter(default_adapter.to_owned()))?;
        let (dirty, queue) = mpsc::unbounded_channel();
        let changes = adapters
            .iter()
            .enumerate()
            .filter_map(|(at, adapter)| {
                let (tell, changes) = mpsc::unbounded_channel();
                adapter.shared()?.subscribe(tell);
                Some((at, changes))
            })
            .collect();
        let registry = Arc::new(Self {
            counts: adapters.iter().map(|_| AtomicU64::new(0)).collect(),
            adapters,
            default_adapter,
            options,
            live: papaya::HashMap::new(),
            turns: Turns::default(),
            dirty,
        });
        let upkeep = Upkeep {
            registry: Arc::clone(&registry),
            queue,
            changes,
        };
        Ok((registry, upkeep))
    }

    /// The session of a request, its expiry moved; made if it does not exist and may be, with `ttl` where the request names one.
    ///
    /// A loaded session is had without waiting.
    ///
    /// # Errors
    /// [`RegistryError`], of every kind but a conflict.
    pub async fn visit(
        &self,
        id: &SessionId,
        ttl: Option<Duration>,
    ) -> Result<Visit, RegistryError> {
        let now = clock::now();
        let visit = loop {
            let visit = match self.enter(id, now) {
                Some(visit) => visit,
                None => self.load_or_create(id, ttl).await?,
            };
            if !visit.is_stale(now) || self.refresh(&visit).await? {
                break visit;
            }
        };
        if visit.is_unbound() {
            self.bind(&visit).await?;
        }
        visit.touch(now);
        // The store must not find the session expired while the touch is still on its way there.
        if visit.stored_expires() < now + 2 * FLUSH_EVERY {
            writeback::flush(&visit).await?;
        }
        Ok(visit)
    }

    /// Binds a session to a proxy of the pool, whose own is no more or never was, and has a response say so.
    async fn bind(&self, session: &Arc<LiveSession>) -> Result<(), RegistryError> {
        let _turn = self.turns.take(session.id()).await;
        if !session.is_unbound() {
            return Ok(());
        }
        let before = session.settings();
        let settings = self
            .options
            .pool
            .egress
            .bind(session.id(), (*before).clone());
        let after = settings.egress.clone();
        let number = session.replace_settings(settings, &self.options.defaults, clock::now());
        commit(session, number).await?;
        if let (Some(before), Some(after)) = (&before.egress, after) {
            session.note_moved();
            tracing::warn!(session = %session.id(), %before, %after, "a session's upstream proxy is not configured any more: it is bound to another");
        }
        Ok(())
    }

    /// Binds a session that leaves by `from`, which cannot be reached, to another proxy of the pool, acknowledged by its store.
    /// One that somebody else has bound anew meanwhile stays as it is.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub async fn rehome(
        &self,
        session: &Arc<LiveSession>,
        from: &Proxy,
        to: &Proxy,
    ) -> Result<(), RegistryError> {
        if session.is_shared() {
            session.distrust();
            self.refresh(session).await?;
        }
        let _turn = self.turns.take(session.id()).await;
        let settings = session.settings();
        let leaves = session.pool().exit();
        if leaves.is_none_or(|exit| exit.is_own() || exit.proxy().name() != from.name()) {
            return Ok(());
        }
        let settings = Settings {
            egress: Some(to.name().into()),
            ..(*settings).clone()
        };
        let number = session.replace_settings(settings, &self.options.defaults, clock::now());
        commit(session, number).await?;
        tracing::warn!(session = %session.id(), from = from.name(), to = to.name(), "a session's upstream proxy is out of reach: it is bound to another");
        Ok(())
    }

    /// How many of the sessions in use here leave by each upstream proxy, by its name.
    pub fn leaving(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for session in self.live.pin().values() {
            if let Some(exit) = session.pool().exit() {
                *counts.entry(exit.proxy().name().to_owned()).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Loads the record of a session anew into its copy here; whether there still is one.
    async fn refresh(&self, session: &Arc<LiveSession>) -> Result<bool, StoreError> {
        let refresh = async {
            let _turn = self.turns.take(session.id()).await;
            // Whoever had the turn before has done it. While nothing is heard of changes, everybody asks for himself.
            if !session.is_stale(clock::now()) {
                return Ok(true);
            }
            let _pause = session.writer.pause().await;
            let freshness = freshness(session.adapter.as_ref());
            match session.adapter.load(session.id()).await? {
                Some(record) if record.generation == session.generation() => {
                    session.refresh(record, freshness, &self.options.defaults, clock::now());
                    Ok(true)
                }
                _ => {
                    self.unlist(session);
                    session.end();
                    Ok(false)
                }
            }
        };
        // Those who wait for the turn have waited for the store already.
        tokio::time::timeout(DEADLINE, refresh)
            .await
            .unwrap_or_else(|_| Err(StoreError::silent(session.adapter_name())))
    }

    async fn load_or_create(
        &self,
        id: &SessionId,
        ttl: Option<Duration>,
    ) -> Result<Visit, RegistryError> {
        let _turn = self.turns.take(id).await;
        loop {
            let now = clock::now();
            if let Some(visit) = self.enter(id, now) {
                return Ok(visit);
            }
            match self.load(id, now).await? {
                Some(session) => {
                    if let Some(visit) = session.enter(now) {
                        return Ok(visit);
                    }
                }
                None if self.options.on_unknown == OnUnknown::Reject => {
                    return Err(RegistryError::Unknown(id.clone()));
                }
                None => {
                    let mut settings = self.options.settings.clone();
                    if let Some(ttl) = ttl {
                        settings.ttl = ttl;
                    }
                    let adapter = &self.adapters[self.default_adapter];
                    match self.create_in(adapter, id.clone(), settings.into()).await {
                        // Another process made it meanwhile.
                        Err(RegistryError::Conflict(_)) => {}
                        Err(error) => return Err(error),
                        Ok(_) => {}
                    }
                }
            }
        }
    }

    /// A session by its id, its expiry left as it is.
    ///
    /// # Errors
    /// [`RegistryError::Store`] where a store that may have it does not answer.
    pub async fn find(&self, id: &SessionId) -> Result<Option<Visit>, RegistryError> {
        if let Some(visit) = self.enter(id, clock::now()) {
            // What others have counted is not told as it happens.
            let fresh = if visit.is_shared() {
                visit.distrust();
                self.refresh(&visit).await?
            } else {
                !visit.is_stale(clock::now()) || self.refresh(&visit).await?
            };
            if fresh {
                return Ok(Some(visit));
            }
        }
        let _turn = self.turns.take(id).await;
        let now = clock::now();
        if let Some(visit) = self.enter(id, now) {
            return Ok(Some(visit));
        }
        Ok(self
            .load(id, now)
            .await?
            .and_then(|session| session.enter(now)))
    }

    /// Makes a session that begins with `seed`; of two calls for one id, one fails.
    ///
    /// # Errors
    /// [`RegistryError::Conflict`], [`RegistryError::NoAdapter`], [`RegistryError::TooMany`], [`RegistryError::Store`].
    pub async fn create(
        &self,
        id: Option<SessionId>,
        adapter: Option<&str>,
        seed: impl Into<Seed>,
    ) -> Result<Visit, RegistryError> {
        let seed = seed.into();
        let adapter = match adapter {
            Some(name) => self
                .adapters
                .iter()
                .find(|adapter| adapter.name() == name)
                .ok_or_else(|| RegistryError::NoAdapter(name.to_owned()))?,
            None => &self.adapters[self.default_adapter],
        };
        let is_new = id.is_none();
        let id = id.unwrap_or_else(|| SessionId::generate(rand::random()));
        let _turn = self.turns.take(&id).await;
        let now = clock::now();
        // An id made up here is nowhere else.
        let taken =
            !is_new && (self.enter(&id, now).is_some() || self.load(&id, now).await?.is_some());
        if taken {
            return Err(RegistryError::Conflict(id));
        }
        let session = self.create_in(adapter, id.clone(), seed).await?;
        session
            .enter(clock::now())
            .ok_or(RegistryError::Unknown(id))
    }

    /// Replaces a session's settings by what `change` makes of the present ones, acknowledged by its store. Such calls take
    /// turns, so that none undoes what another has changed.
    ///
    /// # Errors
    /// What `change` returns, then nothing has changed; [`RegistryError::Store`].
    pub async fn reconfigure<E: From<RegistryError>>(
        &self,
        session: &Arc<LiveSession>,
        change: impl FnOnce(&Settings) -> Result<Settings, E>,
    ) -> Result<(), E> {
        let _turn = self.turns.take(session.id()).await;
        let settings = change(&session.settings())?;
        let settings = self.options.pool.egress.bind(session.id(), settings);
        let number = session.replace_settings(settings, &self.options.defaults, clock::now());
        commit(session, number)
            .await
            .map_err(|error| RegistryError::from(error).into())
    }

    /// Removes a session and everything of it; whether there was one.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub async fn delete(&self, id: &SessionId) -> Result<bool, RegistryError> {
        let _turn = self.turns.take(id).await;
        let now = clock::now();
        let live = self.live.pin().get(id).cloned();
        let was_live = live
            .as_ref()
            .is_some_and(|session| session.expires() > now && !session.is_gone());
        let mut found = false;
        let mut silent = None;
        for adapter in &self.adapters {
            match adapter.delete(id).await {
                Ok(was_there) => found |= was_there,
                Err(error) => silent = Some((adapter, error)),
            }
        }
        // It may be where nobody answers, unless it is known to live elsewhere.
        if let Some((adapter, error)) = silent
            && live
                .as_ref()
                .map_or(!found, |live| Arc::ptr_eq(&live.adapter, adapter))
        {
            return Err(error.into());
        }
        if let Some(session) = live {
            self.unlist(&session);
            session.end();
        }
        Ok(found || was_live)
    }

    /// Removes every session; how many there were.
    ///
    /// # Errors
    /// [`RegistryError::Store`] where a store does not answer; the others are cleared all the same.
    pub async fn clear(&self) -> Result<u64, RegistryError> {
        let mut deleted = 0;
        let mut silent = None;
        for adapter in &self.adapters {
            match adapter.clear().await {
                Ok(count) => deleted += count,
                Err(error) => silent = Some(error),
            }
        }
        let live: Vec<_> = self.live.pin().values().cloned().collect();
        for session in live {
            // One that was made while the stores were cleared is not theirs to end.
            let _turn = self.turns.take(session.id()).await;
            let stored = match session.adapter.load(session.id()).await {
                Ok(stored) => stored,
                Err(error) => {
                    silent = Some(error);
                    continue;
                }
            };
            if stored.is_none_or(|record| record.generation != session.generation()) {
                self.unlist(&session);
                session.end();
            }
        }
        match silent {
            Some(error) => Err(error.into()),
            None => Ok(deleted),
        }
    }

    /// A page of sessions after the id `after`, of one adapter or all, with all of `labels`.
    ///
    /// # Errors
    /// [`RegistryError::NoAdapter`], [`RegistryError::Store`].
    pub async fn list(&self, adapter: Option<&str>, query: &Query) -> Result<Page, RegistryError> {
        if let Some(name) = adapter
            && !self.adapters.iter().any(|known| known.name() == name)
        {
            return Err(RegistryError::NoAdapter(name.to_owned()));
        }
        let one_more = Query {
            limit: query.limit + 1,
            ..query.clone()
        };
        let now = clock::now();
        let mut sessions = Vec::new();
        let mut silent = Vec::new();
        for known in &self.adapters {
            match adapter {
                Some(name) if name != known.name() => continue,
                Some(_) | None => {}
            }
            match known.list(&one_more).await {
                Ok(records) => {
                    for record in records {
                        sessions.push(self.view_of(record, known.as_ref(), now));
                    }
                }
                Err(error) if adapter.is_some() => return Err(error.into()),
                Err(error) => silent.push(error),
            }
        }
        sessions.sort_by(|one, other| one.id.cmp(&other.id));
        let more = sessions.len() > query.limit;
        sessions.truncate(query.limit);
        let next = more
            .then(|| sessions.last().map(|last| last.id.clone()))
            .flatten();
        Ok(Page {
            sessions,
            next,
            silent,
        })
    }

    /// The adapters, with whether each can be reached.
    pub async fn health(&self) -> Vec<(&'static str, Result<(), StoreError>)> {
        let mut health = Vec::new();
        for adapter in &self.adapters {
            health.push((adapter.name(), adapter.health().await));
        }
        health
    }

    /// Unexpired sessions over all adapters.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub async fn count(&self) -> Result<u64, RegistryError> {
        let mut count = 0;
        for at in 0..self.adapters.len() {
            count += self.count_in(at).await?;
        }
        Ok(count)
    }

    async fn count_in(&self, at: usize) -> Result<u64, StoreError> {
        let count = self.adapters[at].count().await?;
        self.counts[at].store(count, Ordering::Relaxed);
        Ok(count)
    }

    /// Sessions loaded in this process.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// What governs its sessions.
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn enter(&self, id: &SessionId, now: Timestamp) -> Option<Visit> {
        self.live.pin().get(id)?.enter(now)
    }

    /// Loads a session whose turn the caller holds, dropping a copy here that is over.
    async fn load(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Arc<LiveSession>>, StoreError> {
        let known = self.live.pin().get(id).cloned();
        if let Some(known) = known {
            self.unlist(&known);
            if known.is_gone() || known.expires() <= now {
                known.end();
            }
        }
        let mut silent = None;
        let (shared, own): (Vec<_>, Vec<_>) = self
            .adapters
            .iter()
            .partition(|adapter| adapter.shared().is_some());
        let look = async |adapter: &Arc<dyn Adapter>| {
            let freshness = freshness(adapter.as_ref());
            (Arc::clone(adapter), freshness, adapter.load(id).await)
        };
        let mut answers = Vec::with_capacity(self.adapters.len());
        for adapter in own {
            answers.push(look(adapter).await);
            if matches!(answers.last(), Some((_, _, Ok(Some(_))))) {
                break;
            }
        }
        // All at once: of two that are silent the client waits for one.
        if !matches!(answers.last(), Some((_, _, Ok(Some(_))))) {
            answers.extend(join_all(shared.into_iter().map(look)).await);
        }
        for (adapter, freshness, answer) in answers {
            match answer {
                Ok(Some(record)) => return Ok(Some(self.enlist(record, adapter, freshness))),
                Ok(None) => {}
                // It may be there: a second session of that name would be worse than none.
                Err(error) => silent = Some(error),
            }
        }
        match silent {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    async fn create_in(
        &self,
        adapter: &Arc<dyn Adapter>,
        id: SessionId,
        seed: Seed,
    ) -> Result<Arc<LiveSession>, RegistryError> {
        let limit = self.options.max_active;
        let mut elsewhere = 0;
        for (at, other) in self.adapters.iter().enumerate() {
            if !Arc::ptr_eq(other, adapter) {
                // What is in a store that does not answer still counts.
                let known = || self.counts[at].load(Ordering::Relaxed);
                elsewhere += self.count_in(at).await.unwrap_or_else(|_| known());
            }
        }
        let record = Record {
            jar: seed.jar,
            storage: seed.storage,
            ..Record::new(
                id.clone(),
                Generation::new(rand::random()),
                self.options.pool.egress.bind(&id, seed.settings),
                clock::now(),
            )
        };
        let freshness = freshness(adapter.as_ref());
        match adapter
            .create(record.clone(), limit.saturating_sub(elsewhere))
            .await?
        {
            Created::Done => Ok(self.enlist(record, Arc::clone(adapter), freshness)),
            Created::Exists => Err(RegistryError::Conflict(id)),
            Created::Full { until } => Err(RegistryError::TooMany { limit, until }),
        }
    }

    fn enlist(
        &self,
        record: Record,
        adapter: Arc<dyn Adapter>,
        freshness: Freshness,
    ) -> Arc<LiveSession> {
        let terms = &self.options.pool;
        let pool = Pool::leaving(terms, terms.egress.exit(&record.id, &record.settings));
        let session = Arc::new(LiveSession::new(
            record,
            adapter,
            pool,
            Dirty::new(self.dirty.clone()),
            &self.options.defaults,
            freshness,
            clock::now(),
        ));
        self.live
            .pin()
            .insert(session.id().clone(), Arc::clone(&session));
        session
    }

    /// Takes this very copy off the list; a successor of the same id stays.
    fn unlist(&self, session: &Arc<LiveSession>) {
        let live = self.live.pin();
        let _ = live.remove_if(session.id(), |_, known| Arc::ptr_eq(known, session));
    }

    fn view_of(&self, record: Record, adapter: &dyn Adapter, now: Timestamp) -> SessionView {
        let live = self.live.pin().get(&record.id).cloned();
        match live {
            // What is in use elsewhere is known best to the store.
            Some(live) if live.generation() == record.generation && !live.is_shared() => {
                SessionView::of_live(&live, now)
            }
            _ => SessionView::of_record(&record, adapter.name(), &self.options.defaults, now),
        }
    }

    /// Takes note of what another process did in the store of that place.
    fn hear(&self, at: usize, change: &Change) {
        match change {
            Change::Changed {
                id,
                generation,
                revision,
            } => {
                if let Some(session) = self.live.pin().get(id) {
                    if session.generation() == *generation {
                        session.hear(*revision);
                    } else {
                        session.distrust();
                    }
                }
            }
            Change::Gone { id, generation } => {
                let session = self.live.pin().get(id).cloned();
                if let Some(session) = session {
                    match generation {
                        Some(generation) if *generation == session.generation() => {
                            self.unlist(&session);
                            session.end();
                        }
                        Some(_) => {}
                        None => session.distrust(),
                    }
                }
            }
            // One that was made since is found again by its next use.
            Change::Cleared => {
                for session in self.live.pin().values() {
                    if Arc::ptr_eq(&session.adapter, &self.adapters[at]) {
                        session.distrust();
                    }
                }
            }
        }
    }

    /// Closes every session's connections to origins, those in use once their responses end.
    pub fn close_pools(&self) {
        for session in self.live.pin().values() {
            session.pool().close();
        }
    }

    fn sweep_pools(&self) {
        let now = Instant::now();
        for session in self.live.pin().values() {
            session.pool().sweep(now);
        }
    }

    /// Ends what has expired, unloads what nobody uses, and has the stores sweep.
    async fn clean_up(&self) {
        let now = clock::now();
        let sessions: Vec<_> = self.live.pin().values().cloned().collect();
        for session in sessions {
            if session.is_gone() || session.expires() <= now {
                let _turn = self.turns.take(session.id()).await;
                self.unlist(&session);
                session.end();
            } else if now.since(session.last_used()) > UNLOAD_AFTER {
                self.unload(&session).await;
            }
        }
        for adapter in &self.adapters {
            if let Err(error) = adapter.sweep().await {
                tracing::warn!(%error, "expired sessions could not be swept");
            }
        }
    }

    async fn unload(&self, session: &Arc<LiveSession>) {
        let _turn = self.turns.take(session.id()).await;
        // Requests that come from here on wait for the turn and load the session anew.
        if !session.retire() {
            return;
        }
        if let Err(error) = writeback::flush(session).await {
            tracing::warn!(session = %session.id(), %error, "a session could not be unloaded cleanly");
        }
        self.unlist(session);
        session.pool().close();
    }
}

/// The work beside a registry: telling the stores what may be told late, ending what has expired.
#[derive(Debug)]
pub struct Upkeep {
    registry: Arc<Registry>,
    queue: mpsc::UnboundedReceiver<Arc<LiveSession>>,
    /// What other processes do, by adapter.
    changes: Vec<(usize, mpsc::UnboundedReceiver<Change>)>,
}

impl Upkeep {
    /// Runs until `end`, then tells the stores everything that is left.
    pub async fn run(mut self, cleanup_interval: Duration, end: CancellationToken) {
        // They end with it.
        let mut listening = JoinSet::new();
        for (at, mut changes) in std::mem::take(&mut self.changes) {
            let registry = Arc::clone(&self.registry);
            listening.spawn(async move {
                while let Some(change) = changes.recv().await {
                    registry.hear(at, &change);
                }
            });
        }
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sweep_pools = tokio::time::interval(SWEEP_POOLS_EVERY);
        let mut clean_up = tokio::time::interval(cleanup_interval);
        loop {
            tokio::select! {
                () = end.cancelled() => break,
                _ = flush.tick() => self.flush().await,
                _ = sweep_pools.tick() => self.registry.sweep_pools(),
                _ = clean_up.tick() => self.registry.clean_up().await,
            }
        }
        self.flush().await;
    }

    async fn flush(&mut self) {
        // Those that fail come again, but not in this round.
        let mut due = Vec::new();
        while let Ok(session) = self.queue.try_recv() {
            due.push(session);
        }
        let flush = async |session: Arc<LiveSession>| {
            if let Err(error) = writeback::flush(&session).await {
                tracing::debug!(session = %session.id(), %error, "counters and last use are not stored yet");
            }
        };
        futures_util::stream::iter(due)
            .for_each_concurrent(FLUSHES_AT_ONCE, flush)
            .await;
    }
}

/// So many sessions are told to the stores at one time.
const FLUSHES_AT_ONCE: usize = 64;

/// What the store says of its changes at this moment; asked before a record is loaded.
fn freshness(adapter: &dyn Adapter) -> Freshness {
    // A copy of a record that nobody else changes is never compared.
    adapter
        .shared()
        .map_or(Freshness::Linked(0), |shared| shared.freshness())
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(Kind::StoreUnavailable, error.to_string()).retry_after(Duration::from_secs(1))
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        match error {
            RegistryError::Store(error) => error.into(),
            RegistryError::Unknown(_) => Self::new(Kind::UnknownSession, detail),
            RegistryError::TooMany { until, .. } => {
                let wait = until.map_or(Duration::from_secs(60), |until| until.since(clock::now()));
                Self::new(Kind::TooManySessions, detail).retry_after(wait)
            }
            RegistryError::Conflict(_) | RegistryError::NoAdapter(_) => {
                Self::new(Kind::BadRequest, detail)
            }
        }
    }
}
