//! The index of the sessions there are: for room, for pages and for what has expired. It is a hint, never the truth.
//!
//! An entry is made before its session, and its expiry is moved ahead before the session's own, so that no session is left out of the
//! count. What an interruption leaves behind is an entry without a session, or one that says too late an end; both are set right by
//! whoever comes across them.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Redis;
use super::read::read;
use super::script::{ADMIT, COUNT, Call, DUE, NOTE, PAGE, Repeat, Script, UNLIST};
use super::trouble::Trouble;
use super::write::micros;
use crate::adapters::Created;
use crate::session::id::SessionId;
use crate::session::time::Timestamp;

/// Entries whose session was not there: it may be about to be created, so they go only when it is missing for long.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Held for one map operation.
    seen: Mutex<HashMap<SessionId, (String, Instant)>>,
}

/// How many suspects are remembered; others are come across again.
const MAX_SUSPECTS: usize = 4096;
/// Longer than any creation takes.
const SUSPECT_FOR: Duration = Duration::from_secs(10);

impl Suspects {
    pub(super) fn add(&self, id: &SessionId, score: &str) {
        let mut seen = self.seen.lock();
        let same = seen.get(id).is_some_and(|(known, _)| known == score);
        if !same && (seen.len() < MAX_SUSPECTS || seen.contains_key(id)) {
            seen.insert(id.clone(), (score.to_owned(), Instant::now()));
        }
    }

    /// Takes those that have been suspect for long.
    pub(super) fn convict(&self, now: Instant) -> Vec<(SessionId, String)> {
        let convicted = |_: &SessionId, (_, since): &mut (String, Instant)| {
            now.saturating_duration_since(*since) >= SUSPECT_FOR
        };
        let mut seen = self.seen.lock();
        let convicted = seen.extract_if(convicted);
        convicted.map(|(id, (score, _))| (id, score)).collect()
    }
}

/// An entry: an id and its score, which is empty where the index by expiry has none.
pub(super) type Entry = (SessionId, String);

impl Redis {
    fn index_call(&self, script: &'static Script, deadline: Instant) -> Call {
        Call::new(script, &self.keys.of_index(), Repeat::Harmless, deadline)
    }

    /// Takes room for a session; none: it has it.
    pub(super) async fn admit(
        &self,
        id: &SessionId,
        expires: Timestamp,
        room: u64,
        deadline: Instant,
    ) -> Result<Option<Created>, Trouble> {
        let mut call = self.index_call(&ADMIT, deadline);
        call.arg(id.as_str()).arg(micros(expires)).arg(room);
        let reply: Vec<String> = read("admit", self.link.call(&call).await?)?;
        match reply.first().map(String::as_str) {
            Some("admitted") => Ok(None),
            Some("full") => {
                let first = reply.get(1).and_then(|first| first.parse().ok());
                let until = first.map(Timestamp::from_micros);
                Ok(Some(Created::Full { until }))
            }
            _ => Err(Trouble::garbled("admit")),
        }
    }

    /// Sees that the index has a session until `expires` at least; or until just then, where its score is still `seen`.
    pub(super) async fn note(
        &self,
        id: &SessionId,
        expires: &str,
        seen: &str,
        deadline: Instant,
    ) -> Result<String, Trouble> {
        let mut call = self.index_call(&NOTE, deadline);
        call.arg(id.as_str()).arg(expires).arg(seen);
        read("note", self.link.call(&call).await?)
    }

    /// Takes entries off whose score is still what it was; how many went.
    pub(super) async fn unlist(
        &self,
        entries: &[Entry],
        deadline: Instant,
    ) -> Result<u64, Trouble> {
        if entries.is_empty() {
            return Ok(0);
        }
        let mut call = self.index_call(&UNLIST, deadline);
        call.arg(entries.len());
        for (id, score) in entries {
            call.arg(id.as_str()).arg(score);
        }
        read("unlist", self.link.call(&call).await?)
    }

    pub(super) async fn count_listed(&self, deadline: Instant) -> Result<u64, Trouble> {
        let call = self.index_call(&COUNT, deadline);
        read("count", self.link.call(&call).await?)
    }

    /// The next entries in the order of their ids.
    pub(super) async fn page(
        &self,
        after: Option<&SessionId>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Entry>, Trouble> {
        let mut call = self.index_call(&PAGE, deadline);
        call.arg(after.map_or("", SessionId::as_str)).arg(limit);
        entries("page", self.link.call(&call).await?)
    }

    /// Entries whose time has come.
    pub(super) async fn due(&self, limit: usize, deadline: Instant) -> Result<Vec<Entry>, Trouble> {
        let mut call = self.index_call(&DUE, deadline);
        call.arg(limit);
        entries("due", self.link.call(&call).await?)
    }
}

fn entries(script: &str, reply: redis::Value) -> Result<Vec<Entry>, Trouble> {
    let pairs: Vec<(String, String)> = read(script, reply)?;
    let entries = pairs.into_iter().map(|(id, score)| {
        let id = id.parse().map_err(|_| {
            Trouble::new("the index of the sessions holds what is no session id: it is not burdock's; change adapters.redis.key_prefix")
        })?;
        Ok((id, score))
    });
    entries.collect()
}
