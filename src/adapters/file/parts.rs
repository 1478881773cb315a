//! The parts of a session besides its head and its marks: cookies, items, labels, and the limiter's state.

use rusqlite::{Connection, params};

use super::failure::Failure;
use super::marks;
use crate::adapters::Codec;
use crate::adapters::stored::cookie_field;
use crate::session::delta::{CookieChange, Delta};
use crate::session::id::SessionId;
use crate::session::jar::Cookie;
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
    marks::put_summary(sql, no, record.jar.superseded())?;
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
    Ok(())
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
    sql.prepare_cached(PUT_COOKIE)?.execute(params![
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

/// One that is there keeps its row, whose session is then not looked for.
const PUT_COOKIE: &str =
    "INSERT INTO cookie VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET cookie = excluded.cookie";
