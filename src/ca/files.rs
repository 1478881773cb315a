//! The authority's two files: made together, read together, never half replaced.
//!
//! The key is written first and the certificate's name is derived from the key. A crash between the two
//! leaves a key alone, and the next start issues the certificate again under the same name; nobody can
//! have trusted another one. A certificate alone is an error, because a new key would silently break every
//! client that trusts it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tracing::{info, warn};

use super::error::CaError;
use super::profile::{Root, RootError, new_key, self_signed};
use crate::session::time::Timestamp;

const CERTIFICATE: &str = "burdock-ca.pem";
const KEY: &str = "burdock-ca.key";
const LOCK: &str = "burdock-ca.lock";

/// A CA that ends within this is announced at every start.
const ENDING_SOON: Duration = Duration::from_hours(30 * 24);

/// Where the certificate of the authority in `dir` is.
pub(super) fn certificate_path(dir: &Path) -> PathBuf {
    dir.join(CERTIFICATE)
}

/// Reads the pair in `dir`, or makes what is missing of it under a lock that other processes respect.
pub(super) fn open_or_create(dir: &Path, now: Timestamp) -> Result<Root, CaError> {
    let pair = Pair::in_dir(dir);
    // Without the lock first: a folder that may only be read is fine as long as it holds the pair.
    let root = match pair.read(now) {
        Ok(Some(root)) => root,
        // Another process may be between its two renames: the lock is held until it is done.
        Ok(None) | Err(CaError::KeyMissing { .. } | CaError::Mismatch { .. }) => {
            pair.read_or_create(now)?
        }
        Err(error) => return Err(error),
    };
    if root.not_after().since(now) < ENDING_SOON {
        warn!(path = %pair.certificate.display(), end = %root.not_after(), "the CA certificate ends soon");
    }
    Ok(root)
}

struct Pair {
    dir: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            certificate: dir.join(CERTIFICATE),
            key: dir.join(KEY),
        }
    }

    /// The pair, or `None` where no certificate is there yet.
    fn read(&self, now: Timestamp) -> Result<Option<Root>, CaError> {
        let Some(certificate) = read_certificate(&self.certificate)? else {
            return Ok(None);
        };
        let Some(key) = read_key(&self.key)? else {
            return Err(CaError::KeyMissing {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
            });
        };
        let root = self.root(certificate, key)?;
        if root.not_after() <= now {
            return Err(CaError::Expired {
                since: root.not_after(),
            });
        }
        Ok(Some(root))
    }

    fn root(&self, certificate: CertificateDer<'static>, key: KeyPair) -> Result<Root, CaError> {
        Root::from_parts(certificate, key).map_err(|error| match error {
            RootError::Mismatch => CaError::Mismatch {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
            },
            RootError::Malformed(reason) => CaError::Malformed {
                path: self.certificate.clone(),
                wanted: "CA certificate",
                reason,
            },
        })
    }

    fn read_or_create(&self, now: Timestamp) -> Result<Root, CaError> {
        fs::create_dir_all(&self.dir).map_err(failed("create", &self.dir))?;
        let _lock = lock(&self.dir.join(LOCK))?;
        if let Some(root) = self.read(now)? {
            return Ok(root);
        }
        let key = if let Some(key) = read_key(&self.key)? {
            info!(path = %self.key.display(), "found a CA key without its certificate: issuing that again");
            key
        } else {
            let key = new_key()?;
            self.write(&self.key, key.serialize_pem().as_bytes(), 0o600)?;
            key
        };
        let root = self.root(self_signed(&key, now)?, key)?;
        self.write(&self.certificate, root.pem().as_bytes(), 0o644)?;
        info!(path = %self.certificate.display(), end = %root.not_after(), "made a CA");
        Ok(root)
    }

    /// Puts `content` at `path` whole or not at all; it is on the disk when this returns.
    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), CaError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".tmp");
        let unfinished = PathBuf::from(unfinished);
        // Left by a crash: the lock is ours, so nobody is writing it.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &unfinished)(error));
            }
            _ => {}
        }
        create_new(&unfinished, mode)
            .and_then(|mut file| {
                file.write_all(content)?;
                file.sync_all()
            })
            .map_err(failed("write", &unfinished))?;
        fs::rename(&unfinished, path).map_err(failed("create", path))?;
        sync_dir(&self.dir).map_err(failed("sync", &self.dir))
    }
}

/// Held until dropped, also by a crash: the kernel lets go of it with the process.
fn lock(path: &Path) -> Result<File, CaError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed("create", path))?;
    file.lock().map_err(failed("lock", path))?;
    Ok(file)
}

fn read_certificate(path: &Path) -> Result<Option<CertificateDer<'static>>, CaError> {
    let Some(mut file) = open_if_there(path)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(failed("read", path))?;
    CertificateDer::from_pem_slice(&text)
        .map(Some)
        .map_err(|error| CaError::Malformed {
            path: path.to_owned(),
            wanted: "PEM certificate",
            reason: error.to_string(),
        })
}

fn read_key(path: &Path) -> Result<Option<KeyPair>, CaError> {
    let Some(mut file) = open_if_there(path)? else {
        return Ok(None);
    };
    refuse_exposed(path, &file)?;
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(failed("read", path))?;
    KeyPair::from_pem(&text)
        .map(Some)
        .map_err(|error| CaError::Malformed {
            path: path.to_owned(),
            wanted: "PEM private key",
            reason: error.to_string(),
        })
}

fn open_if_there(path: &Path) -> Result<Option<File>, CaError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, file: &File) -> Result<(), CaError> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = file.metadata().map_err(failed("read", path))?.mode() & 0o7777;
    let of_others = mode & 0o077;
    if of_others != 0 {
        return Err(CaError::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_: &Path, _: &File) -> Result<(), CaError> {
    // Access there is by inherited lists, not by bits of the file.
    Ok(())
}

/// A file that did not exist, with `mode` from its first moment.
#[cfg(unix)]
fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    // The umask may have taken the certificate's read bits, which clients of other users need.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

#[cfg(not(unix))]
fn create_new(path: &Path, _: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Makes a rename last: a directory's entries are its own data.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CaError {
    let path = path.to_owned();
    move |source| CaError::Io {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use tempfile::TempDir;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn dir() -> TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn open(dir: &TempDir) -> Result<Root, CaError> {
        open_or_create(dir.path(), NOW)
    }

    fn message(dir: &TempDir) -> String {
        open(dir).err().expect("an error").to_string()
    }

    #[test]
    fn it_is_made_once_and_then_read() {
        let parent = dir();
        let nested = parent.path().join("not/there/yet");
        let made = open_or_create(&nested, NOW).expect("made");
        let read = open_or_create(&nested, NOW).expect("read");
        assert_eq!(made.der(), read.der());
        let mut names: Vec<_> = fs::read_dir(&nested)
            .expect("listed")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, [KEY, LOCK, CERTIFICATE]);
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_for_its_owner_and_the_certificate_for_all() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = dir();
        open(&dir).expect("made");
        let mode = |name| {
            let path = dir.path().join(name);
            fs::metadata(path).expect("there").permissions().mode() & 0o777
        };
        assert_eq!(mode(KEY), 0o600);
        assert_eq!(mode(CERTIFICATE), 0o644);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = dir();
        open(&dir).expect("made");
        let key = dir.path().join(KEY);
        for (mode, refused) in [(0o640, true), (0o604, true), (0o660, true), (0o400, false)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("owner");
            assert_eq!(open(&dir).is_err(), refused, "{mode:o}");
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("owner");
        let message = message(&dir);
        assert!(message.contains("has mode 0644"), "{message}");
        assert!(
            message.contains(&format!("chmod 600 {}", key.display())),
            "{message}"
        );
    }

    #[test]
    fn a_crash_after_the_key_is_repaired_under_the_same_key() {
        let dir = dir();
        let former = open(&dir).expect("made");
        fs::remove_file(dir.path().join(CERTIFICATE)).expect("there");
        fs::write(dir.path().join("burdock-ca.pem.tmp"), "half a certif").expect("written");
        let again = open(&dir).expect("repaired");
        assert_ne!(former.der(), again.der());
        assert_eq!(former.spki(), again.spki());
        assert!(!dir.path().join("burdock-ca.pem.tmp").exists());
    }

    #[test]
    fn a_crash_before_the_key_leaves_nothing_that_hinders() {
        let dir = dir();
        fs::write(dir.path().join("burdock-ca.key.tmp"), "half a key").expect("written");
        open(&dir).expect("made");
        assert!(!dir.path().join("burdock-ca.key.tmp").exists());
    }

    #[test]
    fn a_certificate_without_its_key_is_an_error_that_names_it() {
        let dir = dir();
        open(&dir).expect("made");
        fs::remove_file(dir.path().join(KEY)).expect("there");
        let message = message(&dir);
        assert!(
            message.contains(&dir.path().join(KEY).display().to_string()),
            "{message}"
        );
        assert!(!dir.path().join(KEY).exists(), "no key was made up");
    }

    #[test]
    fn halves_of_two_pairs_are_refused() {
        let (dir, other) = (dir(), dir());
        open(&dir).expect("made");
        open(&other).expect("made");
        fs::copy(other.path().join(CERTIFICATE), dir.path().join(CERTIFICATE)).expect("copied");
        assert!(matches!(open(&dir), Err(CaError::Mismatch { .. })));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = dir();
        open(&dir).expect("made");
        for (name, wanted) in [(KEY, "PEM private key"), (CERTIFICATE, "PEM certificate")] {
            let path = dir.path().join(name);
            let kept = fs::read(&path).expect("there");
            fs::write(&path, "no PEM").expect("written");
            let message = message(&dir);
            assert!(
                message.contains(wanted) && message.contains(name),
                "{message}"
            );
            fs::write(&path, kept).expect("written");
        }
        let path = dir.path().join(CERTIFICATE);
        fs::remove_file(&path).expect("there");
        fs::create_dir(&path).expect("made");
        assert!(matches!(open(&dir), Err(CaError::Io { doing: "read", .. })));
    }

    #[test]
    fn an_ended_authority_is_refused() {
        let dir = dir();
        let end = open(&dir).expect("made").not_after();
        let just_before = end - Duration::from_secs(1);
        assert!(open_or_create(dir.path(), just_before).is_ok());
        assert!(matches!(
            open_or_create(dir.path(), end),
            Err(CaError::Expired { .. })
        ));
    }

    #[test]
    fn many_starting_at_once_agree_on_one() {
        let dir = dir();
        let together = Barrier::new(16);
        let found: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        open(&dir).expect("opened").der().to_vec()
                    })
                })
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().expect("no panic"))
                .collect()
        });
        assert!(found.iter().all(|der| *der == found[0]));
        assert_eq!(open(&dir).expect("read").der().as_ref(), found[0]);
    }

    #[cfg(unix)]
    #[test]
    fn a_pair_in_a_folder_that_may_only_be_read_is_enough() {
        let dir = dir();
        open(&dir).expect("made");
        fs::remove_file(dir.path().join(LOCK)).expect("there");
        open(&dir).expect("read");
        assert!(!dir.path().join(LOCK).exists(), "nothing was written");
    }
}
