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
mod keep;
mod keys;
mod link;
mod listen;
mod many;
mod news;
mod node;
mod one;
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

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

pub use self::keys::InvalidPrefix;
pub use self::url::InvalidUrl;

use self::dial::Dialer;
use self::index::Suspects;
use self::keys::Keys;
use self::link::Link;
use self::listen::{Hearing, Listener};
use self::one::deadline;
use super::stored::Codec;
use super::{
    Adapter, Applied, Change, Created, Freshness, Query, Reservation, Reserve, Shared, StoreFuture,
};
use crate::session::delta::Delta;
use crate::session::id::SessionId;
use crate::session::record::{Generation, Record};

/// The adapter's name.
const NAME: &str = "redis";

/// Before the host in a field of the limiter that is a bucket.
const BUCKET: &str = "bucket:";
/// Before the host in a field of the limiter that is a pause.
const PAUSE: &str = "pause:";

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
