//! Replies of scripts as records.

use redis::{FromRedisValue, Value};

use super::trouble::Trouble;
use super::{BUCKET, NAME, PAUSE, Redis};
use crate::adapters::StoreError;
use crate::adapters::stored::Unreadable;
use crate::session::id::SessionId;
use crate::session::limiter::LimiterState;
use crate::session::record::Record;
use crate::session::time::Timestamp;

type Fields = Vec<(String, String)>;

impl Redis {
    /// The record that the script `load` has found.
    pub(super) fn read_record(
        &self,
        id: &SessionId,
        reply: Value,
    ) -> Result<Option<Record>, StoreError> {
        let found: Option<(i64, Fields, Fields, Fields, Vec<String>, Fields)> =
            read("load", reply)?;
        let Some((now, meta, cookies, storage, marks, limiter)) = found else {
            return Ok(None);
        };
        let limiter = limiter_state(id, limiter, Timestamp::from_micros(now));
        let record = || {
            let field = |name: &str| {
                let mut fields = meta.iter();
                fields
                    .find(|(field, _)| field == name)
                    .map(|(_, text)| text.as_str())
            };
            let mut reading = self.codec.reading(id, self.codec.read_head(id, field)?);
            for (_, text) in &cookies {
                reading.cookie(text)?;
            }
            for (origin, object) in &storage {
                reading.items(origin, object)?;
            }
            for text in &marks {
                reading.mark(text)?;
            }
            Ok(Some(reading.record(limiter?)))
        };
        record().map_err(|unreadable: Unreadable| unreadable.of(NAME))
    }
}

/// Buckets and pauses. Pauses that are over are left out.
fn limiter_state(
    id: &SessionId,
    fields: Fields,
    now: Timestamp,
) -> Result<LimiterState, Unreadable> {
    let (mut buckets, mut pauses) = (Vec::new(), Vec::new());
    for (field, micros) in fields {
        let damaged = |reason: &str| Unreadable::Damaged {
            id: id.clone(),
            field: "limiter",
            reason: reason.to_owned(),
        };
        let micros = micros
            .parse()
            .map_err(|_| damaged("holds a time that is no number"))?;
        let at = Timestamp::from_micros(micros);
        if let Some(host) = field.strip_prefix(BUCKET) {
            buckets.push((host.into(), at));
        } else if let Some(host) = field.strip_prefix(PAUSE) {
            if at > now {
                pauses.push((host.into(), at));
            }
        } else {
            return Err(damaged(
                "holds a field that is neither a bucket nor a pause",
            ));
        }
    }
    Ok(LimiterState::from_parts(buckets, pauses))
}

/// A reply of the form that a script gives.
pub(super) fn read<T: FromRedisValue>(script: &str, reply: Value) -> Result<T, Trouble> {
    redis::from_redis_value(reply).map_err(|_| Trouble::garbled(script))
}
