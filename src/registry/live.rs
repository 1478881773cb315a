//! A session in use in this process: its jar, limiter and connections live and die together.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderName;
use parking_lot::{Mutex, MutexGuard};

use super::gate::Gate;
use super::writeback::{Dirty, Writer};
use crate::adapters::{Adapter, Freshness};
use crate::session::delta::{CookieDelta, Delta, Touch};
use crate::session::id::SessionId;
use crate::session::jar::Jar;
use crate::session::limiter::{Policy, Rate};
use crate::session::record::{Counters, Generation, Record};
use crate::session::settings::{Render, Settings};
use crate::session::storage::{Storage, StorageDelta};
use crate::session::time::Timestamp;
use crate::upstream::Pool;

/// A loaded session. Dropping it closes its connections and forgets its TLS tickets.
#[derive(Debug)]
pub struct LiveSession {
    id: SessionId,
    id_field: HeaderValue,
    generation: Generation,
    created: Timestamp,
    pub(super) adapter: Arc<dyn Adapter>,
    /// Held for microseconds at a time, never across an await: one jar look-up or one merge.
    state: Mutex<State>,
    gate: Gate,
    pool: Arc<Pool>,
    last_used: AtomicI64,
    expires: AtomicI64,
    /// `ttl` in microseconds, and the end that `maxAge` sets: beside the lock, as every request needs them.
    ttl: AtomicI64,
    /// The expiry that the store knows of.
    stored_expires: AtomicI64,
    latest_end: AtomicI64,
    /// Used, with what follows, by requests without the lock.
    tally: Tally,
    /// The exchanges that use the session at this moment.
    in_flight: AtomicUsize,
    standing: Standing,
    /// What upper floors hang on it.
    attachment: Mutex<Option<Arc<dyn Attachment>>>,
    copy: Copied,
    pub(super) writer: Writer,
    dirty: Dirty,
}

/// What the lock guards.
#[derive(Debug)]
pub struct State {
    /// The cookies.
    pub jar: Jar,
    /// localStorage and sessionStorage.
    pub storage: Storage,
    settings: Arc<Settings>,
    profile: Arc<Profile>,
    /// Changes made here that the store has not been told of.
    pub(super) pending: Delta,
    /// Counts the deltas that went into `pending`, ever.
    pub(super) issued: u64,
}

/// Something of a floor above that belongs to a session in use and ends with it: its browser context.
pub trait Attachment: std::any::Any + std::fmt::Debug + Send + Sync {
    /// The session is over, unloaded, or has another attachment now: nothing more may be done for it. Must not wait.
    fn close(&self);
}

/// What a session begins with.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    /// What its owner sets.
    pub settings: Settings,
    /// Cookies.
    pub jar: Jar,
    /// localStorage and sessionStorage.
    pub storage: Storage,
}

impl From<Settings> for Seed {
    fn from(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }
}

/// The settings as requests need them, made ready once.
#[derive(Debug, Default)]
pub struct Profile {
    /// `browser.userAgent`, unless `sessions.apply_user_agent` is off.
    pub user_agent: Option<HeaderValue>,
    /// `headers`, added where the client sent none of that name.
    pub defaults: Vec<(HeaderName, HeaderValue)>,
    /// The session's route, where it names one.
    pub render: Option<Render>,
}

/// How settings become a profile and a limiter's policy; the same for every session of a registry.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// `sessions.apply_user_agent`.
    pub apply_user_agent: bool,
    /// `sessions.rate_limit`: what sessions get that name no limit of their own.
    pub policy: Policy,
}

/// Whether the session is still to be had.
#[derive(Debug, Default)]
struct Standing {
    /// Deleted or expired: nothing is written any more.
    gone: AtomicBool,
    /// Being unloaded: requests load it anew.
    retired: AtomicBool,
    /// Its settings bind it to no upstream proxy that there is: it must be bound before it is used.
    unbound: AtomicBool,
    /// It was bound to another proxy than before, and no response has said so yet.
    moved: AtomicBool,
}

/// How the copy here stands to the record in the store.
#[derive(Debug)]
struct Copied {
    /// Whether other processes may change the record.
    shared: bool,
    /// What the store said of its changes when the copy was loaded.
    freshness: Mutex<Freshness>,
    /// When it was loaded, in microseconds.
    loaded: AtomicI64,
    /// The latest change that it contains, as far as is known.
    revision: AtomicU64,
    /// It is known not to be what the store has: the next use loads it anew.
    stale: AtomicBool,
}

/// Counters of this process that the store has not been told of yet, and those it has.
#[derive(Debug, Default)]
struct Tally {
    stored: Mutex<Counters>,
    requests: AtomicU64,
    rendered: AtomicU64,
    delayed: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Tally {
    fn add(&self, more: Counters) {
        for (counter, more) in [
            (&self.requests, more.requests),
            (&self.rendered, more.rendered),
            (&self.delayed, more.delayed),
            (&self.rejected, more.rejected),
            (&self.failed, more.failed),
            (&self.bytes_in, more.bytes_in),
            (&self.bytes_out, more.bytes_out),
        ] {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    fn read(&self, of: impl Fn(&AtomicU64) -> u64) -> Counters {
        Counters {
            requests: of(&self.requests),
            rendered: of(&self.rendered),
            delayed: of(&self.delayed),
            rejected: of(&self.rejected),
            failed: of(&self.failed),
            bytes_in: of(&self.bytes_in),
            bytes_out: of(&self.bytes_out),
        }
    }

    fn total(&self) -> Counters {
        let stored = self.stored.lock();
        *stored + self.read(|counter| counter.load(Ordering::Relaxed))
    }

    /// Takes back what the store did not take.
    fn put_back(&self, counters: Counters) {
        let mut stored = self.stored.lock();
        *stored = Counters {
            requests: stored.requests.saturating_sub(counters.requests),
            rendered: stored.rendered.saturating_sub(counters.rendered),
            delayed: stored.delayed.saturating_sub(counters.delayed),
            rejected: stored.rejected.saturating_sub(counters.rejected),
            failed: stored.failed.saturating_sub(counters.failed),
            bytes_in: stored.bytes_in.saturating_sub(counters.bytes_in),
            bytes_out: stored.bytes_out.saturating_sub(counters.bytes_out),
        };
        self.add(counters);
    }

    /// Moves the new counts over to the stored ones, for the store to be told of.
    fn take(&self) -> Counters {
        let mut stored = self.stored.lock();
        let new = self.read(|counter| counter.swap(0, Ordering::Relaxed));
        *stored = *stored + new;
        new
    }
}

impl LiveSession {
    pub(super) fn new(
        record: Record,
        adapter: Arc<dyn Adapter>,
        pool: Arc<Pool>,
        dirty: Dirty,
        defaults: &Defaults,
        freshness: Freshness,
        now: Timestamp,
    ) -> Self {
        let settings = Arc::new(record.settings);
        let shared = adapter.shared().is_some();
        let policy = policy_of(&settings, &defaults.policy);
        Self {
            gate: Gate::new(policy, &record.limiter, shared, now),
            copy: Copied {
                shared,
                freshness: Mutex::new(freshness),
                loaded: AtomicI64::new(now.as_micros()),
                revision: AtomicU64::new(record.revision),
                stale: AtomicBool::new(false),
            },
            id_field: HeaderValue::from_str(record.id.as_str()).expect("an id is visible ASCII"),
            id: record.id,
            generation: record.generation,
            created: record.created,
            adapter,
            last_used: AtomicI64::new(record.last_used.as_micros()),
            expires: AtomicI64::new(record.expires.as_micros()),
            stored_expires: AtomicI64::new(record.expires.as_micros()),
            ttl: AtomicI64::new(micros(settings.ttl)),
            latest_end: AtomicI64::new(latest_end(&settings, record.created).as_micros()),
            tally: Tally {
                stored: Mutex::new(record.counters),
                ..Tally::default()
            },
            in_flight: AtomicUsize::new(0),
            standing: Standing {
                unbound: AtomicBool::new(!pool.egress().is_bound(&settings)),
                ..Standing::default()
            },
            attachment: Mutex::new(None),
            writer: Writer::default(),
            dirty,
            pool,
            state: Mutex::new(State {
                jar: record.jar,
                storage: record.storage,
                profile: Arc::new(Profile::of(&settings, defaults)),
                settings,
                pending: Delta::default(),
                issued: 0,
            }),
        }
    }

    /// Its name.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Its name as the value of X-Session-ID.
    pub fn id_field(&self) -> &HeaderValue {
        &self.id_field
    }

    /// Which session of that name it is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Where it is stored.
    pub fn adapter_name(&self) -> &'static str {
        self.adapter.name()
    }

    /// Its connections to origins.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Whether its settings bind it to no upstream proxy that there is.
    pub(super) fn is_unbound(&self) -> bool {
        self.standing.unbound.load(Ordering::Acquire)
    }

    /// Has a response say that it leaves by another proxy than before.
    pub(super) fn note_moved(&self) {
        self.standing.moved.store(true, Ordering::Release);
    }

    /// Whether it was bound to another proxy than before since this was asked last.
    pub fn has_moved(&self) -> bool {
        self.standing.moved.load(Ordering::Relaxed)
            && self.standing.moved.swap(false, Ordering::AcqRel)
    }

    /// Leaves as settings say from now on.
    fn leave_as(&self, settings: &Settings) {
        let egress = self.pool.egress();
        self.pool.leave_by(egress.exit(&self.id, settings));
        self.standing
            .unbound
            .store(!egress.is_bound(settings), Ordering::Release);
    }

    /// What hangs on it, if it is an `A`.
    pub fn attachment<A: Attachment>(&self) -> Option<Arc<A>> {
        let attachment: Arc<dyn std::any::Any + Send + Sync> = self.attachment.lock().clone()?;
        attachment.downcast().ok()
    }

    /// Hangs something on it, in place of what hung there; closed at once where the session is over already.
    pub fn attach(&self, attachment: Arc<dyn Attachment>) {
        let before = self.attachment.lock().replace(attachment);
        if let Some(before) = before {
            before.close();
        }
        // After it was put there: whoever ends the session meanwhile finds it, or is seen here.
        if self.is_gone() || self.standing.retired.load(Ordering::SeqCst) {
            self.detach();
        }
    }

    fn detach(&self) {
        let attachment = self.attachment.lock().take();
        if let Some(attachment) = attachment {
            attachment.close();
        }
    }

    /// Its limiter and the line before it.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Its settings at this moment.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state.lock().settings)
    }

    /// What its settings mean for requests.
    pub fn profile(&self) -> Arc<Profile> {
        Arc::clone(&self.state.lock().profile)
    }

    /// Works on the jar and storage; whatever `change` returns as a delta is remembered for the store.
    ///
    /// The changes are not durable before [`super::commit`] has returned. Returns the number to commit.
    pub fn change(&self, change: impl FnOnce(&mut Jar, &mut Storage) -> CookieDelta) -> u64 {
        let mut state = self.state.lock();
        let state = &mut *state;
        let cookies = change(&mut state.jar, &mut state.storage);
        state.append(Delta {
            cookies,
            ..Delta::default()
        })
    }

    /// As [`Self::change`], for a change of the storage as well; that is made here.
    pub fn change_state(
        &self,
        change: impl FnOnce(&mut Jar, &Storage) -> (CookieDelta, StorageDelta),
    ) -> u64 {
        let mut state = self.state.lock();
        let state = &mut *state;
        let (cookies, storage) = change(&mut state.jar, &state.storage);
        state.storage.apply(&storage);
        state.append(Delta {
            cookies,
            storage,
            ..Delta::default()
        })
    }

    /// What another session would begin with to be like this one; its stale values go with its cookies.
    pub fn seed(&self) -> Seed {
        let state = self.state.lock();
        Seed {
            settings: (*state.settings).clone(),
            jar: state.jar.clone(),
            storage: state.storage.clone(),
        }
    }

    /// The lock over jar and storage, for a look that changes neither.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Replaces the settings, limiter included; returns the number to commit.
    pub(super) fn replace_settings(
        &self,
        settings: Settings,
        defaults: &Defaults,
        now: Timestamp,
    ) -> u64 {
        self.gate
            .reconfigure(policy_of(&settings, &defaults.policy), now);
        let mut state = self.state.lock();
        let expires = settings.expiry_after_use(self.created, self.last_used());
        self.ttl.store(micros(settings.ttl), Ordering::Relaxed);
        self.latest_end.store(
            latest_end(&settings, self.created).as_micros(),
            Ordering::Relaxed,
        );
        self.expires.store(expires.as_micros(), Ordering::Relaxed);
        state.profile = Arc::new(Profile::of(&settings, defaults));
        self.leave_as(&settings);
        state.settings = Arc::new(settings.clone());
        state.append(Delta {
            settings: Some(settings),
            touched: Some(Touch {
                last_used: self.last_used(),
                expires,
            }),
            ..Delta::default()
        })
    }

    /// When it was last used.
    pub fn last_used(&self) -> Timestamp {
        Timestamp::from_micros(self.last_used.load(Ordering::Relaxed))
    }

    /// When it ends if it is not used again.
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_micros(self.expires.load(Ordering::Relaxed))
    }

    /// When it was created.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Counts since its creation, those included that the store has not been told of.
    pub fn counters(&self) -> Counters {
        self.tally.total()
    }

    /// Adds to its counters; the store is told within a second.
    pub fn count(self: &Arc<Self>, more: Counters) {
        self.tally.add(more);
        self.dirty.mark(self);
    }

    pub(super) fn recount(&self, counters: Counters) {
        self.tally.put_back(counters);
    }

    /// Moves the expiry, as every use does; the store is told within a second.
    pub(super) fn touch(self: &Arc<Self>, now: Timestamp) {
        let slides = now
            .as_micros()
            .saturating_add(self.ttl.load(Ordering::Relaxed));
        let expires = slides.min(self.latest_end.load(Ordering::Relaxed));
        self.last_used.fetch_max(now.as_micros(), Ordering::Relaxed);
        self.expires.store(expires, Ordering::Relaxed);
        self.dirty.mark(self);
    }

    /// The end that the store knows of; never later than [`Self::expires`] but after a patch that shortens its life.
    pub(super) fn stored_expires(&self) -> Timestamp {
        Timestamp::from_micros(self.stored_expires.load(Ordering::Relaxed))
    }

    pub(super) fn note_stored(&self, expires: Timestamp) {
        self.stored_expires
            .store(expires.as_micros(), Ordering::Relaxed);
    }

    /// Begins a use of the session, unless it is over or being unloaded.
    pub(super) fn enter(self: &Arc<Self>, now: Timestamp) -> Option<Visit> {
        // Before the look at `retired`, as `retire` looks at this count after it has set that.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let visit = Visit {
            session: Arc::clone(self),
        };
        let open = !self.standing.retired.load(Ordering::SeqCst)
            && !self.is_gone()
            && self.expires() > now;
        open.then_some(visit)
    }

    /// Another use of a session that is in use: a request of its page.
    pub fn join(self: &Arc<Self>, now: Timestamp) -> Option<Visit> {
        self.enter(now)
    }

    /// Whether it was deleted or has expired: what still runs of it writes nothing.
    pub fn is_gone(&self) -> bool {
        self.standing.gone.load(Ordering::Acquire)
    }

    /// Ends it: it was deleted or has expired. Idle connections close now, others after their response.
    pub(super) fn end(&self) {
        self.standing.gone.store(true, Ordering::SeqCst);
        self.pool.close();
        self.detach();
    }

    /// Keeps new requests from using this copy; whether nothing uses it, so that it can be dropped.
    pub(super) fn retire(&self) -> bool {
        self.standing.retired.store(true, Ordering::SeqCst);
        let unused = self.in_flight.load(Ordering::SeqCst) == 0;
        match unused {
            true => self.detach(),
            false => self.standing.retired.store(false, Ordering::SeqCst),
        }
        unused
    }

    /// Has the next use load the record anew: this copy holds what the store has not taken, or lacks what it has.
    pub(super) fn distrust(&self) {
        self.copy.stale.store(true, Ordering::Release);
    }

    /// Whether other processes may change the record.
    pub(super) fn is_shared(&self) -> bool {
        self.copy.shared
    }

    /// Whether this copy may differ from what the store has by more than what is on its way there.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        if self.copy.stale.load(Ordering::Acquire) {
            return true;
        }
        let Some(shared) = self.adapter.shared() else {
            return false;
        };
        match shared.freshness() {
            Freshness::Unlinked => true,
            Freshness::Polled(limit) => {
                let loaded = Timestamp::from_micros(self.copy.loaded.load(Ordering::Relaxed));
                now.since(loaded) >= limit
            }
            linked @ Freshness::Linked(_) => *self.copy.freshness.lock() != linked,
        }
    }

    /// Another process has made the change of this number.
    pub(super) fn hear(&self, revision: u64) {
        if revision > self.copy.revision.load(Ordering::Acquire) {
            self.distrust();
        }
    }

    /// The store has made a change of this process the one of this number.
    pub(super) fn note_revision(&self, revision: u64) {
        let known = self.copy.revision.load(Ordering::Acquire);
        if revision <= known {
            return;
        }
        // Between the last change that is known and this one others have made theirs.
        if revision > known + 1 {
            self.distrust();
        } else {
            self.copy.revision.fetch_max(revision, Ordering::AcqRel);
        }
    }

    /// Takes over what the store has, loaded while no write was under way; what has gathered here since is done to it again,
    /// as the store will do it.
    pub(super) fn refresh(
        &self,
        record: Record,
        freshness: Freshness,
        defaults: &Defaults,
        now: Timestamp,
    ) {
        let mut state = self.state.lock();
        // First, so that word of a later change is not lost.
        self.copy.stale.store(false, Ordering::Release);
        let mut record = record;
        let revision = record.revision;
        record.apply(&state.pending);
        let known = Touch {
            last_used: self.last_used(),
            expires: self.expires(),
        };
        if record.last_used >= known.last_used {
            self.last_used
                .fetch_max(record.last_used.as_micros(), Ordering::Relaxed);
            self.expires
                .store(record.expires.as_micros(), Ordering::Relaxed);
        }
        self.note_stored(record.expires);
        *self.tally.stored.lock() = record.counters;
        if *state.settings != record.settings {
            self.ttl
                .store(micros(record.settings.ttl), Ordering::Relaxed);
            self.latest_end.store(
                latest_end(&record.settings, self.created).as_micros(),
                Ordering::Relaxed,
            );
            self.gate
                .reconfigure(policy_of(&record.settings, &defaults.policy), now);
            state.profile = Arc::new(Profile::of(&record.settings, defaults));
            self.leave_as(&record.settings);
            state.settings = Arc::new(record.settings);
        }
        state.jar = record.jar;
        state.storage = record.storage;
        self.copy.revision.store(revision, Ordering::Release);
        self.copy.loaded.store(now.as_micros(), Ordering::Relaxed);
        *self.copy.freshness.lock() = freshness;
        drop(state);
        self.gate.absorb(&record.limiter, now);
    }

    /// What may be told to the store late: the last use, counters and the limiter's state.
    pub(super) fn append_soft(&self, now: Timestamp) -> u64 {
        let counters = self.tally.take();
        let limiter = self.gate.snapshot(now);
        self.state.lock().append(Delta {
            touched: Some(Touch {
                last_used: self.last_used(),
                expires: self.expires(),
            }),
            counters,
            limiter: Some(limiter),
            ..Delta::default()
        })
    }

    pub(super) fn take_pending(&self) -> (Delta, u64) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.pending), state.issued)
    }

    pub(super) fn dirty(&self) -> &Dirty {
        &self.dirty
    }
}

impl State {
    /// What the session's owner set.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The settings made ready.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    fn append(&mut self, delta: Delta) -> u64 {
        if delta.is_empty() {
            return 0;
        }
        self.pending = std::mem::take(&mut self.pending).then(delta);
        self.issued += 1;
        self.issued
    }
}

impl Profile {
    fn of(settings: &Settings, defaults: &Defaults) -> Self {
        Self {
            user_agent: settings
                .browser
                .user_agent
                .as_deref()
                .filter(|_| defaults.apply_user_agent)
                .and_then(|agent| HeaderValue::from_bytes(agent.as_bytes()).ok()),
            defaults: settings
                .headers
                .iter()
                .filter_map(|(name, value)| {
                    Some((
                        HeaderName::from_bytes(name.as_bytes()).ok()?,
                        HeaderValue::from_bytes(value.as_bytes()).ok()?,
                    ))
                })
                .collect(),
            render: settings.render,
        }
    }
}

/// What the session says of its limit, and the defaults for what it does not say.
pub(super) fn policy_of(settings: &Settings, defaults: &Policy) -> Policy {
    let own = &settings.rate_limit;
    let per_second = own
        .requests_per_second
        .or(defaults.rate.map(Rate::per_second));
    let burst = own
        .burst
        .and_then(NonZeroU32::new)
        .or(defaults.rate.map(Rate::burst))
        .unwrap_or(NonZeroU32::MIN);
    // Zero means unlimited; any other rate is within the limiter's range, as the settings were checked.
    let rate = per_second.and_then(|per_second| Rate::new(per_second, burst).ok());
    Policy {
        rate,
        per_host: own.per_host.unwrap_or(defaults.per_host),
        concurrency: match own.concurrency {
            Some(slots) => NonZeroU32::new(slots),
            None => defaults.concurrency,
        },
        on_limit: own.on_limit.unwrap_or(defaults.on_limit),
        max_wait: own
            .max_wait_ms
            .map_or(defaults.max_wait, Duration::from_millis),
        honor_retry_after: defaults.honor_retry_after,
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn latest_end(settings: &Settings, created: Timestamp) -> Timestamp {
    settings.max_age.map_or(Timestamp::MAX, |age| created + age)
}

/// One use of a session, from its admission until its last byte; while it lasts the session stays loaded.
#[derive(Debug)]
pub struct Visit {
    session: Arc<LiveSession>,
}

impl std::ops::Deref for Visit {
    type Target = Arc<LiveSession>;

    fn deref(&self) -> &Arc<LiveSession> {
        &self.session
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.session.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
