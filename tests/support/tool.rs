//! Foreign programs: found or named with the remedy, run with a deadline.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::raw::text;

/// What installs everything that the tests need.
const REMEDY: &str = "run ./tests/run, which installs what the tests need";

/// Longer than any foreign client should need, shorter than the runner's patience.
const PATIENCE: &str = "90";

/// A program by its name on PATH, or the first of several names that is there.
pub(crate) fn on_path(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only root's PATH looks.
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .collect();
    let found = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut found = found.filter(|file| file.is_file());
    found
        .next()
        .unwrap_or_else(|| panic!("there is no `{}` here: {REMEDY}", names.join("` or `")))
}

/// The Python that has the client libraries.
pub(crate) fn python() -> PathBuf {
    installed("tests/.venv/bin/python")
}

/// Where the npm packages are.
pub(crate) fn node_modules() -> PathBuf {
    installed("tests/.cache/node_modules")
}

/// A script of `tests/clients/`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(
        path.exists(),
        "there is no `{}` here: {REMEDY}",
        path.display()
    );
    path
}

/// A command whose environment names no proxy but those that the test names.
pub(crate) fn command(program: &Path) -> Command {
    // `timeout` ends the whole group of what it started, browsers' helpers included.
    let mut command = Command::new(on_path(&["timeout"]));
    command.args(["--kill-after=5", PATIENCE]).arg(program);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    for name in [
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end without blocking the runtime, origins included.
pub(crate) async fn output(mut command: Command) -> Output {
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await
        .expect("the thread ends well")
        .expect("the program runs")
}

/// The standard output of a command that must succeed.
pub(crate) async fn stdout(command: Command) -> String {
    let shown = format!("{command:?}");
    let output = output(command).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{shown}: {}\n{out}\n{err}",
        output.status
    );
    out
}
