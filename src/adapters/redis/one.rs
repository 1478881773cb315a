//! What is done to one session.

use tokio::time::Instant;

use super::read::read;
use super::script::{Call, LOAD, REMOVE, RESERVE, Repeat, Script};
use super::trouble::Trouble;
use super::write::flag;
use super::{NAME, Redis};
use crate::adapters::stored::Unreadable;
use crate::adapters::{Applied, Created, DEADLINE, Reservation, Reserve, StoreError};
use crate::session::delta::Delta;
use crate::session::id::SessionId;
use crate::session::limiter::{LONGEST_PATIENCE, MAX_HOSTS};
use crate::session::record::{Generation, Record};
use crate::session::time::Timestamp;

/// What became of a session that was to be removed.
pub(super) enum Removed {
    /// There was none.
    None,
    /// It had not expired; until when it would have lasted.
    Live(String),
    /// It had expired; when.
    Expired(String),
    /// It has not expired and stays; until when.
    Kept(String),
}

impl Redis {
    /// A script for the keys of a session that says who calls.
    pub(super) fn session_call(
        &self,
        script: &'static Script,
        id: &SessionId,
        repeat: Repeat,
        deadline: Instant,
    ) -> Call {
        let mut call = Call::new(script, &self.keys.of_session(id), repeat, deadline);
        call.arg(&self.process)
            .arg(self.keys.changes())
            .arg(id.as_str());
        call
    }

    pub(super) async fn create_record(
        &self,
        record: Record,
        room: u64,
    ) -> Result<Created, StoreError> {
        let deadline = deadline();
        let id = &record.id;
        if let Some(full) = self.admit(id, record.expires, room, deadline).await? {
            return Ok(full);
        }
        let score = score(record.expires);
        let created = self.link.call(&self.create_call(&record, deadline)).await;
        let reply: Vec<String> = match created {
            Ok(reply) => read("create", reply)?,
            Err(trouble) => {
                // Where it may have been created, the room is not given back before somebody has seen that it was not.
                if trouble.is_refusal() {
                    noted(id, self.unlist(&[(id.clone(), score)], deadline).await);
                }
                return Err(trouble.into());
            }
        };
        match reply.first().map(String::as_str) {
            Some("done") => {
                // Somebody may have found the entry without its session, and taken it off.
                noted(id, self.note(id, &score, "", deadline).await);
                Ok(Created::Done)
            }
            Some("exists") => {
                let expires = reply.get(1).ok_or_else(|| Trouble::garbled("create"))?;
                noted(id, self.note(id, expires, &score, deadline).await);
                Ok(Created::Exists)
            }
            _ => Err(Trouble::garbled("create").into()),
        }
    }

    pub(super) async fn load_record(
        &self,
        id: &SessionId,
        deadline: Instant,
    ) -> Result<Option<Record>, StoreError> {
        let keys = self.keys.of_session(id);
        let call = Call::new(&LOAD, &keys, Repeat::Harmless, deadline);
        let reply = self.link.call(&call).await?;
        self.read_record(id, reply)
    }

    pub(super) async fn apply_delta(
        &self,
        id: &SessionId,
        generation: Generation,
        delta: Delta,
    ) -> Result<Applied, StoreError> {
        let deadline = deadline();
        let call = self.apply_call(id, generation, &delta, deadline);
        let Some(touch) = delta.touched else {
            return Ok(match self.applied(id, &call).await? {
                Some((revision, _)) => Applied::Done { revision },
                None => Applied::Gone,
            });
        };
        // The index first; on one server both travel together.
        let ahead = score(touch.expires);
        let (listed, applied) =
            futures_util::join!(self.note(id, &ahead, "", deadline), self.applied(id, &call));
        let corrected = match (&applied, listed) {
            (Err(_), _) => Ok(()),
            (_, Err(trouble)) => Err(trouble),
            (Ok(Some((_, expires))), Ok(listed)) if *expires == listed => Ok(()),
            (Ok(Some((_, expires))), Ok(listed)) => {
                self.note(id, expires, &listed, deadline).await.map(|_| ())
            }
            (Ok(None), Ok(listed)) => self.reap(id, &listed, deadline).await.map(|_| ()),
        };
        noted(id, corrected);
        Ok(match applied? {
            Some((revision, _)) => Applied::Done { revision },
            None => Applied::Gone,
        })
    }

    /// The revision and the expiry after a delta; none where there is no such session any more.
    pub(super) async fn applied(
        &self,
        id: &SessionId,
        call: &Call,
    ) -> Result<Option<(u64, String)>, StoreError> {
        let reply: Option<Vec<String>> = read("apply", self.link.call(call).await?)?;
        let Some(reply) = reply else { return Ok(None) };
        match reply.as_slice() {
            [word, revision, expires] if word == "done" => {
                let revision = revision.parse().map_err(|_| Trouble::garbled("apply"))?;
                Ok(Some((revision, expires.clone())))
            }
            [word, format] if word == "format" => {
                let found = format.parse().map_err(|_| Trouble::garbled("apply"))?;
                let id = id.clone();
                Err(Unreadable::Format { id, found }.of(NAME))
            }
            _ => Err(Trouble::garbled("apply").into()),
        }
    }

    pub(super) async fn remove(
        &self,
        id: &SessionId,
        only_expired: bool,
        deadline: Instant,
    ) -> Result<Removed, Trouble> {
        let repeat = if only_expired {
            Repeat::Harmless
        } else {
            Repeat::Harmful
        };
        let mut call = self.session_call(&REMOVE, id, repeat, deadline);
        call.arg(flag(only_expired));
        let reply: Vec<String> = read("remove", self.link.call(&call).await?)?;
        let mut reply = reply.into_iter();
        match (reply.next().as_deref(), reply.next()) {
            (Some("none"), None) => Ok(Removed::None),
            (Some("live"), Some(expires)) => Ok(Removed::Live(expires)),
            (Some("expired"), Some(expires)) => Ok(Removed::Expired(expires)),
            (Some("kept"), Some(expires)) => Ok(Removed::Kept(expires)),
            _ => Err(Trouble::garbled("remove")),
        }
    }

    /// Looks whether an entry of the index has a session, and sets it right; whether it went.
    pub(super) async fn reap(
        &self,
        id: &SessionId,
        score: &str,
        deadline: Instant,
    ) -> Result<bool, Trouble> {
        match self.remove(id, true, deadline).await? {
            Removed::Kept(expires) => {
                self.note(id, &expires, score, deadline).await?;
                Ok(false)
            }
            _ => {
                let entry = [(id.clone(), score.to_owned())];
                Ok(self.unlist(&entry, deadline).await? > 0)
            }
        }
    }

    pub(super) async fn delete_record(&self, id: &SessionId) -> Result<bool, StoreError> {
        let deadline = deadline();
        match self.remove(id, false, deadline).await? {
            Removed::Live(expires) => {
                noted(id, self.unlist(&[(id.clone(), expires)], deadline).await);
                Ok(true)
            }
            Removed::Expired(expires) | Removed::Kept(expires) => {
                noted(id, self.unlist(&[(id.clone(), expires)], deadline).await);
                Ok(false)
            }
            Removed::None => Ok(false),
        }
    }

    pub(super) async fn take_cells(
        &self,
        id: &SessionId,
        generation: Generation,
        reserve: &Reserve,
    ) -> Result<Option<Reservation>, StoreError> {
        let keys = self.keys.of_session(id);
        let mut call = Call::new(&RESERVE, &keys, Repeat::Harmful, deadline());
        let patience = i64::try_from(reserve.patience.as_micros()).unwrap_or(LONGEST_PATIENCE);
        call.arg(generation.to_string())
            .arg(&*reserve.bucket)
            .arg(reserve.rate.interval_micros())
            .arg(reserve.rate.tolerance_micros())
            .arg(reserve.wanted)
            .arg(reserve.spare)
            .arg(patience.min(LONGEST_PATIENCE))
            .arg(MAX_HOSTS);
        let reply: Option<(i64, i64)> = read("reserve", self.link.call(&call).await?)?;
        Ok(reply.map(|(before, at)| Reservation {
            before: Timestamp::from_micros(before),
            at: Timestamp::from_micros(at),
        }))
    }
}

/// What was to be done to the index, which is a hint, after its session was done with: whoever comes across the entry sets
/// right what was not.
fn noted<T>(id: &SessionId, done: Result<T, Trouble>) {
    if let Err(trouble) = done {
        tracing::debug!(adapter = NAME, session = %id, "the index is not right yet: {trouble}");
    }
}

/// When a call that begins now has to be over.
pub(super) fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

/// An expiry as the index has it.
fn score(expires: Timestamp) -> String {
    expires.as_micros().to_string()
}
