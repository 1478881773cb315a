//! The connections that read, beside the one that writes.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::failure::Failure;
use super::open::connect;

/// Connections that read, each used by one reader at a time; some are kept.
#[derive(Debug)]
pub(super) struct Readers {
    path: Arc<Path>,
    /// Held to take one or put one back.
    shelf: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    is_open: bool,
    /// How many times it was opened: a connection of an earlier time is not kept.
    times: u64,
    connections: Vec<Connection>,
}

impl Readers {
    pub(super) fn new(path: Arc<Path>) -> Self {
        Self {
            path,
            shelf: Mutex::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.shelf.lock().is_open
    }

    pub(super) fn open(&self) {
        let mut idle = self.shelf.lock();
        idle.is_open = true;
        idle.times += 1;
    }

    pub(super) fn close(&self) {
        let mut idle = self.shelf.lock();
        idle.is_open = false;
        idle.connections.clear();
    }

    /// Reads what is committed at this moment.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (times, kept) = {
            let mut idle = self.shelf.lock();
            (idle.times, idle.connections.pop())
        };
        let sql = match kept {
            Some(sql) => sql,
            None => {
                let sql = connect(&self.path)?;
                sql.pragma_update(None, "query_only", true)?;
                sql
            }
        };
        let snapshot = sql.unchecked_transaction()?;
        let found = work(&snapshot)?;
        snapshot.finish()?;
        let mut idle = self.shelf.lock();
        if idle.is_open && idle.times == times && idle.connections.len() < KEPT {
            idle.connections.push(sql);
        }
        Ok(found)
    }
}

/// How many connections of readers are kept.
const KEPT: usize = 4;
