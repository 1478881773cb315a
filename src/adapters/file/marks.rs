//! Marks of stale values, in the order in which they were made: the newest in the session's row, those before in rows of `mark`.
//!
//! A response that replaces a cookie thereby writes no row but the two it writes anyway.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::failure::Failure;
use super::rows::Known;
use crate::adapters::stored::Unreadable;
use crate::session::id::SessionId;
use crate::session::jar::{EchoMark, Superseded};

/// What becomes of the marks in a session's row.
pub(super) struct InRow {
    /// Whether those that are there stay.
    pub(super) keeps: bool,
    /// What is added to them.
    pub(super) adds: String,
}

/// Puts marks after those that are there: into the row, as it is to be updated, while there is room in it. Else all of them
/// go into `mark`, where they are summed up when they have become many.
pub(super) fn put(
    sql: &Connection,
    known: &Known,
    id: &SessionId,
    marks: &[EchoMark],
) -> Result<InRow, Failure> {
    let adds = text(marks);
    let held = usize::try_from(known.marks).unwrap_or(usize::MAX);
    if adds.is_empty() || held.saturating_add(adds.len()) <= ROOM {
        return Ok(InRow { keeps: true, adds });
    }
    let no = known.no;
    let last: Option<i64> = sql
        .prepare_cached("SELECT place FROM mark WHERE session = ?1 ORDER BY place DESC LIMIT 1")?
        .query_row([no], |row| row.get(0))
        .optional()?;
    let place = last.unwrap_or(0).max(0) + 1;
    sql.prepare_cached("INSERT INTO mark SELECT no, ?2, marks || ?3 FROM session WHERE no = ?1")?
        .execute(params![no, place, adds])?;
    if place >= ROWS {
        sum_up(sql, no, id)?;
    }
    Ok(InRow {
        keeps: false,
        adds: String::new(),
    })
}

/// Puts the fewest marks that make this, in rows up to place 0; others come after them.
pub(super) fn put_summary(
    sql: &Connection,
    no: i64,
    superseded: &Superseded,
) -> Result<(), Failure> {
    let marks: Vec<_> = superseded.marks().collect();
    for (place, some) in (0..).map(|back: i64| -back).zip(marks.rchunks(A_ROW)) {
        sql.prepare_cached("INSERT INTO mark VALUES (?1, ?2, ?3)")?
            .execute(params![no, place, text(some)])?;
    }
    Ok(())
}

/// The marks in a text.
pub(super) fn each(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}

fn sum_up(sql: &Connection, no: i64, id: &SessionId) -> Result<(), Failure> {
    let mut superseded = Superseded::default();
    let mut statement =
        sql.prepare_cached("SELECT mark FROM mark WHERE session = ?1 ORDER BY place")?;
    let mut rows = statement.query([no])?;
    while let Some(row) = rows.next()? {
        for mark in each(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?) {
            let mark = mark.parse().map_err(|_| Unreadable::Damaged {
                id: id.clone(),
                field: "mark",
                reason: "is none".to_owned(),
            })?;
            superseded.apply(&mark);
        }
    }
    sql.prepare_cached("DELETE FROM mark WHERE session = ?1")?
        .execute([no])?;
    put_summary(sql, no, &superseded)
}

/// Marks as they are stored, a space after each.
fn text(marks: &[EchoMark]) -> String {
    let mut text = String::with_capacity(marks.len() * MARK);
    for mark in marks {
        write!(text, "{mark} ").expect("a String takes all that is written");
    }
    text
}

/// Bytes of a mark and the space after it.
const MARK: usize = 36;

/// Bytes of marks in a session's row.
const ROOM: usize = 16 * MARK;

/// Marks in a row of a summary.
const A_ROW: usize = 64;

/// How many rows come after a summary before all are summed up again.
const ROWS: i64 = 32;
