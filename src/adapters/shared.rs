//! What a store offers that several processes use: word of each other's changes, and one rate limit for all.

use std::time::Duration;

use tokio::sync::mpsc;

use super::StoreFuture;
use crate::session::id::SessionId;
use crate::session::limiter::Rate;
use crate::session::record::Generation;
use crate::session::time::Timestamp;

/// The side of a store that other processes see.
pub trait Shared: Send + Sync {
    /// Has every change that another process makes told to `changes`, from now until the receiver is dropped. A change may
    /// be told twice, or without need; one that is missed is an interruption (see [`Freshness`]). Called once, before
    /// anything is loaded.
    fn subscribe(&self, changes: mpsc::UnboundedSender<Change>);

    /// How far copies of records can be trusted at this moment. Cheap: it is asked on every request.
    fn freshness(&self) -> Freshness;

    /// Takes cells of a session's rate, as [`Rate::reserve`] says, by the store's own clock and atomically. Where the session
    /// is not of that generation any more, nothing is taken: `None`.
    fn reserve<'a>(
        &'a self,
        id: &'a SessionId,
        generation: Generation,
        reserve: &'a Reserve,
    ) -> StoreFuture<'a, Option<Reservation>>;
}

/// Something that another process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A session has changed: this is its revision now.
    Changed {
        /// Which.
        id: SessionId,
        /// Which of that name.
        generation: Generation,
        /// The revision that the change made.
        revision: u64,
    },
    /// A session was deleted, or it expired.
    Gone {
        /// Which.
        id: SessionId,
        /// Which of that name; `None` where that is not known, and whichever it is has to be looked at again.
        generation: Option<Generation>,
    },
    /// Every session was deleted.
    Cleared,
}

/// How far a copy of a record can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Changes are told as they happen. The number counts the interruptions: a copy loaded under another number is stale.
    Linked(u64),
    /// Changes are not told: a copy is stale when it is older than this.
    Polled(Duration),
    /// The store cannot be heard at this moment: every copy is stale.
    Unlinked,
}

/// How many cells to take of which bucket.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// The host whose bucket it is; empty for the one of the whole session.
    pub bucket: Box<str>,
    /// The rate of the bucket.
    pub rate: Rate,
    /// So many requests wait for a cell each.
    pub wanted: u32,
    /// So many more cells are welcome for requests to come.
    pub spare: u32,
    /// The longest that a wanted cell may lie ahead.
    pub patience: Duration,
}

/// What the store knew when it took the cells; [`Rate::reserve`] tells from it which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// When the bucket would have been full, had nothing been taken: its theoretical arrival time before.
    pub before: Timestamp,
    /// The time by the clock of the store.
    pub at: Timestamp,
}
