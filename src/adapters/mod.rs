//! Where records live: the [`Adapter`] trait and its implementations.
//!
//! # Writing an adapter
//! A store keeps [`Record`]s and applies [`Delta`]s to them; it never receives a whole record to overwrite
//! another with. [`Delta`] says what changed, cookie by cookie, and [`Record::apply`] is what applying
//! means: any other implementation (a script, an update pipeline) must have the same result.
//!
//! - [`create`](Adapter::create) is atomic: of two calls for one id, one is told that it exists.
//! - [`apply`](Adapter::apply) is atomic, and does nothing where the record is not of that generation: a late
//!   response of a deleted session writes nothing into its successor.
//! - Deltas of one process for one session arrive in order, one at a time. Those of several processes
//!   may interleave; the end state is that of some serial order.
//! - What a future returned here has answered with success survives what the adapter promises to survive.
//! - Only the store declares a record expired, by its own clock; an expired record is not found, whether or not
//!   it has been swept.
//! - A record's [`revision`](Record::revision) counts the changes that other holders of a copy have to learn of: those
//!   that are [durable](Delta::is_durable). A touch, counters and the limiter's state leave it as it is.
//! - Everything has an end: a store that does not answer is an error within [`DEADLINE`], and while it is known to be
//!   gone, at once.
//!
//! A store that several processes use also has a [`Shared`] side.

#[cfg(test)]
pub(crate) mod conformance;
mod file;
mod memory;
mod mongodb;
mod redis;
mod shared;
mod stored;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::redis::{InvalidPrefix, InvalidRedis, InvalidUrl, Redis, RedisSettings};
pub use file::FileAdapter;
pub use memory::Memory;
pub use mongodb::{InvalidMongodb, Mongodb, MongodbSettings};
pub use shared::{Change, Freshness, Reservation, Reserve, Shared};
pub use stored::Codec;

use crate::session::delta::Delta;
use crate::session::id::SessionId;
use crate::session::record::{Generation, Record};
use crate::session::time::Timestamp;

/// How long a call may take before the store counts as gone. A client is to have its 503 within two seconds.
pub const DEADLINE: Duration = Duration::from_millis(1500);

/// What an adapter's call returns.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store of records.
pub trait Adapter: fmt::Debug + Send + Sync {
    /// The name by which sessions ask for it: `memory`, `file`, `redis`, `mongodb`.
    fn name(&self) -> &'static str;

    /// Stores a new record, unless its id is taken by an unexpired one, or there are `room` unexpired records already.
    fn create(&self, record: Record, room: u64) -> StoreFuture<'_, Created>;

    /// The unexpired record of an id.
    fn load<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<Record>>;

    /// Applies a change to the record of this id and generation.
    fn apply<'a>(
        &'a self,
        id: &'a SessionId,
        generation: Generation,
        delta: Delta,
    ) -> StoreFuture<'a, Applied>;

    /// Removes a record, whatever its generation; whether there was an unexpired one.
    fn delete<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, bool>;

    /// Removes every record; how many unexpired ones there were.
    fn clear(&self) -> StoreFuture<'_, u64>;

    /// Unexpired records in the order of their ids.
    fn list<'a>(&'a self, query: &'a Query) -> StoreFuture<'a, Vec<Record>>;

    /// How many unexpired records there are.
    fn count(&self) -> StoreFuture<'_, u64>;

    /// Removes expired records that nothing else removes; how many went.
    fn sweep(&self) -> StoreFuture<'_, u64>;

    /// Whether the store can be reached now, and does its work.
    fn health(&self) -> StoreFuture<'_, ()>;

    /// The side of it that other processes see; `None` where the store belongs to this process alone.
    fn shared(&self) -> Option<&dyn Shared> {
        None
    }
}

/// What became of a new record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is stored.
    Done,
    /// Its id is taken.
    Exists,
    /// There is no room; the earliest time at which there may be, if it is known.
    Full {
        /// When the first of the present records expires, unless it is used before.
        until: Option<Timestamp>,
    },
}

/// What became of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is applied, and durable as far as the adapter promises.
    Done {
        /// The record's [`revision`](Record::revision) thereby.
        revision: u64,
    },
    /// There is no such record any more: it was deleted, or it expired.
    Gone,
}

/// Which records to list.
#[derive(Clone, Debug)]
pub struct Query {
    /// Only ids after this one.
    pub after: Option<SessionId>,
    /// At most so many.
    pub limit: usize,
    /// Only records with these labels.
    pub labels: Vec<(String, String)>,
}

impl Query {
    /// Whether a record has all the labels asked for.
    pub fn matches(&self, record: &Record) -> bool {
        let has = &record.settings.labels;
        self.labels
            .iter()
            .all(|(key, value)| has.get(key).is_some_and(|has| has == value))
    }
}

/// A store that cannot do its work now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("adapter `{adapter}`: {reason}")]
pub struct StoreError {
    /// The adapter's name.
    pub adapter: &'static str,
    /// What is wrong, and the remedy.
    pub reason: Arc<str>,
}

impl StoreError {
    /// The store did not answer within [`DEADLINE`].
    #[must_use]
    pub fn silent(adapter: &'static str) -> Self {
        Self {
            adapter,
            reason: format!("no answer within {:.1} s", DEADLINE.as_secs_f32()).into(),
        }
    }
}
