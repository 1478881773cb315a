//! Sessions in MongoDB: a document each, one update a change, word of changes by a change stream.
//!
//! docs/ADAPTERS.md says what is stored, and what holds. In short:
//!
//! - a change is one `findAndModify` with a pipeline, filtered by id, generation and expiry: atomic, and never an upsert;
//! - time is the server's (`$$NOW`), in whole milliseconds;
//! - cookies, storage, settings, creations and deletions are acknowledged by a majority, from the journal; the rest by the
//!   primary;
//! - the server sweeps what has expired, by a TTL index.

mod changes;
mod document;
mod fault;
mod ledger;
mod link;
mod reserve;
#[cfg(test)]
mod tests;
mod time;
mod update;
mod writer;

use std::fmt;
use std::sync::{Arc, OnceLock};

use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use mongodb::options::{ConnectionString, ReturnDocument, WriteConcern};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::ledger::Place;
use self::link::{Link, Store, durable, lasting};
use self::writer::Writer;
use super::stored::{Codec, FORMAT};
use super::{
    Adapter, Applied, Change, Created, Freshness, Query, Reservation, Reserve, Shared, StoreError,
    StoreFuture,
};
use crate::session::delta::Delta;
use crate::session::id::SessionId;
use crate::session::record::{Generation, Record};

/// Where the MongoDB is.
#[derive(Clone)]
pub struct MongodbSettings {
    /// A connection string, `mongodb://` or `mongodb+srv://`.
    pub uri: String,
    /// The database.
    pub database: String,
}

/// The connection string holds a password.
impl fmt::Debug for MongodbSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongodbSettings")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// The connection string or the name of the database is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMongodb(String);

/// Sessions in a MongoDB of 4.4 or later.
///
/// The first call starts the tasks that keep the link, and has to be made within a runtime; they end when this is dropped.
pub struct Mongodb {
    link: Arc<Link>,
    codec: Codec,
    writer: Writer,
    keeper: OnceLock<AbortOnDropHandle<()>>,
    teller: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Mongodb {
    /// An adapter that is not connected yet. `process` are random bits that tell this process from the others.
    ///
    /// # Errors
    /// [`InvalidMongodb`] says what is wrong with the settings; it does not hold the password.
    pub fn new(
        settings: MongodbSettings,
        codec: Codec,
        process: u64,
    ) -> Result<Self, InvalidMongodb> {
        let MongodbSettings { uri, database } = settings;
        let invalid = |reason: &str| InvalidMongodb(reason.to_owned());
        let forbidden = |c: char| c.is_control() || r#"/\. "$*<>:|?"#.contains(c);
        if !(1..=63).contains(&database.len()) || database.contains(forbidden) {
            return Err(invalid(
                "the name of a database has 1 to 63 bytes and none of `/ \\ . \" $ * < > : | ?` and space",
            ));
        }
        let uri = ConnectionString::parse(&uri).map_err(|_| invalid(EXPECTED))?;
        #[expect(
            deprecated,
            reason = "the field is how the driver says that the option was given"
        )]
        if uri.socket_timeout.is_some() {
            return Err(invalid("`socketTimeoutMS` is not known here: leave it out"));
        }
        Ok(Self {
            link: Arc::new(Link::new(uri, database)),
            codec,
            writer: Writer::new(process),
            keeper: OnceLock::new(),
            teller: Mutex::default(),
        })
    }

    /// Does something with the server.
    async fn call<T>(
        &self,
        act: impl AsyncFnOnce(&Store) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        self.start();
        self.link.call(act).await
    }

    fn start(&self) {
        self.keeper.get_or_init(|| {
            let link = Arc::clone(&self.link);
            AbortOnDropHandle::new(tokio::spawn(async move { link.keep().await }))
        });
    }

    async fn create_within(&self, record: Record, room: u64) -> Result<Created, StoreError> {
        let place = self.writer.name();
        let writer = self.writer.next(record.generation);
        let session = document::document(&self.codec, &record, &writer);
        self.call(async |store| {
            if let Place::None(until) = ledger::take(store, room, &place).await? {
                return Ok(Created::Full { until });
            }
            // An error leaves it open whether the session is there: its place stays taken until the next count.
            let inserted = insert(store, &session).await?;
            if let Err(error) = ledger::release(store, &place, inserted).await {
                // The session is as it was answered; its place counts twice for a while.
                let error = self.link.explain(&error);
                tracing::debug!(adapter = NAME, %error, "place not released");
            }
            Ok(if inserted {
                Created::Done
            } else {
                Created::Exists
            })
        })
        .await
    }

    async fn apply_to(
        &self,
        id: &SessionId,
        generation: Generation,
        delta: &Delta,
    ) -> Result<Applied, StoreError> {
        let writer = self.writer.next(generation);
        let update = update::pipeline(&self.codec, id, delta, &writer);
        let concern = if delta.is_durable() {
            durable()
        } else {
            lasting()
        };
        let session = self
            .call(async |store| {
                modify(
                    store,
                    id,
                    generation,
                    update,
                    doc! { "revision": 1 },
                    concern,
                )
                .await
            })
            .await?;
        let Some(session) = session else {
            return Ok(Applied::Gone);
        };
        let revision = session
            .get("revision")
            .and_then(document::whole)
            .unwrap_or_default();
        Ok(Applied::Done {
            revision: u64::try_from(revision).unwrap_or_default(),
        })
    }

    async fn delete_one(&self, id: &SessionId) -> Result<bool, StoreError> {
        self.call(async |store| {
            let delete = async |filter: Document| {
                let deletion = store.sessions.delete_one(filter);
                let deleted = deletion.write_concern(durable()).await?;
                Ok::<_, Error>(deleted.deleted_count > 0)
            };
            if delete(doc! { "_id": id.as_str(), "$expr": time::live() }).await? {
                self.freed(store, 1).await;
                return Ok(true);
            }
            // Not one that another process created in between.
            delete(doc! { "_id": id.as_str(), "$expr": time::expired() }).await?;
            Ok(false)
        })
        .await
    }

    /// Deletes all sessions, so many at a time as the server does well within the deadline.
    async fn delete_all(&self) -> Result<u64, StoreError> {
        let mut live = 0;
        for (filter, counts) in [(time::live(), true), (time::expired(), false)] {
            loop {
                let ids = self
                    .call(async |store| ids(store, doc! { "$expr": filter.clone() }).await)
                    .await?;
                if ids.is_empty() {
                    break;
                }
                let deleted = self.call(async |store| {
                    let these = doc! { "_id": { "$in": &ids }, "$expr": filter.clone() };
                    let deletion = store.sessions.delete_many(these);
                    let deleted = deletion.write_concern(durable()).await?.deleted_count;
                    if counts {
                        self.freed(store, deleted).await;
                    }
                    Ok(deleted)
                });
                let deleted = deleted.await?;
                live += if counts { deleted } else { 0 };
            }
        }
        Ok(live)
    }

    /// A hint, for [`ledger`] to count: without it, it does so within a second.
    async fn freed(&self, store: &Store, sessions: u64) {
        if let Err(error) = ledger::freed(store, sessions).await {
            let error = self.link.explain(&error);
            tracing::debug!(adapter = NAME, %error, "ledger not told of a deletion");
        }
    }

    async fn list_page(&self, query: &Query) -> Result<Vec<Record>, StoreError> {
        let mut filter = doc! { "$expr": time::live() };
        if let Some(after) = &query.after {
            filter.insert("_id", doc! { "$gt": after.as_str() });
        }
        if !query.labels.is_empty() {
            let labels = query.labels.iter();
            let all: Vec<_> = labels
                .map(|(name, value)| document::label(name, value))
                .collect();
            filter.insert("labels", doc! { "$all": all });
        }
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let found = self.call(async |store| {
            let found = store.sessions.find(filter).sort(doc! { "_id": 1 });
            let mut found = found.limit(limit).await?;
            let mut sessions = Vec::new();
            while found.advance().await? {
                sessions.push(found.deserialize_current()?);
            }
            Ok(sessions)
        });
        let sessions = found.await?;
        let records = sessions.iter();
        records
            .map(|session| document::record(&self.codec, session))
            .collect()
    }

    async fn take_cells(
        &self,
        id: &SessionId,
        generation: Generation,
        reserve: &Reserve,
    ) -> Result<Option<Reservation>, StoreError> {
        let session = self
            .call(async |store| {
                let update = reserve::pipeline(reserve);
                let shown = doc! { reserve::bucket_of(reserve): 1 };
                modify(store, id, generation, update, shown, lasting()).await
            })
            .await?;
        let Some(session) = session else {
            return Ok(None);
        };
        match reserve::reservation(&session, reserve) {
            Some(reservation) => Ok(Some(reservation)),
            None => Err(link::fault(format!(
                "the limiter of session `{id}` is damaged: delete the session"
            ))),
        }
    }
}

/// Whether the session was inserted; not where there is an unexpired one of its id.
async fn insert(store: &Store, session: &Document) -> Result<bool, Error> {
    let id = session.get("_id");
    // Between the two the one that is in the way may go.
    for _ in 0..3 {
        let inserted = store.sessions.insert_one(session);
        match inserted.write_concern(durable()).await {
            Ok(_) => return Ok(true),
            Err(error) if fault::is_duplicate(&error) => {}
            Err(error) => return Err(error),
        }
        let swept = doc! { "_id": id, "$expr": time::expired() };
        let replaced = store.sessions.replace_one(swept, session);
        if replaced.write_concern(durable()).await?.matched_count > 0 {
            return Ok(true);
        }
        let there = store.sessions.find_one(doc! { "_id": id });
        if there.projection(doc! { "_id": 1 }).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(false)
}

/// Updates an unexpired session of this generation; what is to be shown of it then.
async fn modify(
    store: &Store,
    id: &SessionId,
    generation: Generation,
    update: Vec<Document>,
    shown: Document,
    concern: WriteConcern,
) -> Result<Option<Document>, Error> {
    let session = doc! {
        "_id": id.as_str(),
        "generation": generation.to_string(),
        "format": FORMAT,
        "$expr": time::live(),
    };
    store
        .sessions
        .find_one_and_update(session, update)
        .projection(shown)
        .return_document(ReturnDocument::After)
        .write_concern(concern)
        .await
}

/// Some ids of sessions.
async fn ids(store: &Store, filter: Document) -> Result<Vec<String>, Error> {
    let found = store.sessions.find(filter).projection(doc! { "_id": 1 });
    let mut found = found.limit(BATCH).await?;
    let mut ids = Vec::new();
    while found.advance().await? {
        ids.push(found.current().get_str("_id")?.to_owned());
    }
    Ok(ids)
}

impl Adapter for Mongodb {
    fn name(&self) -> &'static str {
        NAME
    }

    fn create(&self, record: Record, room: u64) -> StoreFuture<'_, Created> {
        Box::pin(self.create_within(record, room))
    }

    fn load<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            let found = self
                .call(async |store| {
                    let session = doc! { "_id": id.as_str(), "$expr": time::live() };
                    store.sessions.find_one(session).await
                })
                .await?;
            found
                .map(|session| document::record(&self.codec, &session))
                .transpose()
        })
    }

    fn apply<'a>(
        &'a self,
        id: &'a SessionId,
        generation: Generation,
        delta: Delta,
    ) -> StoreFuture<'a, Applied> {
        Box::pin(async move { self.apply_to(id, generation, &delta).await })
    }

    fn delete<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, bool> {
        Box::pin(self.delete_one(id))
    }

    fn clear(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.delete_all())
    }

    fn list<'a>(&'a self, query: &'a Query) -> StoreFuture<'a, Vec<Record>> {
        Box::pin(self.list_page(query))
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.call(ledger::unexpired))
    }

    /// The server sweeps by itself.
    fn sweep(&self) -> StoreFuture<'_, u64> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn health(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.call(ledger::look))
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}

impl Shared for Mongodb {
    fn subscribe(&self, changes: mpsc::UnboundedSender<Change>) {
        self.start();
        let telling = changes::tell(Arc::clone(&self.link), self.writer.process, changes);
        *self.teller.lock() = Some(AbortOnDropHandle::new(tokio::spawn(telling)));
    }

    fn freshness(&self) -> Freshness {
        self.link.freshness()
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

impl fmt::Debug for Mongodb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mongodb").finish_non_exhaustive()
    }
}

const NAME: &str = "mongodb";

const EXPECTED: &str = "is no connection string such as `mongodb://user:password@db.example:27017/?replicaSet=rs0` or \
    `mongodb+srv://cluster.example/`; in user and password `: / ? # [ ] @ %` have to be percent-encoded";

/// How many sessions go at once where all do.
const BATCH: i64 = 500;
