//! The parts of a session besides its head: cookies, items, marks, labels, and the limiter's state.

use rusqlite::{Connection, params};

use super::failure::Failure;
use crate::adapters::Codec;
use crate::adapters::stored::{Unreadable, cookie_field};
use crate::session::delta::{CookieChange, Delta};
use crate::session::id::SessionId;
use crate::session::jar::{Cookie, EchoMark, Superseded};
use crate::session::limiter::LimiterState;
use crate::session::record::Record;
use crate::session::settings::Settings;
use crate::session::storage::ItemKey;

/// Writes the parts of a new record.
pub(super) fn put_all(
    sql: &Connection,
    codec: &Codec,
    no: i64,
    record: &Record,
) -> Result<(), Failure> {
    for cookie in record.jar.iter() {
        put_cookie(sql, codec, no, &record.id, cookie)?;
    }
    for (key, value) in record.storage.iter() {
        put_item(sql, codec, no, &record.id, key, value)?;
    }
    put_summary(sql, no, record.jar.superseded())?;
    put_labels(sql, no, &record.id, &record.settings)?;
    put_limiter(sql, no, &record.limiter)
}

/// Changes the parts that a delta changes.
pub(super) fn apply(
    sql: &Connection,
    codec: &Codec,
    no: i64,
    id: &SessionId,
    delta: &Delta,
) -> Result<(), Failure> {
    apply_cookies(sql, codec, no, id, delta)?;
    apply_items(sql, codec, no, id, delta)?;
    if let Some(settings) = &delta.settings {
        sql.prepare_cached("DELETE FROM label WHERE session = ?1")?
            .execute([no])?;
        put_labels(sql, no, id, settings)?;
    }
    if let Some(limiter) = &delta.limiter {
        put_limiter(sql, no, limiter)?;
    }
    Ok(())
}

fn apply_cookies(
    sql: &Connection,
    codec: &Codec,
    no: i64,
    id: &SessionId,
    delta: &Delta,
) -> Result<(), Failure> {
    if delta.cookies.cleared() {
        sql.prepare_cached("DELETE FROM cookie WHERE session = ?1")?
            .execute([no])?;
    }
    for change in delta.cookies.changes() {
        match change {
            CookieChange::Set(cookie) => put_cookie(sql, codec, no, id, &cookie)?,
            CookieChange::Remove(key) => {
                sql.prepare_cached("DELETE FROM cookie WHERE session = ?1 AND field = ?2")?
                    .execute(params![no, cookie_field(&key)])?;
            }
        }
    }
    put_marks(sql, no, id, delta.cookies.echoes())
}

fn apply_items(
    sql: &Connection,
    codec: &Codec,
    no: i64,
    id: &SessionId,
    delta: &Delta,
) -> Result<(), Failure> {
    if delta.storage.cleared() {
        sql.prepare_cached("DELETE FROM item WHERE session = ?1")?
            .execute([no])?;
    }
    for (key, value) in delta.storage.changes() {
        let stale = match value {
            Some(value) => {
                put_item(sql, codec, no, id, key, value)?;
                1
            }
            None => 0,
        };
        for field in codec.item_fields(id, key).iter().skip(stale) {
            sql.prepare_cached(
                "DELETE FROM item WHERE session = ?1 AND origin = ?2 AND field = ?3",
            )?
            .execute(params![no, key.origin.as_str(), field])?;
        }
    }
    Ok(())
}

fn put_cookie(
    sql: &Connection,
    codec: &Codec,
    no: i64,
    id: &SessionId,
    cookie: &Cookie,
) -> Result<(), Failure> {
    sql.prepare_cached("INSERT OR REPLACE INTO cookie VALUES (?1, ?2, ?3)")?
        .execute(params![
            no,
            cookie_field(cookie.key()),
            codec.cookie(id, cookie)
        ])?;
    Ok(())
}

fn put_item(
    sql: &Connection,
    codec: &Codec,
    no: i64,
    id: &SessionId,
    key: &ItemKey,
    value: &str,
) -> Result<(), Failure> {
    sql.prepare_cached("INSERT OR REPLACE INTO item VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            no,
            key.origin.as_str(),
            codec.item_fields(id, key).first(),
            codec.item(id, key, value)
        ])?;
    Ok(())
}

fn put_labels(
    sql: &Connection,
    no: i64,
    id: &SessionId,
    settings: &Settings,
) -> Result<(), Failure> {
    for (name, value) in &settings.labels {
        sql.prepare_cached("INSERT INTO label VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![no, name, value, id.as_str()])?;
    }
    Ok(())
}

fn put_limiter(sql: &Connection, no: i64, limiter: &LimiterState) -> Result<(), Failure> {
    if limiter.is_empty() {
        sql.prepare_cached("DELETE FROM limiter WHERE session = ?1")?
            .execute([no])?;
    } else {
        let text =
            serde_json::to_string(limiter).expect("a limiter's state is strings and numbers");
        sql.prepare_cached("INSERT OR REPLACE INTO limiter VALUES (?1, ?2)")?
            .execute(params![no, text])?;
    }
    Ok(())
}

/// Adds marks after those that are there, and sums them up when they have become many.
fn put_marks(sql: &Connection, no: i64, id: &SessionId, marks: &[EchoMark]) -> Result<(), Failure> {
    if marks.is_empty() {
        return Ok(());
    }
    let last: Option<i64> = sql
        .prepare_cached("SELECT max(place) FROM mark WHERE session = ?1")?
        .query_row([no], |row| row.get(0))?;
    let mut place = last.unwrap_or(0).max(0);
    for mark in marks {
        place += 1;
        put_mark(sql, no, place, mark)?;
    }
    if place < MARKS {
        return Ok(());
    }
    let mut superseded = Superseded::default();
    for mark in marks_of(sql, no, id)? {
        superseded.apply(&mark);
    }
    sql.prepare_cached("DELETE FROM mark WHERE session = ?1")?
        .execute([no])?;
    put_summary(sql, no, &superseded)
}

/// Puts the fewest marks that make this, up to place 0; others come after them.
fn put_summary(sql: &Connection, no: i64, superseded: &Superseded) -> Result<(), Failure> {
    let marks: Vec<_> = superseded.marks().collect();
    for (place, mark) in (0..).map(|back: i64| -back).zip(marks.iter().rev()) {
        put_mark(sql, no, place, mark)?;
    }
    Ok(())
}

fn put_mark(sql: &Connection, no: i64, place: i64, mark: &EchoMark) -> Result<(), Failure> {
    sql.prepare_cached("INSERT INTO mark VALUES (?1, ?2, ?3)")?
        .execute(params![no, place, mark.to_string()])?;
    Ok(())
}

fn marks_of(sql: &Connection, no: i64, id: &SessionId) -> Result<Vec<EchoMark>, Failure> {
    let mut statement =
        sql.prepare_cached("SELECT mark FROM mark WHERE session = ?1 ORDER BY place")?;
    let mut rows = statement.query([no])?;
    let mut marks = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        marks.push(text.parse().map_err(|_| Unreadable::Damaged {
            id: id.clone(),
            field: "mark",
            reason: "is none".to_owned(),
        })?);
    }
    Ok(marks)
}

/// How many marks come after a summary before they are summed up again.
const MARKS: i64 = 512;
