//! A delta as one update: a pipeline, so that what depends on what is stored is decided by the server, in the same step.

use mongodb::bson::{Bson, Document, doc};

use super::document::{field_of, labels, number};
use super::time::{self, micros, swept_at};
use crate::adapters::stored::{Codec, Head, cookie_field};
use crate::session::delta::{CookieChange, Delta, Touch};
use crate::session::id::SessionId;
use crate::session::jar::EchoMark;
use crate::session::limiter::{LimiterState, MAX_PAUSES};
use crate::session::storage::StorageDelta;

/// The stages that have the effect of [`Record::apply`](crate::session::record::Record::apply), but that buckets of the limiter
/// are left to [`super::reserve`]. Never empty. `writer` says who made a durable change.
pub(super) fn pipeline(
    codec: &Codec,
    id: &SessionId,
    delta: &Delta,
    writer: &str,
) -> Vec<Document> {
    let mut update = Update::default();
    if delta.is_durable() {
        update.set("revision", doc! { "$add": ["$revision", 1_i64] });
        update.set("writer", literal(writer));
    }
    update.cookies(codec, id, delta);
    update.storage(codec, id, &delta.storage);
    update.marks(delta.cookies.echoes());
    if let Some(settings) = &delta.settings {
        update.set("settings", literal(codec.settings(id, settings)));
        update.set("labels", literal(labels(settings)));
    }
    if let Some(touch) = delta.touched {
        update.touch(touch);
    }
    for (name, count) in Head::counters(&delta.counters) {
        if count > 0 {
            let path = format!("counters.{name}");
            let sum = saturating_sum(&format!("${path}"), number(count));
            update.set(&path, sum);
        }
    }
    if let Some(limiter) = &delta.limiter {
        update.limiter(limiter);
    }
    update.stages()
}

/// Stages by when they have to come.
#[derive(Default)]
struct Update {
    /// Whole sub-documents that become empty.
    cleared: Document,
    removed: Vec<String>,
    set: Document,
    /// What is dropped of the result.
    pruned: Document,
}

impl Update {
    fn set(&mut self, path: &str, value: impl Into<Bson>) {
        self.set.insert(path, value);
    }

    fn cookies(&mut self, codec: &Codec, id: &SessionId, delta: &Delta) {
        let path = |field: String| format!("cookies.{field}");
        if delta.cookies.cleared() {
            self.cleared.insert("cookies", literal(Document::new()));
        }
        for change in delta.cookies.changes() {
            match change {
                CookieChange::Set(cookie) => self.set(
                    &path(cookie_field(cookie.key())),
                    literal(codec.cookie(id, &cookie)),
                ),
                CookieChange::Remove(key) => self.removed.push(path(cookie_field(&key))),
            }
        }
    }

    fn storage(&mut self, codec: &Codec, id: &SessionId, delta: &StorageDelta) {
        if delta.cleared() {
            self.cleared.insert("storage", literal(Document::new()));
        }
        for (key, value) in delta.changes() {
            let origin = format!("storage.{}", field_of(key.origin.as_str()));
            let mut fields = codec.item_fields(id, key);
            if let Some(value) = value {
                let field = fields.swap_remove(0);
                self.set(
                    &format!("{origin}.items.{field}"),
                    literal(codec.item(id, key, value)),
                );
                self.set(&format!("{origin}.origin"), literal(key.origin.as_str()));
            } else {
                let known = format!("${origin}");
                let is_empty = doc! { "$eq": [format!("{known}.items"), literal(Document::new())] };
                self.pruned
                    .insert(&origin, doc! { "$cond": [is_empty, "$$REMOVE", known] });
            }
            let removed = fields.iter().map(|field| format!("{origin}.items.{field}"));
            self.removed.extend(removed);
        }
    }

    /// As [`Superseded`](crate::session::jar::Superseded) takes marks up, name by name. Of names beyond its 256 those go that were marked the
    /// longest ago, within a change as if the marks of a name had come together.
    fn marks(&mut self, marks: &[EchoMark]) {
        let mut names: Vec<(String, Vec<Document>)> = Vec::new();
        for mark in marks {
            let name = mark.name.to_string();
            let known = names.iter().position(|(known, _)| *known == name);
            let mut known = known.map_or((name, Vec::new()), |place| names.remove(place));
            let value = mark.value.to_string();
            known.1.push(doc! { "value": value, "stale": mark.stale });
            names.push(known);
        }
        let beyond = names.len().saturating_sub(MAX_NAMES);
        for (place, (name, marks)) in (0_i64..).zip(names.into_iter().skip(beyond)) {
            let path = format!("echoes.{name}");
            // A change has fewer names than this, and the revision only grows.
            let order = doc! { "$add": [{ "$multiply": ["$revision", 1024_i64] }, 1024 + place] };
            let values = taken_up(&format!("${path}.values"), marks);
            self.set(&path, doc! { "order": order, "values": values });
        }
        if !marks.is_empty() {
            let some = doc! { "$ne": ["$$entry.v.values", []] };
            let kept = kept("$echoes", some.into(), "order", MAX_NAMES);
            self.pruned.insert("echoes", kept);
        }
    }

    fn touch(&mut self, touch: Touch) {
        let holds = doc! { "$gte": [micros(touch.last_used), "$lastUsed"] };
        for (field, new) in [
            ("lastUsed", micros(touch.last_used)),
            ("expires", micros(touch.expires)),
            ("expiresAt", swept_at(touch.expires)),
        ] {
            let known = format!("${field}");
            self.set(field, doc! { "$cond": [holds.clone(), new, known] });
        }
    }

    fn limiter(&mut self, limiter: &LimiterState) {
        for (host, until) in limiter.pauses() {
            let path = format!("limiter.pauses.{}", field_of(host));
            let later = doc! { "$max": [format!("${path}.until"), micros(until)] };
            self.set(&path, doc! { "host": literal(host), "until": later });
        }
        let lasts = |field: &str| -> Bson {
            doc! { "$gt": [format!("$$entry.v.{field}"), time::now()] }.into()
        };
        let pauses = kept("$limiter.pauses", lasts("until"), "until", MAX_PAUSES);
        let buckets = entries("$limiter.buckets", lasts("fullAt"));
        self.pruned.insert("limiter.pauses", pauses);
        self.pruned
            .insert("limiter.buckets", doc! { "$arrayToObject": buckets });
    }

    fn stages(self) -> Vec<Document> {
        let mut stages = Vec::new();
        if !self.cleared.is_empty() {
            stages.push(doc! { "$set": self.cleared });
        }
        if !self.removed.is_empty() {
            stages.push(doc! { "$unset": self.removed });
        }
        // A pipeline has a stage; this one changes nothing.
        let nothing = self.set.is_empty() && self.pruned.is_empty() && stages.is_empty();
        if nothing {
            stages.push(doc! { "$set": { "format": "$format" } });
        }
        for set in [self.set, self.pruned] {
            if !set.is_empty() {
                stages.push(doc! { "$set": set });
            }
        }
        stages
    }
}

/// Values are text of others, which an expression would take for a path where it begins with `$`.
fn literal(value: impl Into<Bson>) -> Document {
    doc! { "$literal": value.into() }
}

/// `known` and `more`, or the greatest number there is: a sum beyond it would be a double or an error.
fn saturating_sum(known: &str, more: Bson) -> Document {
    let known = doc! { "$ifNull": [known, 0_i64] };
    let fits = doc! { "$lte": [
        known.clone(),
        { "$subtract": [i64::MAX, more.clone()] },
    ] };
    doc! { "$cond": [fits, { "$add": [known, more] }, i64::MAX] }
}

/// The values of a name after more marks of it: each leaves its place, and is the last one if it is stale; 32 are kept.
fn taken_up(known: &str, marks: Vec<Document>) -> Document {
    let others = doc! { "$filter": {
        "input": "$$value",
        "as": "known",
        "cond": { "$ne": ["$$known", "$$this.value"] },
    } };
    doc! { "$reduce": {
        "input": literal(marks),
        "initialValue": { "$ifNull": [known, []] },
        "in": { "$let": {
            "vars": { "others": others },
            "in": { "$cond": [
                "$$this.stale",
                { "$concatArrays": [
                    { "$slice": ["$$others", 1 - MAX_VALUES] },
                    ["$$this.value"],
                ] },
                "$$others",
            ] },
        } },
    } }
}

/// The entries of a sub-document for which `cond` holds, as an array.
fn entries(path: &str, cond: Bson) -> Document {
    doc! { "$filter": {
        "input": { "$objectToArray": { "$ifNull": [path, literal(Document::new())] } },
        "as": "entry",
        "cond": cond,
    } }
}

/// The entries of a sub-document for which `cond` holds; where there are more than `most`, without those whose `order` is
/// least. (There is no sorting of an array before version 5.2.)
fn kept(path: &str, cond: Bson, order: &str, most: usize) -> Document {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let order = format!("$$entry.v.{order}");
    let orders = doc! { "$map": { "input": "$$value", "as": "entry", "in": &order } };
    let without_least = doc! { "$let": {
        "vars": { "least": { "$min": orders } },
        "in": { "$filter": {
            "input": "$$value",
            "as": "entry",
            "cond": { "$ne": [order, "$$least"] },
        } },
    } };
    doc! { "$let": {
        "vars": { "kept": entries(path, cond) },
        "in": { "$arrayToObject": { "$reduce": {
            "input": { "$range": [most, { "$max": [most, { "$size": "$$kept" }] }] },
            "initialValue": "$$kept",
            "in": without_least,
        } } },
    } }
}

/// As many names and values of one as [`Superseded`](crate::session::jar::Superseded) keeps.
const MAX_NAMES: usize = 256;
const MAX_VALUES: i32 = 32;
