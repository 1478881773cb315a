//! One at a time for each session: loading, creating, deleting and unloading take turns by id.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::session::id::SessionId;

/// The turns being taken. Bounded by the calls under way: the last to leave an id removes it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Held for one map operation.
    ids: Mutex<HashMap<SessionId, Arc<AsyncMutex<()>>>>,
}

/// The right to load, create or delete the session of one id. First come, first served.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    id: SessionId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn.
    pub(super) async fn take(&self, id: &SessionId) -> Turn<'_> {
        let line = Arc::clone(self.ids.lock().entry(id.clone()).or_default());
        let mut turn = Turn {
            turns: self,
            id: id.clone(),
            guard: None,
        };
        turn.guard = Some(line.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut ids = self.turns.ids.lock();
        // Whoever waits holds a clone, taken under this lock.
        if ids
            .get(&self.id)
            .is_some_and(|line| Arc::strong_count(line) == 1)
        {
            ids.remove(&self.id);
        }
    }
}
