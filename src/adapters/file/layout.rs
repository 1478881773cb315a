//! The tables of the file, and by what it is known.

use rusqlite::Connection;

use super::failure::Failure;

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No tables yet.
    Nothing,
    /// The tables of an earlier version.
    Earlier,
    /// Those of this version.
    Present,
}

/// What is in the file.
///
/// # Errors
/// Where it is another program's, or a later version's.
pub(super) fn find(sql: &Connection) -> Result<Found, Failure> {
    let pragma = |name| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (pragma("application_id")?, pragma("user_version")?) {
        (0, 0) if tables == 0 => Ok(Found::Nothing),
        (APPLICATION, LAYOUT) => Ok(Found::Present),
        (APPLICATION, FIRST) => Ok(Found::Earlier),
        (APPLICATION, later) if later > LAYOUT => Err(Failure::Later(later)),
        _ => Err(Failure::Foreign),
    }
}

/// Makes the tables what they are in this version.
pub(super) fn bring_up(sql: &mut Connection, found: Found) -> Result<(), Failure> {
    let change = match found {
        Found::Nothing => TABLES,
        Found::Earlier => FROM_FIRST,
        Found::Present => return Ok(()),
    };
    let transaction = sql.transaction()?;
    transaction.execute_batch(change)?;
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

/// `bdck`, so that a file of another program's is not taken for one of burdock's.
const APPLICATION: i64 = 0x6264_636b;

/// The version of the tables.
pub(super) const LAYOUT: i64 = 2;

/// The first one, in which a row of `mark` held one mark, and no session marks of its own.
const FIRST: i64 = 1;

/// From that to the present one.
const FROM_FIRST: &str = "ALTER TABLE session ADD COLUMN marks TEXT NOT NULL DEFAULT ''";

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
    bytesOut INTEGER NOT NULL,
    marks TEXT NOT NULL DEFAULT ''
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
