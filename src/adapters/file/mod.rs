//! Records in one file: sessions that survive their process, with nothing installed.
//!
//! The file is an SQLite database in WAL mode. [`writer`] is the one thread that changes it: what waits for it at one moment
//! shares a transaction and a sync. Reads have connections of their own and do not wait for it. [`open`] is how the file is
//! made, found and refused, [`rows`] what is done in it. docs/ADAPTERS.md has its layout, and why it is SQLite.
//!
//! # What survives
//! A change of cookies, storage or settings, a creation and a deletion are on the disk when they are acknowledged. A touch, counters
//! and the limiter's state survive the process at once, and a failure of power from the next sync on.
//!
//! # Errors
//! A file that cannot be used is left as it is. It is tried again at the next call, so that no restart is needed when the
//! reason has gone.

mod failure;
mod layout;
mod marks;
mod open;
mod parts;
mod queue;
mod read;
mod readers;
mod rows;
mod task;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::failure::Failure;
use self::readers::Readers;
use self::task::{Change, Missing, Urgency};
use self::writer::Writer;
use super::{Adapter, Applied, Codec, Created, DEADLINE, Query, StoreError, StoreFuture};
use crate::clock;
use crate::session::delta::Delta;
use crate::session::id::SessionId;
use crate::session::record::{Generation, Record};

const NAME: &str = "file";

/// Records in the file at a path, and in two beside it, `-wal` and `-shm`, while it is in use.
///
/// One process uses it at a time, which holds `-lock` beside it.
#[derive(Debug)]
pub struct FileAdapter {
    path: Arc<Path>,
    codec: Codec,
    readers: Arc<Readers>,
    /// Started at the first use. Held to clone a handle, never across an await.
    writer: Mutex<Option<Writer>>,
}

impl FileAdapter {
    /// An adapter of the file at `path`. Nothing is read and nothing made before it is used; the file and its folders are
    /// made when the first session is.
    #[must_use]
    pub fn new(path: PathBuf, codec: Codec) -> Self {
        let path: Arc<Path> = path.into();
        Self {
            readers: Arc::new(Readers::new(Arc::clone(&path))),
            path,
            codec,
            writer: Mutex::default(),
        }
    }

    /// Has the writer do something; none where there is no file.
    async fn write<T: Send + 'static>(
        &self,
        urgency: Urgency,
        missing: Missing,
        work: impl FnMut(&mut Change<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let answer = {
            let mut writer = self.writer.lock();
            let writer = match &mut *writer {
                Some(writer) => writer,
                None if missing == Missing::Leave && !open::is_there(&self.path) => {
                    return Ok(None);
                }
                none => none.insert(
                    Writer::start(Arc::clone(&self.path), Arc::clone(&self.readers))
                        .map_err(|failure| self.error(&failure))?,
                ),
            };
            writer.send(urgency, missing, work)
        };
        let answer = answer.map_err(|failure| self.error(&failure))?;
        match timeout(DEADLINE, answer).await {
            Ok(Ok(result)) => result.map_err(|failure| self.error(&failure)),
            // The writer ends with this adapter, or by a panic.
            Ok(Err(_)) => Err(self.error(&Failure::NoWriter)),
            Err(_) => Err(self.error(&Failure::Slow)),
        }
    }

    /// Reads something beside the writer; none where there is no file.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Codec) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        if !self.readers.is_open() {
            let opened = self
                .write(Urgency::Soon, Missing::Leave, |_| Ok(()))
                .await?;
            if opened.is_none() {
                return Ok(None);
            }
        }
        let (readers, codec) = (Arc::clone(&self.readers), self.codec.clone());
        let reading = spawn_blocking(move || readers.read(|file| work(file, &codec)));
        match timeout(DEADLINE, reading).await {
            Ok(Ok(result)) => result.map(Some).map_err(|failure| self.error(&failure)),
            Ok(Err(_)) => Err(self.error(&Failure::NoReader)),
            Err(_) => Err(self.error(&Failure::Slow)),
        }
    }

    fn error(&self, failure: &Failure) -> StoreError {
        StoreError {
            adapter: NAME,
            reason: failure.reason(&self.path).into(),
        }
    }

    async fn sweep_all(&self) -> Result<u64, StoreError> {
        let begun = Instant::now();
        let mut swept = 0;
        // In parts, so that others get their turn between them; what is left over falls to the next sweep.
        while begun.elapsed() < DEADLINE / 3 {
            let work = |change: &mut Change<'_>| rows::sweep(change, clock::now());
            let some = self.write(Urgency::Soon, Missing::Leave, work).await?;
            match some {
                None | Some(0) => break,
                Some(some) => swept += some,
            }
        }
        Ok(swept)
    }
}

impl Adapter for FileAdapter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn create(&self, record: Record, room: u64) -> StoreFuture<'_, Created> {
        let codec = self.codec.clone();
        Box::pin(async move {
            let work = move |change: &mut Change<'_>| {
                rows::create(change, &codec, &record, room, clock::now())
            };
            let created = self.write(Urgency::Now, Missing::Make, work).await?;
            created.ok_or_else(|| self.error(&Failure::Missing))
        })
    }

    fn load<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<Record>> {
        let id = id.clone();
        Box::pin(async move {
            let found = self.read(move |file, codec| read::load(file, codec, &id, clock::now()));
            Ok(found.await?.flatten())
        })
    }

    fn apply<'a>(
        &'a self,
        id: &'a SessionId,
        generation: Generation,
        delta: Delta,
    ) -> StoreFuture<'a, Applied> {
        let (id, codec) = (id.clone(), self.codec.clone());
        Box::pin(async move {
            let urgency = if delta.is_durable() {
                Urgency::Now
            } else {
                Urgency::Soon
            };
            let work = move |change: &mut Change<'_>| {
                rows::apply(change, &codec, &id, generation, &delta, clock::now())
            };
            let applied = self.write(urgency, Missing::Leave, work).await?;
            Ok(applied.unwrap_or(Applied::Gone))
        })
    }

    fn delete<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, bool> {
        let id = id.clone();
        Box::pin(async move {
            let work = move |change: &mut Change<'_>| rows::delete(change, &id, clock::now());
            let deleted = self.write(Urgency::Now, Missing::Leave, work).await?;
            Ok(deleted.unwrap_or(false))
        })
    }

    fn clear(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let work = |change: &mut Change<'_>| rows::clear(change, clock::now());
            let cleared = self.write(Urgency::Now, Missing::Leave, work).await?;
            Ok(cleared.unwrap_or(0))
        })
    }

    fn list<'a>(&'a self, query: &'a Query) -> StoreFuture<'a, Vec<Record>> {
        let query = query.clone();
        Box::pin(async move {
            let listed =
                self.read(move |file, codec| read::list(file, codec, &query, clock::now()));
            Ok(listed.await?.unwrap_or_default())
        })
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let work = |change: &mut Change<'_>| rows::count(change, clock::now());
            let counted = self.write(Urgency::Soon, Missing::Leave, work).await?;
            Ok(counted.unwrap_or(0))
        })
    }

    fn sweep(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.sweep_all())
    }

    fn health(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.write(Urgency::Soon, Missing::Leave, rows::probe)
                .await?;
            Ok(())
        })
    }
}
