//! Records and deltas as the arguments of scripts.

use redis::ToRedisArgs;

use super::script::{APPLY, CREATE, Call, Repeat};
use super::{BUCKET, Redis};
use crate::adapters::stored::{FORMAT, Head, MAX_MARKS, cookie_field};
use crate::session::delta::{CookieChange, Delta};
use crate::session::id::SessionId;
use crate::session::limiter::MAX_PAUSES;
use crate::session::origin::Origin;
use crate::session::record::{Generation, Record};
use crate::session::time::Timestamp;

impl Redis {
    /// Stores a new session.
    pub(super) fn create_call(&self, record: &Record, deadline: tokio::time::Instant) -> Call {
        let id = &record.id;
        let mut call = self.session_call(&CREATE, id, Repeat::Harmful, deadline);
        call.arg(record.generation.to_string())
            .arg(record.revision)
            .arg(micros(record.expires));
        call.all(self.codec.head(id, &Head::from(record)));
        let cookies = record.jar.iter();
        let cookies =
            cookies.map(|cookie| (cookie_field(cookie.key()), self.codec.cookie(id, cookie)));
        call.all(cookies.collect::<Vec<_>>());
        call.all(self.objects(record));
        let marks = record.jar.superseded().marks().map(|mark| mark.to_string());
        call.all(marks.collect::<Vec<_>>());
        let buckets = record.limiter.buckets();
        let buckets = buckets.map(|(host, full_at)| (format!("{BUCKET}{host}"), micros(full_at)));
        let pauses = record.limiter.pauses();
        let pauses = pauses.map(|(host, until)| (format!("{}{host}", super::PAUSE), micros(until)));
        call.all(buckets.chain(pauses).collect::<Vec<_>>());
        call
    }

    /// Applies a delta.
    pub(super) fn apply_call(
        &self,
        id: &SessionId,
        generation: Generation,
        delta: &Delta,
        deadline: tokio::time::Instant,
    ) -> Call {
        let mut call = self.session_call(&APPLY, id, Repeat::Harmful, deadline);
        call.arg(generation.to_string()).arg(FORMAT);
        call.arg(flag(delta.is_durable()));
        match delta.touched {
            Some(touch) => call.arg(micros(touch.last_used)).arg(micros(touch.expires)),
            None => call.arg("").arg(""),
        };
        let settings = delta.settings.as_ref();
        call.arg(settings.map_or_else(String::new, |settings| self.codec.settings(id, settings)));
        for (_, more) in Head::counters(&delta.counters) {
            call.arg(more);
        }
        self.add_cookies(&mut call, id, delta);
        self.add_items(&mut call, id, delta);
        let marks = delta.cookies.echoes();
        // Of more than are kept the newest are.
        let marks = &marks[marks.len().saturating_sub(MAX_MARKS)..];
        call.arg(marks.len()).arg(MAX_MARKS);
        for mark in marks {
            call.arg(mark.to_string());
        }
        let pauses = delta.limiter.iter().flat_map(|limiter| limiter.pauses());
        let pauses: Vec<_> = pauses.collect();
        call.arg(pauses.len()).arg(MAX_PAUSES);
        for (host, until) in pauses {
            call.arg(host).arg(micros(until));
        }
        call
    }

    fn add_cookies(&self, call: &mut Call, id: &SessionId, delta: &Delta) {
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for change in delta.cookies.changes() {
            match change {
                CookieChange::Set(cookie) => {
                    set.push((cookie_field(cookie.key()), self.codec.cookie(id, &cookie)));
                }
                CookieChange::Remove(key) => removed.push(cookie_field(&key)),
            }
        }
        call.arg(flag(delta.cookies.cleared()))
            .all(set)
            .all(removed);
    }

    fn add_items(&self, call: &mut Call, id: &SessionId, delta: &Delta) {
        let mut origins: Vec<Items<'_>> = Vec::new();
        for (key, value) in delta.storage.changes() {
            if origins.last().is_none_or(|last| *last.origin != key.origin) {
                origins.push(Items::of(&key.origin));
            }
            let Some(items) = origins.last_mut() else {
                continue;
            };
            let mut fields = self.codec.item_fields(id, key).into_iter();
            if let Some(value) = value {
                let first = fields.next();
                items
                    .set
                    .extend(first.map(|field| (field, self.codec.item(id, key, value))));
            }
            items.removed.extend(fields);
        }
        call.arg(flag(delta.storage.cleared())).arg(origins.len());
        for Items {
            origin,
            set,
            removed,
        } in origins
        {
            call.arg(origin.as_str()).all(set).all(removed);
        }
    }

    /// The items of each origin as a JSON object.
    fn objects(&self, record: &Record) -> Vec<(String, String)> {
        let mut origins: Vec<(String, serde_json::Map<String, serde_json::Value>)> = Vec::new();
        for (key, value) in record.storage.iter() {
            let origin = key.origin.as_str();
            if origins.last().is_none_or(|(last, _)| last != origin) {
                origins.push((origin.to_owned(), serde_json::Map::new()));
            }
            let field = self.codec.item_fields(&record.id, key).into_iter().next();
            if let (Some((_, items)), Some(field)) = (origins.last_mut(), field) {
                items.insert(field, self.codec.item(&record.id, key, value).into());
            }
        }
        let origins = origins.into_iter();
        origins
            .map(|(origin, items)| (origin, serde_json::Value::Object(items).to_string()))
            .collect()
    }
}

/// What changes of one origin's storage.
struct Items<'a> {
    origin: &'a Origin,
    set: Vec<(String, String)>,
    removed: Vec<String>,
}

impl<'a> Items<'a> {
    fn of(origin: &'a Origin) -> Self {
        Self {
            origin,
            set: Vec::new(),
            removed: Vec::new(),
        }
    }
}

pub(super) fn micros(time: Timestamp) -> impl ToRedisArgs {
    time.as_micros()
}

pub(super) fn flag(set: bool) -> &'static str {
    if set { "1" } else { "0" }
}
