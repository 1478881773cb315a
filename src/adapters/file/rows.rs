//! What is done in the file: the tables, and each change of them.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::failure::Failure;
use super::writer::Change;
use crate::adapters::stored::{FORMAT, Head, Unreadable, cookie_field};
use crate::adapters::{Applied, Codec, Created};
use crate::session::delta::{CookieChange, Delta};
use crate::session::id::SessionId;
use crate::session::jar::{Cookie, EchoMark, Superseded};
use crate::session::limiter::LimiterState;
use crate::session::record::{Generation, Record};
use crate::session::settings::Settings;
use crate::session::storage::ItemKey;
use crate::session::time::Timestamp;

/// Whether the file is still without tables.
///
/// # Errors
/// Where it is another program's, or a later version's.
pub(super) fn is_bare(sql: &Connection) -> Result<bool, Failure> {
    let pragma = |name| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (pragma("application_id")?, pragma("user_version")?) {
        (0, 0) if tables == 0 => Ok(true),
        (APPLICATION, LAYOUT) => Ok(false),
        (APPLICATION, later) if later > LAYOUT => Err(Failure::Later(later)),
        _ => Err(Failure::Foreign),
    }
}

/// Makes the tables.
pub(super) fn make_tables(sql: &mut Connection) -> Result<(), Failure> {
    let transaction = sql.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()?;
    Ok(())
}

/// How many sessions there are, expired ones included.
pub(super) fn held(sql: &Connection) -> Result<u64, Failure> {
    let held = sql.query_row("SELECT count(*) FROM session", [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(held.unsigned_abs())
}

pub(super) fn create(
    change: &mut Change<'_>,
    codec: &Codec,
    record: &Record,
    room: u64,
    now: Timestamp,
) -> Result<Created, Failure> {
    if let Some(known) = find(change.sql, &record.id)? {
        if known.expires > now.as_micros() {
            return Ok(Created::Exists);
        }
        remove(change, &known)?;
    }
    if *change.held >= room {
        sweep(change, now)?;
    }
    if *change.held >= room {
        let first = "SELECT min(expires) FROM session";
        let until: Option<i64> = change.sql.query_row(first, [], |row| row.get(0))?;
        let until = until.map(Timestamp::from_micros);
        return Ok(Created::Full { until });
    }
    let sql = change.sql;
    let head = codec.head(&record.id, &Head::from(record));
    let values = std::iter::once(record.id.as_str()).chain(head.iter().map(|(_, text)| &**text));
    sql.prepare_cached(INSERT)?
        .execute(rusqlite::params_from_iter(values))?;
    let no = sql.last_insert_rowid();
    for cookie in record.jar.iter() {
        put_cookie(sql, codec, no, &record.id, cookie)?;
    }
    for (key, value) in record.storage.iter() {
        put_item(sql, codec, no, &record.id, key, value)?;
    }
    put_summary(sql, no, record.jar.superseded())?;
    put_labels(sql, no, &record.id, &record.settings)?;
    put_limiter(sql, no, &record.limiter)?;
    *change.held += 1;
    Ok(Created::Done)
}

pub(super) fn apply(
    change: &mut Change<'_>,
    codec: &Codec,
    id: &SessionId,
    generation: Generation,
    delta: &Delta,
    now: Timestamp,
) -> Result<Applied, Failure> {
    let sql = change.sql;
    let Some(mut known) = find(sql, id)? else {
        return Ok(Applied::Gone);
    };
    if known.expires <= now.as_micros() || known.generation != generation.to_string() {
        return Ok(Applied::Gone);
    }
    if known.format != i64::from(FORMAT) {
        return Err(Unreadable::Format {
            id: id.clone(),
            found: known.format.unsigned_abs(),
        }
        .into());
    }
    apply_cookies(sql, codec, known.no, id, delta)?;
    apply_items(sql, codec, known.no, id, delta)?;
    if let Some(settings) = &delta.settings {
        sql.prepare_cached("UPDATE session SET settings = ?2 WHERE no = ?1")?
            .execute(params![known.no, codec.settings(id, settings)])?;
        sql.prepare_cached("DELETE FROM label WHERE session = ?1")?
            .execute([known.no])?;
        put_labels(sql, known.no, id, settings)?;
    }
    if let Some(limiter) = &delta.limiter {
        put_limiter(sql, known.no, limiter)?;
    }
    known.revision += i64::from(delta.is_durable());
    if let Some(touch) = delta.touched
        && touch.last_used.as_micros() >= known.last_used
    {
        known.last_used = touch.last_used.as_micros();
        known.expires = touch.expires.as_micros();
    }
    for (count, (_, more)) in known.counts.iter_mut().zip(Head::counters(&delta.counters)) {
        *count = count.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
    }
    let [a, b, c, d, e, f, g] = known.counts;
    sql.prepare_cached(UPDATE)?.execute(params![
        known.no,
        known.revision,
        known.last_used,
        known.expires,
        a,
        b,
        c,
        d,
        e,
        f,
        g
    ])?;
    Ok(Applied::Done {
        revision: known.revision.unsigned_abs(),
    })
}

/// Whether there was an unexpired one.
pub(super) fn delete(
    change: &mut Change<'_>,
    id: &SessionId,
    now: Timestamp,
) -> Result<bool, Failure> {
    let Some(known) = find(change.sql, id)? else {
        return Ok(false);
    };
    remove(change, &known)?;
    Ok(known.expires > now.as_micros())
}

/// How many unexpired ones there were.
pub(super) fn clear(change: &mut Change<'_>, now: Timestamp) -> Result<u64, Failure> {
    let unexpired = count(change, now)?;
    // Table by table: a whole table is let go at once, where a session's parts are looked for one by one.
    change.sql.execute_batch(
        "DELETE FROM cookie; DELETE FROM item; DELETE FROM mark; DELETE FROM label; DELETE FROM limiter; DELETE FROM session;",
    )?;
    *change.held = 0;
    Ok(unexpired)
}

/// How many unexpired ones there are.
pub(super) fn count(change: &mut Change<'_>, now: Timestamp) -> Result<u64, Failure> {
    let expired: i64 = change
        .sql
        .prepare_cached("SELECT count(*) FROM session WHERE expires <= ?1")?
        .query_row([now.as_micros()], |row| row.get(0))?;
    Ok(change.held.saturating_sub(expired.unsigned_abs()))
}

/// Removes some of those that have expired, and says how many.
pub(super) fn sweep(change: &mut Change<'_>, now: Timestamp) -> Result<u64, Failure> {
    let swept = change
        .sql
        .prepare_cached(
            "DELETE FROM session WHERE no IN (SELECT no FROM session WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![now.as_micros(), SWEEP])?;
    *change.held = change.held.saturating_sub(swept as u64);
    Ok(swept as u64)
}

/// Whether the file does its work; where the last change failed, whether it can be written again.
pub(super) fn probe(change: &mut Change<'_>) -> Result<(), Failure> {
    let sql = change.sql;
    sql.query_row("SELECT no FROM session LIMIT 1", [], |_| Ok(()))
        .optional()?;
    if change.was_failing {
        sql.pragma_update(None, "user_version", LAYOUT)?;
    }
    Ok(())
}

/// What of a head changes with a delta.
struct Known {
    no: i64,
    format: i64,
    generation: String,
    revision: i64,
    last_used: i64,
    expires: i64,
    counts: [i64; 7],
}

fn find(sql: &Connection, id: &SessionId) -> Result<Option<Known>, Failure> {
    let known = sql
        .prepare_cached(FIND)?
        .query_row([id.as_str()], |row| {
            let mut counts = [0; 7];
            for (at, count) in counts.iter_mut().enumerate() {
                *count = row.get(6 + at)?;
            }
            Ok(Known {
                no: row.get(0)?,
                format: row.get(1)?,
                generation: row.get(2)?,
                revision: row.get(3)?,
                last_used: row.get(4)?,
                expires: row.get(5)?,
                counts,
            })
        })
        .optional()?;
    Ok(known)
}

fn remove(change: &mut Change<'_>, known: &Known) -> Result<(), Failure> {
    change
        .sql
        .prepare_cached("DELETE FROM session WHERE no = ?1")?
        .execute([known.no])?;
    *change.held = change.held.saturating_sub(1);
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

/// `bdck`, so that a file of another program's is not taken for one of burdock's.
const APPLICATION: i64 = 0x6264_636b;

/// The version of the tables.
const LAYOUT: i64 = 1;

/// See docs/ADAPTERS.md.
const TABLES: &str = "
CREATE TABLE session (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    format INTEGER NOT NULL,
    generation TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created INTEGER NOT NULL,
    lastUsed INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    settings TEXT NOT NULL,
    requests INTEGER NOT NULL,
    rendered INTEGER NOT NULL,
    delayed INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    bytesIn INTEGER NOT NULL,
    bytesOut INTEGER NOT NULL
) STRICT;
CREATE INDEX session_by_expiry ON session (expires);
CREATE TABLE cookie (
    session INTEGER NOT NULL REFERENCES session (no) ON DELETE CASCADE,
    field TEXT NOT NULL,
    cookie TEXT NOT NULL,
    PRIMARY KEY (session, field)
) STRICT, WITHOUT ROWID;
CREATE TABLE item (
    session INTEGER NOT NULL REFERENCES session (no) ON DELETE CASCADE,
    origin TEXT NOT NULL,
    field TEXT NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (session, origin, field)
) STRICT, WITHOUT ROWID;
CREATE TABLE mark (
    session INTEGER NOT NULL REFERENCES session (no) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    mark TEXT NOT NULL,
    PRIMARY KEY (session, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE label (
    session INTEGER NOT NULL REFERENCES session (no) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (session, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_by_value ON label (name, value, id);
CREATE TABLE limiter (
    session INTEGER PRIMARY KEY REFERENCES session (no) ON DELETE CASCADE,
    state TEXT NOT NULL
) STRICT;
";

/// The fields of a head in their order.
const INSERT: &str = "INSERT INTO session (id, format, generation, revision, created, lastUsed, expires, settings, \
     requests, rendered, delayed, rejected, failed, bytesIn, bytesOut) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

const FIND: &str = "SELECT no, format, generation, revision, lastUsed, expires, \
     requests, rendered, delayed, rejected, failed, bytesIn, bytesOut FROM session WHERE id = ?1";

const UPDATE: &str = "UPDATE session SET revision = ?2, lastUsed = ?3, expires = ?4, \
     requests = ?5, rendered = ?6, delayed = ?7, rejected = ?8, failed = ?9, bytesIn = ?10, bytesOut = ?11 WHERE no = ?1";

/// How many expired sessions go in one transaction.
const SWEEP: i64 = 200;

/// How many marks come after a summary before they are summed up again.
const MARKS: i64 = 512;
