//! How many sessions there are, kept so that creating one needs no count, and any number of processes stay within the bound.
//!
//! The ledger is one document. Its `held` is never less than the number of unexpired sessions, those under way included:
//!
//! 1. Whoever creates a session first [takes](take) a place, if `held` is below the bound, and says so under `pending`;
//! 2. then it inserts the session;
//! 3. then it [releases](release) the entry under `pending`, and gives the place back if nothing was inserted.
//!
//! Nothing else makes `held` smaller, neither deletion nor expiry, so it grows beyond the truth. Where it has reached the bound,
//! the sessions are [counted](count), and `held` becomes that count, and the places pending when it began, and those taken
//! since: again never less than the truth, whoever did what meanwhile. A count is of no use where nothing can have changed
//! since the last one: no session was deleted or has expired, the last count was exact, and less than a second ago.
//!
//! A process that dies between 1 and 3 leaves an entry under `pending`, which counts for [`PENDING_MILLIS`]. An insertion
//! that a stopped server carries out later than that is the one way to exceed the bound, by itself.

use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error;

use super::document::whole;
use super::fault::is_duplicate;
use super::link::{Store, durable, lasting};
use crate::session::time::Timestamp;

/// What became of asking for a place.
pub(super) enum Place {
    /// It is taken; to be released by this name.
    Taken,
    /// There is none; when the first session expires, where that is known.
    None(Option<Timestamp>),
}

/// Makes the ledger, where there is none. Nothing is known of the number of sessions then, which counts as very many.
pub(super) async fn open(ledger: &Collection<Document>) -> Result<(), Error> {
    let unknown = doc! {
        "_id": ID,
        "held": i64::MAX,
        "counts": 0_i64,
        "freed": 0_i64,
        "slack": 0_i64,
        "pending": {},
    };
    match ledger.insert_one(unknown).write_concern(durable()).await {
        Err(error) if !is_duplicate(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Takes a place, if there are fewer sessions than `room`.
pub(super) async fn take(store: &Store, room: u64, name: &str) -> Result<Place, Error> {
    let room = i64::try_from(room).unwrap_or(i64::MAX);
    let mut until = None;
    // Each turn counts, or finds that somebody else did, and took the place; nobody takes more than a few in a row.
    for _ in 0..TURNS {
        let taken = store
            .ledger
            .update_one(
                doc! { "_id": ID, "held": { "$lt": room } },
                vec![doc! { "$set": {
                    "held": { "$add": ["$held", 1_i64] },
                    format!("pending.{name}"): "$$NOW",
                } }],
            )
            .write_concern(durable())
            .await?;
        if taken.matched_count > 0 {
            return Ok(Place::Taken);
        }
        match count(store, room).await? {
            Counted::Anew => {}
            Counted::InVain(first) => {
                until = first;
                break;
            }
        }
    }
    Ok(Place::None(until))
}

/// Says that the place taken under `name` is used, or gives it back.
pub(super) async fn release(store: &Store, name: &str, used: bool) -> Result<(), Error> {
    let pending = format!("pending.{name}");
    let mut release = doc! { "$unset": { &pending: "" } };
    if !used {
        release.insert("$inc", doc! { "held": -1_i64 });
    }
    store
        .ledger
        .update_one(doc! { "_id": ID, pending: { "$exists": true } }, release)
        .write_concern(lasting())
        .await?;
    Ok(())
}

/// Says that sessions were deleted, so that a count is of use.
pub(super) async fn freed(store: &Store, sessions: u64) -> Result<(), Error> {
    let sessions = i64::try_from(sessions).unwrap_or(i64::MAX);
    store
        .ledger
        .update_one(
            doc! { "_id": ID },
            vec![doc! { "$set": { "freed": { "$min": [
                { "$add": ["$freed", sessions] },
                FREED_MAX,
            ] } } }],
        )
        .write_concern(lasting())
        .await?;
    Ok(())
}

/// How many unexpired sessions there are, by the server's clock.
pub(super) async fn unexpired(store: &Store) -> Result<u64, Error> {
    let page = read(store).await?;
    let (count, _) = count_after(store, page.now).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Reads the ledger, which takes a server that answers and the right to read there.
pub(super) async fn look(store: &Store) -> Result<(), Error> {
    read(store).await.map(|_| ())
}

enum Counted {
    /// `held` is right again, or somebody else made it so.
    Anew,
    /// All the places are really taken; when the first session expires.
    InVain(Option<Timestamp>),
}

/// The ledger at one moment.
struct Page {
    /// The server's time, in milliseconds.
    now: i64,
    held: i64,
    counts: i64,
    freed: i64,
    slack: i64,
    counted_at: Option<i64>,
    first_expiry: Option<i64>,
    /// Entries of processes that may be alive.
    pending: i64,
}

impl Page {
    fn is_worth_counting(&self) -> bool {
        self.freed > 0
            || self.slack > 0
            || self
                .first_expiry
                .is_none_or(|first| first <= self.now * 1000)
            || self
                .counted_at
                .is_none_or(|at| !(at..at + COUNT_EVERY_MILLIS).contains(&self.now))
    }
}

async fn count(store: &Store, room: i64) -> Result<Counted, Error> {
    let page = read(store).await?;
    if page.held < room {
        return Ok(Counted::Anew);
    }
    if !page.is_worth_counting() {
        return Ok(Counted::InVain(
            page.first_expiry.map(Timestamp::from_micros),
        ));
    }
    let (count, first) = count_after(store, page.now).await?;
    let since = doc! { "$subtract": ["$held", page.held] };
    let slack = doc! { "$add": [page.pending, since.clone()] };
    let forgotten = page.now - PENDING_MILLIS;
    store
        .ledger
        .update_one(
            // Of two who count at once one counts in vain.
            doc! { "_id": ID, "counts": page.counts },
            vec![doc! { "$set": {
                "held": { "$add": [count, page.pending, since] },
                "counts": { "$add": ["$counts", 1_i64] },
                "freed": { "$max": [{ "$subtract": ["$freed", page.freed] }, 0_i64] },
                "slack": slack,
                "countedAt": "$$NOW",
                "firstExpiry": first.map_or(Bson::Null, Bson::Int64),
                "pending": { "$arrayToObject": { "$filter": {
                    "input": { "$objectToArray": "$pending" },
                    "as": "entry",
                    "cond": { "$gt": [{ "$toLong": "$$entry.v" }, forgotten] },
                } } },
            } }],
        )
        .write_concern(durable())
        .await?;
    Ok(Counted::Anew)
}

async fn read(store: &Store) -> Result<Page, Error> {
    let mut found = store
        .ledger
        .aggregate([
            doc! { "$match": { "_id": ID } },
            doc! { "$set": { "now": "$$NOW" } },
        ])
        .await?;
    let page = if found.advance().await? {
        found.deserialize_current()?
    } else {
        // Somebody dropped it.
        open(&store.ledger).await?;
        let now = mongodb::bson::DateTime::now();
        doc! { "held": i64::MAX, "now": now }
    };
    let number = |field| page.get(field).and_then(whole);
    let millis = |field| {
        page.get_datetime(field)
            .ok()
            .map(|at| at.timestamp_millis())
    };
    let now = millis("now").unwrap_or_default();
    let pending = page.get_document("pending").into_iter().flatten();
    let alive = pending.filter(|(_, at)| {
        let at = at.as_datetime().map(|at| at.timestamp_millis());
        at.is_some_and(|at| at > now - PENDING_MILLIS)
    });
    Ok(Page {
        now,
        pending: i64::try_from(alive.count()).unwrap_or(i64::MAX),
        held: number("held").unwrap_or(i64::MAX),
        counts: number("counts").unwrap_or(0),
        freed: number("freed").unwrap_or(0),
        slack: number("slack").unwrap_or(0),
        counted_at: millis("countedAt"),
        first_expiry: number("firstExpiry"),
    })
}

/// How many sessions expire after `now`, in milliseconds, and when the first of them does. The index on `expires` has all that
/// this needs.
async fn count_after(store: &Store, now: i64) -> Result<(i64, Option<i64>), Error> {
    let mut found = store
        .sessions
        .aggregate([
            doc! { "$match": { "expires": { "$gt": now.saturating_mul(1000) } } },
            doc! { "$project": { "_id": 0, "expires": 1 } },
            doc! { "$group": {
                "_id": Bson::Null,
                "count": { "$sum": 1_i64 },
                "first": { "$min": "$expires" },
            } },
        ])
        .await?;
    if !found.advance().await? {
        return Ok((0, None));
    }
    let counted = found.deserialize_current()?;
    Ok((
        counted.get("count").and_then(whole).unwrap_or(0),
        counted.get("first").and_then(whole),
    ))
}

const ID: &str = "sessions";

/// How long an entry under `pending` counts: many times longer than an insertion takes.
const PENDING_MILLIS: i64 = 60_000;

/// Deletions are told, but by a process that died meanwhile: so look every second all the same.
const COUNT_EVERY_MILLIS: i64 = 1000;

/// More deletions than this say no more than this many.
const FREED_MAX: i64 = 1 << 40;

const TURNS: usize = 8;
