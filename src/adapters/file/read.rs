//! Records out of the file.

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use super::failure::Failure;
use super::marks;
use crate::adapters::stored::Unreadable;
use crate::adapters::{Codec, Query};
use crate::session::id::SessionId;
use crate::session::limiter::LimiterState;
use crate::session::record::Record;
use crate::session::time::Timestamp;

pub(super) fn load(
    sql: &Connection,
    codec: &Codec,
    id: &SessionId,
    now: Timestamp,
) -> Result<Option<Record>, Failure> {
    let query = format!("SELECT {COLUMNS} FROM session s WHERE s.id = ?1 AND s.expires > ?2");
    let head = sql
        .prepare_cached(&query)?
        .query_row((id.as_str(), now.as_micros()), stored_head)
        .optional()?;
    head.map(|head| record(sql, codec, id, &head)).transpose()
}

pub(super) fn list(
    sql: &Connection,
    codec: &Codec,
    query: &Query,
    now: Timestamp,
) -> Result<Vec<Record>, Failure> {
    let after = query
        .after
        .as_ref()
        .map_or("", SessionId::as_str)
        .to_owned();
    let mut values = vec![
        rusqlite::types::Value::from(after),
        now.as_micros().into(),
        i64::try_from(query.limit).unwrap_or(i64::MAX).into(),
    ];
    // The first label leads to its sessions in the order of their ids, the others are looked up for each.
    let (mut from, mut ordered) = ("session s", "s.id");
    let mut conditions = String::new();
    for (name, value) in &query.labels {
        let (at, next) = (values.len() + 1, values.len() + 2);
        let condition = if conditions.is_empty() {
            (from, ordered) = ("label l JOIN session s ON s.no = l.session", "l.id");
            format!(" AND l.name = ?{at} AND l.value = ?{next}")
        } else {
            format!(
                " AND EXISTS (SELECT 1 FROM label WHERE session = s.no AND name = ?{at} AND value = ?{next})"
            )
        };
        conditions.push_str(&condition);
        values.extend([name.clone().into(), value.clone().into()]);
    }
    let text = format!(
        "SELECT {COLUMNS} FROM {from} WHERE {ordered} > ?1 AND s.expires > ?2{conditions} ORDER BY {ordered} LIMIT ?3"
    );
    let mut statement = sql.prepare_cached(&text)?;
    let heads = statement.query_map(params_from_iter(values), stored_head)?;
    heads
        .map(|head| {
            let head = head?;
            let id = head.id.parse().map_err(|error| {
                Failure::Damaged(format!("the name of a session is none: {error}"))
            })?;
            record(sql, codec, &id, &head)
        })
        .collect()
}

/// A head as it is stored.
struct StoredHead {
    no: i64,
    id: String,
    fields: HashMap<&'static str, String>,
    /// The newest, after those of the table.
    marks: String,
}

fn stored_head(row: &Row<'_>) -> rusqlite::Result<StoredHead> {
    let mut fields = HashMap::with_capacity(FIELDS.len());
    for (at, name) in (2..).zip(FIELDS) {
        let text = match row.get_ref(at)? {
            ValueRef::Integer(number) => number.to_string(),
            other => other.as_str()?.to_owned(),
        };
        fields.insert(name, text);
    }
    Ok(StoredHead {
        no: row.get(0)?,
        id: row.get(1)?,
        marks: row.get(2 + FIELDS.len())?,
        fields,
    })
}

fn record(
    sql: &Connection,
    codec: &Codec,
    id: &SessionId,
    stored: &StoredHead,
) -> Result<Record, Failure> {
    let head = codec.read_head(id, |name| stored.fields.get(name).map(String::as_str))?;
    let mut reading = codec.reading(id, head);
    each(
        sql,
        "SELECT cookie, '' FROM cookie WHERE session = ?1",
        stored.no,
        |text, _| reading.cookie(text),
    )?;
    each(
        sql,
        "SELECT item, origin FROM item WHERE session = ?1",
        stored.no,
        |text, origin| reading.item(origin, text),
    )?;
    each(
        sql,
        "SELECT mark, '' FROM mark WHERE session = ?1 ORDER BY place",
        stored.no,
        |text, _| marks::each(text).try_for_each(|mark| reading.mark(mark)),
    )?;
    marks::each(&stored.marks).try_for_each(|mark| reading.mark(mark))?;
    let limiter: Option<String> = sql
        .prepare_cached("SELECT state FROM limiter WHERE session = ?1")?
        .query_row([stored.no], |row| row.get(0))
        .optional()?;
    let limiter = match limiter {
        None => LimiterState::default(),
        Some(text) => serde_json::from_str(&text).map_err(|_| Unreadable::Damaged {
            id: id.clone(),
            field: "limiter",
            reason: "is not the JSON that was written".to_owned(),
        })?,
    };
    Ok(reading.record(limiter))
}

fn each(
    sql: &Connection,
    query: &str,
    no: i64,
    mut take: impl FnMut(&str, &str) -> Result<(), Unreadable>,
) -> Result<(), Failure> {
    let mut statement = sql.prepare_cached(query)?;
    let mut rows = statement.query([no])?;
    while let Some(row) = rows.next()? {
        let text = |at| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str()?);
        take(text(0)?, text(1)?)?;
    }
    Ok(())
}

const COLUMNS: &str = "s.no, s.id, s.format, s.generation, s.revision, s.created, s.lastUsed, s.expires, s.settings, \
     s.requests, s.rendered, s.delayed, s.rejected, s.failed, s.bytesIn, s.bytesOut, s.marks";

/// The columns that are fields of a head, from the third on.
const FIELDS: [&str; 14] = [
    "format",
    "generation",
    "revision",
    "created",
    "lastUsed",
    "expires",
    "settings",
    "requests",
    "rendered",
    "delayed",
    "rejected",
    "failed",
    "bytesIn",
    "bytesOut",
];
