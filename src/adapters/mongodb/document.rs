//! A session as a document, and back. docs/ADAPTERS.md shows one field by field.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mongodb::bson::{Bson, Document, doc};
use sha2::{Digest as _, Sha256};

use super::NAME;
use super::time::{micros, swept_at};
use crate::adapters::StoreError;
use crate::adapters::stored::{Codec, FORMAT, Head, Unreadable, cookie_field};
use crate::session::id::SessionId;
use crate::session::jar::EchoMark;
use crate::session::limiter::LimiterState;
use crate::session::record::Record;
use crate::session::settings::Settings;
use crate::session::time::Timestamp;

/// A name for what has an arbitrary one, hosts and origins: 128 bits of its SHA-256 in base64url. Fields must not hold `.` or
/// begin with `$`.
pub(super) fn field_of(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..16])
}

/// A new session. `writer` says who created it.
pub(super) fn document(codec: &Codec, record: &Record, writer: &str) -> Document {
    let id = &record.id;
    let mut cookies = Document::new();
    for cookie in record.jar.iter() {
        cookies.insert(cookie_field(cookie.key()), codec.cookie(id, cookie));
    }
    let mut storage = Document::new();
    for (key, value) in record.storage.iter() {
        let origin = storage
            .entry(field_of(key.origin.as_str()))
            .or_insert_with(|| doc! { "origin": key.origin.as_str(), "items": {} }.into());
        if let Some(items) = origin
            .as_document_mut()
            .and_then(|origin| origin.get_document_mut("items").ok())
        {
            let field = codec.item_fields(id, key).swap_remove(0);
            items.insert(field, codec.item(id, key, value));
        }
    }
    let pauses = record.limiter.pauses().map(|(host, until)| {
        let pause = doc! { "host": host, "until": micros(until) };
        (field_of(host), Bson::Document(pause))
    });
    doc! {
        "_id": id.as_str(),
        "format": FORMAT,
        "generation": record.generation.to_string(),
        "revision": number(record.revision),
        "writer": writer,
        "created": micros(record.created),
        "lastUsed": micros(record.last_used),
        "expires": micros(record.expires),
        "expiresAt": swept_at(record.expires),
        "settings": codec.settings(id, &record.settings),
        "labels": labels(&record.settings),
        "counters": Head::counters(&record.counters)
            .map(|(name, count)| (name.to_owned(), number(count)))
            .into_iter()
            .collect::<Document>(),
        "cookies": cookies,
        "storage": storage,
        "echoes": echoes(record.jar.superseded().marks()),
        "limiter": { "buckets": {}, "pauses": pauses.collect::<Document>() },
    }
}

/// The labels as what an index finds them by.
pub(super) fn labels(settings: &Settings) -> Vec<Document> {
    let labels = settings.labels.iter();
    labels.map(|(name, value)| label(name, value)).collect()
}

/// One label.
pub(super) fn label(name: &str, value: &str) -> Document {
    doc! { "name": name, "value": value }
}

/// A count; what is beyond 63 bits stays there.
pub(super) fn number(count: u64) -> Bson {
    Bson::Int64(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The record in a document.
pub(super) fn record(codec: &Codec, session: &Document) -> Result<Record, StoreError> {
    let id = session.get_str("_id").ok();
    let Some(id) = id.and_then(|id| id.parse::<SessionId>().ok()) else {
        return Err(StoreError {
            adapter: NAME,
            reason: "there is a document in `sessions` whose `_id` is no session id: remove it"
                .into(),
        });
    };
    read(codec, &id, session).map_err(|unreadable| unreadable.of(NAME))
}

fn read(codec: &Codec, id: &SessionId, session: &Document) -> Result<Record, Unreadable> {
    let damaged = |field| Unreadable::Damaged {
        id: id.clone(),
        field,
        reason: "is not what was written".to_owned(),
    };
    let empty = Document::new();
    // What is absent is empty; what is of another type is damage.
    let part = |of: &Document, name, field| match of.get(name) {
        None | Some(Bson::Null) => Ok(empty.clone()),
        Some(Bson::Document(part)) => Ok(part.clone()),
        Some(_) => Err(damaged(field)),
    };
    let text = |value: &Bson, field| match value {
        Bson::String(text) => Ok(text.clone()),
        _ => Err(damaged(field)),
    };
    let head = head(codec, id, session, &part(session, "counters", "counters")?)?;
    let mut reading = codec.reading(id, head);
    for cookie in part(session, "cookies", "cookie")?.values() {
        reading.cookie(&text(cookie, "cookie")?)?;
    }
    for of_origin in part(session, "storage", "storage")?.values() {
        let of_origin = of_origin.as_document().ok_or_else(|| damaged("storage"))?;
        let origin = of_origin
            .get_str("origin")
            .map_err(|_| damaged("storage"))?;
        for item in part(of_origin, "items", "storage")?.values() {
            reading.item(origin, &text(item, "storage item")?)?;
        }
    }
    let mut names = BTreeMap::new();
    for (name, known) in part(session, "echoes", "mark")? {
        let known = known.as_document().ok_or_else(|| damaged("mark"))?;
        let order = known
            .get("order")
            .and_then(whole)
            .ok_or_else(|| damaged("mark"))?;
        let values = known.get_array("values").map_err(|_| damaged("mark"))?;
        names.insert((order, name), values.clone());
    }
    for ((_, name), values) in &names {
        for value in values {
            reading.mark(&format!("{name}:{}:1", text(value, "mark")?))?;
        }
    }
    let limiter = part(session, "limiter", "limiter")?;
    let times = |name, field| -> Result<Vec<(Box<str>, Timestamp)>, Unreadable> {
        let of_hosts = part(&limiter, name, "limiter")?;
        let read = of_hosts.values().map(|of_host| {
            let of_host = of_host.as_document()?;
            let at = of_host.get(field).and_then(whole)?;
            let host = of_host.get_str("host").ok()?;
            Some((host.into(), Timestamp::from_micros(at)))
        });
        read.collect::<Option<_>>()
            .ok_or_else(|| damaged("limiter"))
    };
    let limiter = LimiterState::from_parts(times("buckets", "fullAt")?, times("pauses", "until")?);
    Ok(reading.record(limiter))
}

fn head(
    codec: &Codec,
    id: &SessionId,
    session: &Document,
    counted: &Document,
) -> Result<Head, Unreadable> {
    let texts: BTreeMap<&str, String> = session
        .iter()
        .chain(counted)
        .filter_map(|(name, value)| match value {
            Bson::String(text) => Some((name.as_str(), text.clone())),
            value => Some((name.as_str(), whole(value)?.to_string())),
        })
        .collect();
    codec.read_head(id, |name| texts.get(name).map(String::as_str))
}

/// A whole number, in whichever type the server or a tool of the operator's left it.
pub(super) fn whole(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int64(number) => Some(*number),
        Bson::Int32(number) => Some(i64::from(*number)),
        // Below 2^53 doubles are whole numbers exactly.
        #[allow(clippy::cast_possible_truncation)]
        Bson::Double(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            Some(*number as i64)
        }
        _ => None,
    }
}

/// Marks by name, each name with the place of its last mark in the order of all.
fn echoes(marks: impl Iterator<Item = EchoMark>) -> Document {
    let mut names = Document::new();
    for (order, mark) in (0_i64..).zip(marks) {
        let known = names
            .entry(mark.name.to_string())
            .or_insert_with(|| doc! { "values": [] }.into());
        if let Some(known) = known.as_document_mut() {
            known.insert("order", order);
            if let Ok(values) = known.get_array_mut("values") {
                values.push(mark.value.to_string().into());
            }
        }
    }
    names
}
