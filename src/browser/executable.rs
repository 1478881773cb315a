//! Where the browser's program is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::BrowserError;

/// The program to start: the one that is configured, else the first that is found.
///
/// # Errors
/// [`BrowserError::Missing`], or [`BrowserError::Start`] where what is configured is no program.
pub fn find(configured: Option<&Path>) -> Result<PathBuf, BrowserError> {
    find_in(configured, std::env::var_os("PATH").as_deref(), &|path| {
        is_program(path)
    })
}

fn find_in(
    configured: Option<&Path>,
    path: Option<&OsStr>,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<PathBuf, BrowserError> {
    if let Some(program) = configured {
        return match exists(program) {
            true => Ok(program.to_owned()),
            false => Err(BrowserError::Start(format!(
                "`browser.executable` names `{}`, which is no program",
                program.display()
            ))),
        };
    }
    let folders: Vec<PathBuf> = path
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    NAMES
        .iter()
        .find_map(|(name, usual)| {
            let on_path = folders
                .iter()
                .map(|folder| folder.join(name))
                .find(|program| exists(program))?;
            let program = usual
                .iter()
                .map(PathBuf::from)
                .find(|program| exists(program));
            Some(program.unwrap_or(on_path))
        })
        .ok_or(BrowserError::Missing)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Names on PATH, and where the program of that name is. The shell starts in half the time of the others and renders half as many pages again. Debian's
/// command of that name is a script that does not `exec`; where it is on PATH, the program itself is what is started.
const NAMES: &[(&str, &[&str])] = &[
    (
        "chromium-headless-shell",
        &["/usr/lib/chromium/chromium-headless-shell"],
    ),
    ("chrome-headless-shell", &[]),
    ("chromium", &["/usr/lib/chromium/chromium"]),
    (
        "chromium-browser",
        &["/usr/lib/chromium-browser/chromium-browser"],
    ),
    ("google-chrome-stable", &["/opt/google/chrome/chrome"]),
    ("google-chrome", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(configured: Option<&str>, there: &[&str]) -> Result<PathBuf, String> {
        let exists = |path: &Path| there.iter().any(|one| Path::new(one) == path);
        find_in(
            configured.map(Path::new),
            Some(OsStr::new("/usr/local/bin:/usr/bin")),
            &exists,
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn the_shell_is_preferred_and_the_program_to_its_script() {
        for (there, wanted) in [
            (
                &["/usr/bin/chromium", "/usr/bin/chromium-headless-shell"][..],
                "/usr/bin/chromium-headless-shell",
            ),
            (
                &[
                    "/usr/bin/chromium-headless-shell",
                    "/usr/lib/chromium/chromium-headless-shell",
                ],
                "/usr/lib/chromium/chromium-headless-shell",
            ),
            (&["/usr/bin/google-chrome"], "/usr/bin/google-chrome"),
            // Who takes it off PATH does not want it.
            (
                &[
                    "/usr/lib/chromium/chromium-headless-shell",
                    "/usr/bin/chromium",
                ],
                "/usr/bin/chromium",
            ),
        ] {
            assert_eq!(found(None, there).unwrap(), Path::new(wanted));
        }
    }

    #[test]
    fn what_is_configured_is_used_or_missed() {
        assert_eq!(
            found(Some("/opt/x"), &["/opt/x", "/usr/bin/chromium"]).unwrap(),
            Path::new("/opt/x")
        );
        assert!(
            found(Some("/opt/x"), &["/usr/bin/chromium"])
                .unwrap_err()
                .contains("`/opt/x`")
        );
        assert!(found(None, &[]).unwrap_err().contains("install"));
    }
}
