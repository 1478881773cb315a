//! Sessions in the file: what is done with them, each in the transaction it is given.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::failure::Failure;
use super::layout::LAYOUT;
use super::marks;
use super::parts;
use super::task::Change;
use crate::adapters::stored::{FORMAT, Head, Unreadable};
use crate::adapters::{Applied, Codec, Created};
use crate::session::delta::Delta;
use crate::session::id::SessionId;
use crate::session::record::{Generation, Record};
use crate::session::time::Timestamp;

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
    parts::put_all(sql, codec, no, record)?;
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
    parts::apply(sql, codec, known.no, id, delta)?;
    let marks = marks::put(sql, &known, id, delta.cookies.echoes())?;
    if let Some(settings) = &delta.settings {
        sql.prepare_cached("UPDATE session SET settings = ?2 WHERE no = ?1")?
            .execute(params![known.no, codec.settings(id, settings)])?;
    }
    known.revision += i64::from(delta.is_durable());
    for (count, (_, more)) in known.counts.iter_mut().zip(Head::counters(&delta.counters)) {
        *count = count.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
    }
    let [a, b, c, d, e, f, g] = known.counts;
    let touch = delta
        .touched
        .filter(|touch| touch.last_used.as_micros() >= known.last_used);
    match touch {
        None => sql.prepare_cached(UPDATE)?.execute(params![
            known.no,
            known.revision,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            marks.keeps,
            marks.adds
        ])?,
        Some(touch) => sql.prepare_cached(TOUCH)?.execute(params![
            known.no,
            known.revision,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            marks.keeps,
            marks.adds,
            touch.last_used.as_micros(),
            touch.expires.as_micros()
        ])?,
    };
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

/// Whether the file does its work; where it could not be written, whether it can be again.
pub(super) fn probe(change: &mut Change<'_>) -> Result<(), Failure> {
    let sql = change.sql;
    sql.query_row("SELECT no FROM session LIMIT 1", [], |_| Ok(()))
        .optional()?;
    if *change.failing {
        // What it is already; it is written all the same.
        sql.pragma_update(None, "user_version", LAYOUT)?;
        *change.failing = false;
    }
    Ok(())
}

/// What of a head changes with a delta.
pub(super) struct Known {
    pub(super) no: i64,
    format: i64,
    generation: String,
    revision: i64,
    last_used: i64,
    expires: i64,
    counts: [i64; 7],
    /// Bytes of the marks in its row.
    pub(super) marks: i64,
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
                marks: row.get(13)?,
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

/// The fields of a head in their order.
const INSERT: &str = "INSERT INTO session (id, format, generation, revision, created, lastUsed, expires, settings, \
     requests, rendered, delayed, rejected, failed, bytesIn, bytesOut) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

const FIND: &str = "SELECT no, format, generation, revision, lastUsed, expires, \
     requests, rendered, delayed, rejected, failed, bytesIn, bytesOut, octet_length(marks) FROM session WHERE id = ?1";

const UPDATE: &str = "UPDATE session SET revision = ?2, \
     requests = ?3, rendered = ?4, delayed = ?5, rejected = ?6, failed = ?7, bytesIn = ?8, bytesOut = ?9, \
     marks = iif(?10, marks, '') || ?11 WHERE no = ?1";

/// Another one, since it moves an entry of an index.
const TOUCH: &str = "UPDATE session SET revision = ?2, \
     requests = ?3, rendered = ?4, delayed = ?5, rejected = ?6, failed = ?7, bytesIn = ?8, bytesOut = ?9, \
     marks = iif(?10, marks, '') || ?11, lastUsed = ?12, expires = ?13 WHERE no = ?1";

/// How many expired sessions go in one transaction.
const SWEEP: i64 = 200;
