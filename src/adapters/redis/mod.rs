//! Sessions in Redis, shared by any number of processes.
//!
//! docs/ADAPTERS.md has the keys. Every step is one script, atomic on its server, with all its keys in one slot; so the same code
//! works on one server, behind sentinels and on a cluster. Redis 6.0 and later do.
//!
//! # What is promised
//! - What was acknowledged is in the memory of the master. It survives the end of every burdock. Whether it survives the end of
//!   the server is up to the server: with `appendonly yes` and `appendfsync always` it does; with `everysec` a crash of the
//!   machine may cost a second; without append-only file, everything since the last snapshot. A fail-over to a replica costs what the
//!   replica had not received: replication is asynchronous, and `min-replicas-to-write` only bounds for how long a master that is
//!   cut off goes on.
//! - A call that has failed may have been done all the same, where the connection broke before the answer; it is never done
//!   after its deadline: each carries the last moment, by the server's clock, at which it may begin. So what a client was refused
//!   does not come over what was acknowledged later.
//! - No write is repeated by the adapter unless the server said that it has not done it. Counters may be counted twice where a
//!   connection broke at the wrong moment: the registry counts again what was not acknowledged.
//! - [`Freshness::Linked`]: a change is told on a channel, by the very script that makes it, and another process drops its
//!   copy as soon as the message arrives. A connection that broke is an interruption at once; one that has gone silent is one within
//!   1.5 seconds, during which a copy may be stale. Client-side caching (`CLIENT TRACKING`) would not do better: it
//!   tells of every write to a key, so of each touch and counter too, without saying whose or which revision; it needs RESP3 or a
//!   second connection all the same; and in a cluster it is a matter of each node.

mod dial;
mod index;
mod keys;
mod link;
mod listen;
mod news;
mod node;
mod read;
mod script;
mod survey;
#[cfg(test)]
mod tests;
mod trouble;
mod url;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

pub use self::keys::InvalidPrefix;
pub use self::url::InvalidUrl;

use self::dial::Dialer;
use self::index::{Entry, Suspects};
use self::keys::Keys;
use self::link::Link;
use self::listen::{Hearing, Listener};
use self::read::read;
use self::script::{Call, LOAD, REMOVE, RESERVE, Repeat, Script};
use self::trouble::Trouble;
use super::stored::{Codec, Unreadable};
use super::{
    Adapter, Applied, Change, Created, DEADLINE, Freshness, Query, Reservation, Reserve, Shared,
    StoreError, StoreFuture,
};
use crate::session::delta::Delta;
use crate::session::id::SessionId;
use crate::session::limiter::{LONGEST_PATIENCE, MAX_HOSTS};
use crate::session::record::{Generation, Record};
use crate::session::time::Timestamp;

/// The adapter's name.
const NAME: &str = "redis";

/// Before the host in a field of the limiter that is a bucket.
const BUCKET: &str = "bucket:";
/// Before the host in a field of the limiter that is a pause.
const PAUSE: &str = "pause:";

/// Entries of the index in one call.
const PAGE: usize = 128;
/// Sessions that one call of the adapter has loaded or removed at a time.
const ABREAST: usize = 32;

/// `[adapters.redis]`.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://`, `rediss://`, `redis+cluster://H:P[,H:P]` or `redis+sentinel://H:P[,H:P]/SERVICE[/DB]`, each with
    /// `USER:PASSWORD@` before the hosts where there is a login.
    pub url: String,
    /// Before every key.
    pub key_prefix: String,
    /// PEM files with roots for its certificate, beside the platform's. They are read with the first connection.
    pub ca_files: Vec<PathBuf>,
}

/// `Debug` shows no password.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("url", &"***")
            .field("key_prefix", &self.key_prefix)
            .field("ca_files", &self.ca_files)
            .finish()
    }
}

/// Settings that name no Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedis {
    /// The address.
    #[error("`adapters.redis.url` is not the address of a Redis: {0}")]
    Url(#[from] InvalidUrl),
    /// The prefix.
    #[error("`adapters.redis.key_prefix` cannot be used: {0}")]
    Prefix(#[from] InvalidPrefix),
}

/// Records in Redis. Its connections are made with the first call, inside of a runtime, and end with it.
#[derive(Debug)]
pub struct Redis {
    keys: Keys,
    codec: Codec,
    process: String,
    dialer: Arc<Dialer>,
    link: Link,
    hearing: Arc<Hearing>,
    listener: OnceLock<AbortOnDropHandle<()>>,
    suspects: Suspects,
}

/// What became of a session that was to be removed.
enum Removed {
    /// There was none.
    None,
    /// It had not expired; until when it would have lasted.
    Live(String),
    /// It had expired; when.
    Expired(String),
    /// It has not expired and stays; until when.
    Kept(String),
}

impl Redis {
    /// An adapter for these settings. `process` tells this process from others: a random number.
    ///
    /// # Errors
    /// [`InvalidRedis`] where the settings name no Redis. Whether there is one, the first call tells.
    pub fn new(settings: RedisSettings, codec: Codec, process: u64) -> Result<Self, InvalidRedis> {
        let keys = Keys::new(&settings.key_prefix)?;
        let process = format!("{process:016x}");
        let dialer = Arc::new(Dialer::new(settings.url.parse()?, settings.ca_files));
        Ok(Self {
            link: Link::new(Arc::clone(&dialer), keys.clone(), process.clone()),
            keys,
            codec,
            process,
            dialer,
            hearing: Arc::default(),
            listener: OnceLock::new(),
            suspects: Suspects::default(),
        })
    }

    /// A script for the keys of a session that says who calls.
    fn session_call(
        &self,
        script: &'static Script,
        id: &SessionId,
        repeat: Repeat,
        deadline: Instant,
    ) -> Call {
        let mut call = Call::new(script, &self.keys.of_session(id), repeat, deadline);
        call.arg(&self.process)
            .arg(self.keys.changes())
            .arg(id.as_str());
        call
    }

    async fn create_record(&self, record: Record, room: u64) -> Result<Created, StoreError> {
        let deadline = deadline();
        let id = &record.id;
        if let Some(full) = self.admit(id, record.expires, room, deadline).await? {
            return Ok(full);
        }
        let score = score(record.expires);
        let created = self.link.call(&self.create_call(&record, deadline)).await;
        let reply: Vec<String> = match created {
            Ok(reply) => read("create", reply)?,
            Err(trouble) => {
                // Where it may have been created, the room is not given back before somebody has seen that it was not.
                if trouble.is_refusal() {
                    self.unlist(&[(id.clone(), score)], deadline).await?;
                }
                return Err(trouble.into());
            }
        };
        match reply.first().map(String::as_str) {
            Some("done") => {
                self.note(id, &score, "", deadline).await?;
                Ok(Created::Done)
            }
            Some("exists") => {
                let expires = reply.get(1).ok_or_else(|| Trouble::garbled("create"))?;
                self.note(id, expires, &score, deadline).await?;
                Ok(Created::Exists)
            }
            _ => Err(Trouble::garbled("create").into()),
        }
    }

    async fn load_record(
        &self,
        id: &SessionId,
        deadline: Instant,
    ) -> Result<Option<Record>, StoreError> {
        let keys = self.keys.of_session(id);
        let call = Call::new(&LOAD, &keys, Repeat::Harmless, deadline);
        let reply = self.link.call(&call).await?;
        self.read_record(id, reply)
    }

    async fn apply_delta(
        &self,
        id: &SessionId,
        generation: Generation,
        delta: Delta,
    ) -> Result<Applied, StoreError> {
        let deadline = deadline();
        let call = self.apply_call(id, generation, &delta, deadline);
        let Some(touch) = delta.touched else {
            return Ok(match self.applied(id, &call).await? {
                Some((revision, _)) => Applied::Done { revision },
                None => Applied::Gone,
            });
        };
        // The index first; on one server both travel together.
        let ahead = score(touch.expires);
        let (listed, applied) =
            futures_util::join!(self.note(id, &ahead, "", deadline), self.applied(id, &call));
        let corrected = match (&applied, listed) {
            (Err(_), _) => Ok(()),
            (_, Err(trouble)) => Err(trouble),
            (Ok(Some((_, expires))), Ok(listed)) if *expires == listed => Ok(()),
            (Ok(Some((_, expires))), Ok(listed)) => {
                self.note(id, expires, &listed, deadline).await.map(|_| ())
            }
            (Ok(None), Ok(listed)) => self.reap(id, &listed, deadline).await.map(|_| ()),
        };
        if let Err(trouble) = corrected {
            tracing::debug!(adapter = NAME, session = %id, "the index is not right yet: {trouble}");
        }
        Ok(match applied? {
            Some((revision, _)) => Applied::Done { revision },
            None => Applied::Gone,
        })
    }

    /// The revision and the expiry after a delta; none where there is no such session any more.
    async fn applied(
        &self,
        id: &SessionId,
        call: &Call,
    ) -> Result<Option<(u64, String)>, StoreError> {
        let reply: Option<Vec<String>> = read("apply", self.link.call(call).await?)?;
        let Some(reply) = reply else { return Ok(None) };
        match reply.as_slice() {
            [word, revision, expires] if word == "done" => {
                let revision = revision.parse().map_err(|_| Trouble::garbled("apply"))?;
                Ok(Some((revision, expires.clone())))
            }
            [word, format] if word == "format" => {
                let found = format.parse().map_err(|_| Trouble::garbled("apply"))?;
                let id = id.clone();
                Err(Unreadable::Format { id, found }.of(NAME))
            }
            _ => Err(Trouble::garbled("apply").into()),
        }
    }

    async fn remove(
        &self,
        id: &SessionId,
        only_expired: bool,
        deadline: Instant,
    ) -> Result<Removed, Trouble> {
        let repeat = if only_expired {
            Repeat::Harmless
        } else {
            Repeat::Harmful
        };
        let mut call = self.session_call(&REMOVE, id, repeat, deadline);
        call.arg(write::flag(only_expired));
        let reply: Vec<String> = read("remove", self.link.call(&call).await?)?;
        let mut reply = reply.into_iter();
        match (reply.next().as_deref(), reply.next()) {
            (Some("none"), None) => Ok(Removed::None),
            (Some("live"), Some(expires)) => Ok(Removed::Live(expires)),
            (Some("expired"), Some(expires)) => Ok(Removed::Expired(expires)),
            (Some("kept"), Some(expires)) => Ok(Removed::Kept(expires)),
            _ => Err(Trouble::garbled("remove")),
        }
    }

    /// Looks whether an entry of the index has a session, and sets it right; whether it went.
    async fn reap(&self, id: &SessionId, score: &str, deadline: Instant) -> Result<bool, Trouble> {
        match self.remove(id, true, deadline).await? {
            Removed::Kept(expires) => {
                self.note(id, &expires, score, deadline).await?;
                Ok(false)
            }
            _ => {
                let entry = [(id.clone(), score.to_owned())];
                Ok(self.unlist(&entry, deadline).await? > 0)
            }
        }
    }

    async fn delete_record(&self, id: &SessionId) -> Result<bool, StoreError> {
        let deadline = deadline();
        match self.remove(id, false, deadline).await? {
            Removed::Live(expires) => {
                self.unlist(&[(id.clone(), expires)], deadline).await?;
                Ok(true)
            }
            Removed::Expired(expires) | Removed::Kept(expires) => {
                self.unlist(&[(id.clone(), expires)], deadline).await?;
                Ok(false)
            }
            Removed::None => Ok(false),
        }
    }

    async fn clear_all(&self) -> Result<u64, StoreError> {
        let (mut live, mut after) = (0, None);
        loop {
            let deadline = deadline();
            let page = self.page(after.as_ref(), PAGE, deadline).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(id, _)| id.clone());
            let mut gone: Vec<Entry> = Vec::with_capacity(page.len());
            let mut removals = stream::iter(page.into_iter().map(|(id, listed)| async move {
                let removed = self.remove(&id, false, deadline).await;
                removed.map(|removed| (id, listed, removed))
            }))
            .buffered(ABREAST);
            while let Some(removal) = removals.next().await {
                let (id, listed, removed) = removal?;
                live += u64::from(matches!(removed, Removed::Live(_)));
                // The entry may be ahead of its session; one that is made at this moment sees to its own.
                gone.push((id, listed));
            }
            drop(removals);
            self.unlist(&gone, deadline).await?;
            if !full {
                return Ok(live);
            }
        }
    }

    async fn list_records(&self, query: &Query) -> Result<Vec<Record>, StoreError> {
        let mut found: Vec<Record> = Vec::new();
        let mut after = query.after.clone();
        while found.len() < query.limit {
            let deadline = deadline();
            let wanted = match query.labels.is_empty() {
                true => PAGE.min(query.limit - found.len()),
                false => PAGE,
            };
            let page = self.page(after.as_ref(), wanted, deadline).await?;
            let full = page.len() == wanted;
            after = page.last().map(|(id, _)| id.clone());
            let mut loads = stream::iter(page.into_iter().map(|(id, score)| async move {
                let loaded = self.load_record(&id, deadline).await;
                loaded.map(|loaded| (id, score, loaded))
            }))
            .buffered(ABREAST);
            while let Some(load) = loads.next().await {
                let (id, score, loaded) = load?;
                match loaded {
                    Some(record) if found.len() < query.limit && query.matches(&record) => {
                        found.push(record);
                    }
                    Some(_) => {}
                    None => self.suspects.add(&id, &score),
                }
            }
            if !full {
                break;
            }
        }
        Ok(found)
    }

    async fn sweep_expired(&self, now: Instant) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            let deadline = deadline();
            let due = self.due(PAGE, deadline).await?;
            let full = due.len() == PAGE;
            swept += self.reap_all(due, deadline).await?;
            if !full {
                break;
            }
        }
        let convicted = self.suspects.convict(now);
        self.reap_all(convicted, deadline()).await?;
        Ok(swept)
    }

    /// Reaps entries; how many went.
    async fn reap_all(&self, entries: Vec<Entry>, deadline: Instant) -> Result<u64, Trouble> {
        let mut reaping = stream::iter(
            entries
                .into_iter()
                .map(|(id, score)| async move { self.reap(&id, &score, deadline).await }),
        )
        .buffered(ABREAST);
        let mut gone = 0;
        while let Some(reaped) = reaping.next().await {
            gone += u64::from(reaped?);
        }
        Ok(gone)
    }

    async fn take_cells(
        &self,
        id: &SessionId,
        generation: Generation,
        reserve: &Reserve,
    ) -> Result<Option<Reservation>, StoreError> {
        let keys = self.keys.of_session(id);
        let mut call = Call::new(&RESERVE, &keys, Repeat::Harmful, deadline());
        let patience = i64::try_from(reserve.patience.as_micros()).unwrap_or(LONGEST_PATIENCE);
        call.arg(generation.to_string())
            .arg(&*reserve.bucket)
            .arg(reserve.rate.interval_micros())
            .arg(reserve.rate.tolerance_micros())
            .arg(reserve.wanted)
            .arg(reserve.spare)
            .arg(patience.min(LONGEST_PATIENCE))
            .arg(MAX_HOSTS);
        let reply: Option<(i64, i64)> = read("reserve", self.link.call(&call).await?)?;
        Ok(reply.map(|(before, at)| Reservation {
            before: Timestamp::from_micros(before),
            at: Timestamp::from_micros(at),
        }))
    }
}

impl Adapter for Redis {
    fn name(&self) -> &'static str {
        NAME
    }

    fn create(&self, record: Record, room: u64) -> StoreFuture<'_, Created> {
        Box::pin(self.create_record(record, room))
    }

    fn load<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<Record>> {
        Box::pin(self.load_record(id, deadline()))
    }

    fn apply<'a>(
        &'a self,
        id: &'a SessionId,
        generation: Generation,
        delta: Delta,
    ) -> StoreFuture<'a, Applied> {
        Box::pin(self.apply_delta(id, generation, delta))
    }

    fn delete<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, bool> {
        Box::pin(self.delete_record(id))
    }

    fn clear(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.clear_all())
    }

    fn list<'a>(&'a self, query: &'a Query) -> StoreFuture<'a, Vec<Record>> {
        Box::pin(self.list_records(query))
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        Box::pin(async { Ok(self.count_listed(deadline()).await?) })
    }

    fn sweep(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.sweep_expired(Instant::now()))
    }

    fn health(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(self.link.health(deadline()).await?) })
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}

impl Shared for Redis {
    fn subscribe(&self, changes: mpsc::UnboundedSender<Change>) {
        self.link.open();
        let listener = Listener {
            dialer: Arc::clone(&self.dialer),
            map: self.link.map(),
            channel: self.keys.changes(),
            process: self.process.clone(),
            hearing: Arc::clone(&self.hearing),
            changes,
        };
        self.listener
            .get_or_init(|| AbortOnDropHandle::new(tokio::spawn(listener.listen())));
    }

    fn freshness(&self) -> Freshness {
        self.hearing.freshness()
    }

    fn reserve<'a>(
        &'a self,
        id: &'a SessionId,
        generation: Generation,
        reserve: &'a Reserve,
    ) -> StoreFuture<'a, Option<Reservation>> {
        Box::pin(self.take_cells(id, generation, reserve))
    }
}

/// When a call that begins now has to be over.
fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

/// An expiry as the index has it.
fn score(expires: Timestamp) -> String {
    expires.as_micros().to_string()
}
