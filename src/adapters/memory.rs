//! Records in this process: for development and for one process; gone when it ends.

use std::collections::BTreeMap;
use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{Adapter, Applied, Created, Query, StoreFuture};
use crate::clock;
use crate::session::delta::Delta;
use crate::session::id::SessionId;
use crate::session::record::{Generation, Record};
use crate::session::time::Timestamp;

/// Records in shards, each behind a lock that is held for one map operation.
///
/// Capacity: whatever `create` allows by its `room`.
#[derive(Debug)]
pub struct Memory {
    hasher: RandomState,
    shards: Box<[Mutex<HashMap<SessionId, Record>>]>,
    /// Records held, expired ones included until they are swept.
    held: AtomicU64,
    /// No record expires before this, in microseconds; a sweep before it finds nothing.
    earliest_expiry: AtomicI64,
}

const SHARDS: usize = 64;

impl Default for Memory {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            held: AtomicU64::new(0),
            earliest_expiry: AtomicI64::new(i64::MAX),
        }
    }
}

impl Memory {
    fn shard(&self, id: &SessionId) -> &Mutex<HashMap<SessionId, Record>> {
        let hash = self.hasher.hash_one(id);
        &self.shards[(hash % SHARDS as u64) as usize]
    }

    /// Drops expired records and finds the earliest expiry of the rest.
    fn sweep_at(&self, now: Timestamp) -> u64 {
        if now.as_micros() < self.earliest_expiry.load(Ordering::Relaxed) {
            return 0;
        }
        // Creations during the sweep lower the bound again, so it is reset before and not after.
        self.earliest_expiry.store(i64::MAX, Ordering::Relaxed);
        let mut swept = 0;
        for shard in &self.shards {
            shard.lock().retain(|_, record| {
                let keep = !record.is_expired(now);
                if keep {
                    self.note_expiry(record.expires);
                } else {
                    swept += 1;
                }
                keep
            });
        }
        self.held.fetch_sub(swept, Ordering::Relaxed);
        swept
    }

    fn note_expiry(&self, expires: Timestamp) {
        self.earliest_expiry
            .fetch_min(expires.as_micros(), Ordering::Relaxed);
    }

    fn reserve(&self, room: u64) -> bool {
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held < room).then_some(held + 1)
            })
            .is_ok()
    }

    fn create_at(&self, record: Record, room: u64, now: Timestamp) -> Created {
        if !self.reserve(room) {
            self.sweep_at(now);
            if !self.reserve(room) {
                let until = self.earliest_expiry.load(Ordering::Relaxed);
                return Created::Full {
                    until: (until != i64::MAX).then(|| Timestamp::from_micros(until)),
                };
            }
        }
        let expires = record.expires;
        let mut shard = self.shard(&record.id).lock();
        let taken = shard
            .get(&record.id)
            .is_some_and(|known| !known.is_expired(now));
        let held_before = !taken && shard.insert(record.id.clone(), record).is_some();
        drop(shard);
        if taken || held_before {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
        if taken {
            return Created::Exists;
        }
        self.note_expiry(expires);
        Created::Done
    }

    fn apply_at(
        &self,
        id: &SessionId,
        generation: Generation,
        delta: &Delta,
        now: Timestamp,
    ) -> Applied {
        match self.shard(id).lock().get_mut(id) {
            Some(record) if record.generation == generation && !record.is_expired(now) => {
                record.apply(delta);
                self.note_expiry(record.expires);
                Applied::Done {
                    revision: record.revision,
                }
            }
            _ => Applied::Gone,
        }
    }

    fn delete_at(&self, id: &SessionId, now: Timestamp) -> bool {
        let Some(record) = self.shard(id).lock().remove(id) else {
            return false;
        };
        self.held.fetch_sub(1, Ordering::Relaxed);
        !record.is_expired(now)
    }

    fn clear_at(&self, now: Timestamp) -> u64 {
        let mut live = 0;
        for shard in &self.shards {
            let records = std::mem::take(&mut *shard.lock());
            self.held.fetch_sub(records.len() as u64, Ordering::Relaxed);
            live += records
                .values()
                .filter(|record| !record.is_expired(now))
                .count() as u64;
        }
        live
    }

    fn list_at(&self, query: &Query, now: Timestamp) -> Vec<Record> {
        let mut page = BTreeMap::new();
        for shard in &self.shards {
            for (id, record) in shard.lock().iter() {
                let last = page.len() >= query.limit;
                if query.after.as_ref().is_some_and(|after| id <= after)
                    || last && page.last_key_value().is_some_and(|(last, _)| id > last)
                    || record.is_expired(now)
                    || !query.matches(record)
                {
                    continue;
                }
                page.insert(id.clone(), record.clone());
                if page.len() > query.limit {
                    page.pop_last();
                }
            }
        }
        page.into_values().collect()
    }

    fn count_at(&self, now: Timestamp) -> u64 {
        self.sweep_at(now);
        self.held.load(Ordering::Relaxed)
    }
}

impl Adapter for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn create(&self, record: Record, room: u64) -> StoreFuture<'_, Created> {
        let created = self.create_at(record, room, clock::now());
        Box::pin(ready(Ok(created)))
    }

    fn load<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, Option<Record>> {
        let now = clock::now();
        let found = self
            .shard(id)
            .lock()
            .get(id)
            .filter(|record| !record.is_expired(now))
            .cloned();
        Box::pin(ready(Ok(found)))
    }

    fn apply<'a>(
        &'a self,
        id: &'a SessionId,
        generation: Generation,
        delta: Delta,
    ) -> StoreFuture<'a, Applied> {
        let applied = self.apply_at(id, generation, &delta, clock::now());
        Box::pin(ready(Ok(applied)))
    }

    fn delete<'a>(&'a self, id: &'a SessionId) -> StoreFuture<'a, bool> {
        Box::pin(ready(Ok(self.delete_at(id, clock::now()))))
    }

    fn clear(&self) -> StoreFuture<'_, u64> {
        Box::pin(ready(Ok(self.clear_at(clock::now()))))
    }

    fn list<'a>(&'a self, query: &'a Query) -> StoreFuture<'a, Vec<Record>> {
        Box::pin(ready(Ok(self.list_at(query, clock::now()))))
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        Box::pin(ready(Ok(self.count_at(clock::now()))))
    }

    fn sweep(&self) -> StoreFuture<'_, u64> {
        Box::pin(ready(Ok(self.sweep_at(clock::now()))))
    }

    fn health(&self) -> StoreFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adapters::conformance::conformance;

    #[tokio::test]
    async fn it_does_what_every_adapter_must() {
        conformance(&[Arc::new(Memory::default())]).await;
    }
}
