//! The file on the disk: made, found, locked, checked, and refused where it is not what it should be.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::failure::Failure;
use super::layout;
use super::task::{Missing, Urgency};

/// The file, open for the one that writes.
pub(super) struct Opened {
    pub(super) sql: Connection,
    /// How many sessions it holds, expired ones included.
    pub(super) held: u64,
    urgency: Urgency,
    path: Arc<Path>,
    identity: Identity,
    /// Released by the kernel with the process, and by closing it.
    _lock: File,
}

impl Opened {
    /// Opens the file; none where there is none and none is wanted.
    pub(super) fn open(path: &Arc<Path>, missing: Missing) -> Result<Option<Self>, Failure> {
        let found = match fs::metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::Io("look at", error)),
        };
        if missing == Missing::Leave && !is_there(path) {
            return Ok(None);
        }
        if found.as_ref().is_some_and(|found| !found.is_file()) {
            return Err(Failure::Foreign);
        }
        make_folder(path).map_err(|error| Failure::Io("make the folder of", error))?;
        let lock = lock(&beside(path, "-lock"))?;
        // Nobody else makes or changes it from here on.
        let length = match fs::metadata(path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(Failure::Io("look at", error)),
        };
        // SQLite takes the log of an empty file for a stranger's, and deletes it.
        if length == 0 && has_content(&beside(path, "-wal")) {
            return Err(Failure::Damaged(
                "it is empty or gone, but its `-wal` is there".to_owned(),
            ));
        }
        if !length.is_multiple_of(PAGE) && !has_content(&beside(path, "-wal")) {
            return Err(Failure::Damaged("it was cut short".to_owned()));
        }
        make(path).map_err(|error| Failure::Io("make", error))?;
        let mut sql = connect(path)?;
        // Before anything is written.
        let found = layout::find(&sql)?;
        check(&mut sql)?;
        prepare(&sql)?;
        layout::bring_up(&mut sql, found)?;
        let held = layout::held(&sql)?;
        let identity = identity(path).map_err(|error| Failure::Io("look at", error))?;
        Ok(Some(Self {
            sql,
            held,
            urgency: Urgency::Now,
            path: Arc::clone(path),
            identity,
            _lock: lock,
        }))
    }

    /// Whether what is open is what is at the path.
    pub(super) fn is_in_place(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }

    /// Whether the next commit waits for the disk.
    pub(super) fn set_urgency(&mut self, urgency: Urgency) -> Result<(), Failure> {
        if self.urgency != urgency {
            self.sql.pragma_update(
                None,
                "synchronous",
                match urgency {
                    Urgency::Now => "FULL",
                    // The log is a sequence: the next sync takes along what was written before.
                    Urgency::Soon => "NORMAL",
                },
            )?;
            self.urgency = urgency;
        }
        Ok(())
    }

    /// Puts everything that was acknowledged on the disk and into the file itself.
    pub(super) fn flush(self) {
        let done = self
            .sql
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .and_then(|()| self.sql.close().map_err(|(_, error)| error));
        if let Err(error) = done {
            tracing::warn!(path = %self.path.display(), %error, "the sessions' file could not be tidied up; nothing is lost");
        }
    }
}

/// Whether there is a file, or what one has left behind.
pub(super) fn is_there(path: &Path) -> bool {
    let is_gone = fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    !is_gone || has_content(&beside(path, "-wal"))
}

pub(super) fn connect(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = Connection::open_with_flags(path, flags)?;
    // Other programs may look into the file, and hold it for a moment.
    sql.busy_timeout(BUSY)?;
    sql.set_prepared_statement_cache_capacity(64);
    sql.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA cache_size = -8000;",
    )?;
    Ok(sql)
}

/// Sets how the one that writes works.
fn prepare(sql: &Connection) -> Result<(), Failure> {
    let mode: String = sql.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::NoLog);
    }
    sql.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = FAST; \
         PRAGMA journal_size_limit = 16777216; PRAGMA wal_autocheckpoint = 4000;",
    )?;
    Ok(())
}

/// Looks for damage, as far as there is time for it: what is not found here is found when it is come upon.
fn check(sql: &mut Connection) -> Result<(), Failure> {
    let begun = Instant::now();
    sql.progress_handler(1000, Some(move || begun.elapsed() > CHECK))?;
    let found = sql.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0));
    sql.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(Failure::Damaged(found)),
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the folders that are missing, for their owner alone.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes an empty file where there is none; SQLite gives those beside it the same permissions.
fn make(path: &Path) -> io::Result<()> {
    match for_owner().create_new(true).open(path) {
        Ok(file) => {
            file.sync_all()?;
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the lock, and says in it who has it.
fn lock(path: &Path) -> Result<File, Failure> {
    let opened = for_owner()
        .read(true)
        .create(true)
        .truncate(false)
        .open(path);
    let mut file = opened.map_err(|error| Failure::Io("make the lock beside", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Whoever it is: that it cannot be told is no error.
            let _ = file.take(32).read_to_string(&mut holder);
            return Err(Failure::InUse(holder.trim().parse().ok()));
        }
        Err(TryLockError::Error(error)) => return Err(Failure::Io("lock", error)),
    }
    // For the message to the next one alone: a disk that is full must not keep anybody from reading.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn for_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() > 0)
}

/// Which file it is, whatever its name.
#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// That it is there has to do: an open file is not moved there.
#[cfg(not(unix))]
type Identity = ();

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(drop)
}

/// Its pages are SQLite's by default. One that a crash tore is in the log as well.
const PAGE: u64 = 4096;

/// How long another program is waited for.
const BUSY: Duration = Duration::from_millis(500);

/// How long is looked for damage.
const CHECK: Duration = Duration::from_millis(300);
