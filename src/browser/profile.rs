//! The folder that a browser process keeps its things in, which nobody shall find after burdock's end.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A browser's own folder, named by the process that it belongs to, so that a later burdock knows whether that is dead.
#[derive(Debug)]
pub(super) struct Profile(PathBuf);

impl Profile {
    /// A new one in the system's folder for temporary files, for this user alone.
    pub(super) fn create() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let owner = Owner::this();
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("{}{number}", owner.prefix()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it. A process that is dying may write into it once more, hence several tries.
    pub(super) fn remove(self) {
        for _ in 0..TRIES {
            match fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(%error, path = %self.0.display(), "a browser's profile resists");
                    std::thread::sleep(PAUSE);
                }
                _ => return,
            }
        }
        tracing::warn!(path = %self.0.display(), "a browser's profile could not be removed");
    }
}

/// Removes the profiles of burdocks that are dead; says how many there were.
pub(super) fn sweep() -> usize {
    let own = Owner::this();
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return 0;
    };
    let dead = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let owner = name.to_str().and_then(Owner::of_folder);
        // Another namespace's processes are not seen from here, so nothing can be said of them.
        owner.is_some_and(|owner| owner.namespace == own.namespace && !owner.lives())
            && entry
                .path()
                .symlink_metadata()
                .is_ok_and(|found| found.is_dir() && found.uid() == user)
    });
    dead.map(|entry| Profile(entry.path()).remove()).count()
}

/// A process by what no other ever shares with it.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    /// Of its ids: containers may share /tmp.
    namespace: String,
    pid: u32,
    /// In clock ticks since the machine's start.
    started: u64,
}

impl Owner {
    fn this() -> Self {
        let pid = std::process::id();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            namespace: namespace
                .to_string_lossy()
                .chars()
                .filter(char::is_ascii_digit)
                .collect(),
            pid,
            started: started(pid).unwrap_or_default(),
        }
    }

    fn prefix(&self) -> String {
        let Self {
            namespace,
            pid,
            started,
        } = self;
        format!("{PREFIX}{namespace}-{pid}-{started}-")
    }

    fn of_folder(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let owner = Self {
            namespace: parts.next()?.to_owned(),
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
        };
        parts.next()?.parse::<u64>().ok()?;
        parts.next().is_none().then_some(owner)
    }

    fn lives(&self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

/// Field 22 of `/proc/PID/stat`; the second may hold spaces and brackets.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

const PREFIX: &str = "burdock-browser-";
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_its_owner() {
        let own = Owner::this();
        assert!(own.lives() && own.started > 0);
        assert_eq!(Owner::of_folder(&format!("{}17", own.prefix())), Some(own));
        for name in [
            "burdock-browser-1-2-3",
            "burdock-browser-1-x-3-4",
            "other-1-2-3-4",
        ] {
            assert_eq!(Owner::of_folder(name), None, "{name}");
        }
    }

    #[test]
    fn only_what_belongs_to_the_dead_is_swept() {
        let kept = Profile::create().unwrap();
        fs::write(kept.path().join("file"), "x").unwrap();
        let own = Owner::this();
        let dead = Owner {
            started: own.started + 1,
            ..own
        };
        let left = std::env::temp_dir().join(format!("{}0", dead.prefix()));
        fs::create_dir(&left).unwrap();
        assert!(sweep() >= 1);
        assert!(kept.path().exists() && !left.exists());
        let path = kept.path().to_owned();
        kept.remove();
        assert!(!path.exists());
    }
}
