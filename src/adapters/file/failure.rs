//! What can be wrong with the file, and what to do about it.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi;

use super::super::stored::Unreadable;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite says so.
    Sql(rusqlite::Error),
    /// A record does not read.
    Unreadable(Unreadable),
    /// The file, or one beside it, cannot be made, opened or looked at.
    Io(&'static str, io::Error),
    /// Another process has it.
    InUse(Option<u32>),
    /// It is some other file.
    Foreign,
    /// A later version made it.
    Later(i64),
    /// It is on a file system where processes cannot share memory.
    NoLog,
    /// It is damaged, in a way that SQLite does not tell.
    Damaged(String),
    /// It is not where it was when it was opened.
    Moved,
    /// There is none, and it was not made.
    Missing,
    /// It was asked, and has not answered in time.
    Slow,
    /// So many wait for it that one more is turned away.
    Crowded,
    /// The thread that writes could not be started.
    NoThread(io::Error),
    /// The thread that writes is gone.
    NoWriter,
    /// The thread that reads is gone.
    NoReader,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

impl Failure {
    /// What is wrong and the remedy, for people.
    pub(super) fn reason(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => {
                    format!("there is no room to write `{path}`: make room on its disk")
                }
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, error),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    format!("`{path}` is locked by another program: end what it does there")
                }
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    format!(
                        "`{path}` cannot be written ({error}): change its permissions, or mount its disk for writing"
                    )
                }
                Some(_) => format!(
                    "`{path}` cannot be read or written ({error}): look at its disk, its permissions and the limit of a file's size"
                ),
                // A row that is not of the shape that was written.
                None => damaged(path, error),
            },
            Self::Unreadable(error) => format!("`{path}`: {error}"),
            Self::Io(what, error) => format!("{what} `{path}`: {error}"),
            Self::InUse(process) => {
                let who = process.map_or_else(
                    || "another process".to_owned(),
                    |process| format!("another process ({process})"),
                );
                format!(
                    "`{path}` is in use by {who}: end that one, or give each process a file of its own (`adapters.file.path`)"
                )
            }
            Self::Foreign => format!(
                "`{path}` is no file of burdock's: name another one in `adapters.file.path`"
            ),
            Self::Later(found) => format!(
                "`{path}` was made by a later version of burdock (layout {found}): use that version, or another file"
            ),
            Self::NoLog => format!(
                "`{path}` is on a file system that cannot hold it, such as a network's: put it on a local disk"
            ),
            Self::Damaged(how) => damaged(path, how),
            Self::Moved => format!("`{path}` was moved or removed while it was in use"),
            Self::Missing => format!("`{path}` is not there"),
            Self::Slow => format!("`{path}` does not answer: look at its disk"),
            Self::Crowded => format!("too many changes wait for `{path}`: look at its disk"),
            Self::NoThread(error) => format!("no thread can be started for `{path}`: {error}"),
            Self::NoWriter | Self::NoReader => {
                format!("the thread that was to work on `{path}` has ended")
            }
        }
    }

    /// Whether it may be that of one change among several: the record that it is about, a damaged page, its size.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Unreadable(_) => true,
            Self::Sql(error) => match error.sqlite_error_code() {
                Some(code) => matches!(
                    code,
                    ErrorCode::DatabaseCorrupt | ErrorCode::DiskFull | ErrorCode::SystemIoFailure
                ),
                None => true,
            },
            _ => false,
        }
    }

    /// Whether the file has to be opened anew before anything else is done in it.
    ///
    /// Where there was no room, SQLite has taken the change back, and goes on.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Sql(rusqlite::Error::SqliteFailure(error, _)) => match error.code {
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly => true,
                ErrorCode::SystemIoFailure => error.extended_code != ffi::SQLITE_IOERR_WRITE,
                _ => false,
            },
            Self::Moved | Self::Damaged(_) => true,
            _ => false,
        }
    }
}

fn damaged(path: std::path::Display<'_>, how: impl std::fmt::Display) -> String {
    format!(
        "`{path}` is damaged ({how}): put a copy of it in its place, or move it and `{path}-wal` away to begin anew"
    )
}
