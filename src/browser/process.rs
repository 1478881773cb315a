//! A browser process of our own: how it starts, and that it ends with everything it began.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::flags;
use super::options::Options;
use super::profile::Profile;

/// A running browser; dropped, it is ended. Its group is killed, it is reaped, its profile removed.
#[derive(Debug)]
pub(super) struct Process {
    /// Of its leader, and of the group.
    pub(super) pid: u32,
    /// Where it is debugged.
    pub(super) debugger: SocketAddr,
    /// The path there.
    pub(super) path: String,
    end: CancellationToken,
    ended: CancellationToken,
}

impl Process {
    /// Starts `program` and waits until it can be debugged; the error has what it said on the way.
    pub(super) async fn start(program: &Path, options: &Options) -> Result<Self, String> {
        let profile =
            Profile::create().map_err(|error| format!("its profile cannot be made: {error}"))?;
        let (mut child, pipe) = match spawn(program, options, profile.path()) {
            Ok(spawned) => spawned,
            Err(error) => {
                profile.remove();
                return Err(format!("`{}`: {error}", program.display()));
            }
        };
        let pid = child.id().unwrap_or_default();
        let said = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(listen(stderr, Arc::clone(&said)));
        }
        let found = debugger(&mut child, profile.path()).await;
        let end = CancellationToken::new();
        let ended = CancellationToken::new();
        let running = Running {
            child,
            pid,
            profile,
            pipe,
        };
        tokio::spawn(running.until(end.clone(), ended.clone().drop_guard()));
        match found {
            Ok((port, path)) => Ok(Self {
                pid,
                debugger: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                path,
                end,
                ended,
            }),
            Err(why) => {
                end.cancel();
                ended.cancelled().await;
                let said: Vec<u8> = said.lock().iter().copied().collect();
                let said = String::from_utf8_lossy(&said);
                Err(match said.trim() {
                    "" => format!("`{}` {why}", program.display()),
                    said => format!("`{}` {why}; it said: {said}", program.display()),
                })
            }
        }
    }

    /// Ends it; does not wait.
    pub(super) fn end(&self) {
        self.end.cancel();
    }

    /// Is cancelled when nothing is left of it.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// What the task has that waits for the end.
struct Running {
    child: Child,
    pid: u32,
    profile: Profile,
    /// Chromium ends when the other end of it closes, which the kernel does even where burdock is killed.
    pipe: (PipeWriter, PipeReader),
}

impl Running {
    async fn until(mut self, end: CancellationToken, _ended: tokio_util::sync::DropGuard) {
        end.cancelled().await;
        // Before it is reaped, as its pid is the group's until then.
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may be over already.
            kill_process_group(group, Signal::KILL).ok();
        }
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, pid = self.pid, "a browser could not be reaped");
        }
        let deadline = Instant::now() + GROUP_LIMIT;
        while group.is_some_and(|group| test_kill_process_group(group).is_ok())
            && Instant::now() < deadline
        {
            sleep(POLL).await;
        }
        drop(self.pipe);
        let profile = self.profile;
        if let Err(error) = tokio::task::spawn_blocking(|| profile.remove()).await {
            tracing::warn!(%error, "a browser's profile could not be removed");
        }
    }
}

fn spawn(
    program: &Path,
    options: &Options,
    profile: &Path,
) -> std::io::Result<(Child, (PipeWriter, PipeReader))> {
    let (commands, ours) = std::io::pipe()?;
    let (answers, theirs) = std::io::pipe()?;
    let mut command = std::process::Command::new(program);
    command
        .args(flags::of(options, profile))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for name in PROXIES {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let ends = vec![
        FdMapping {
            parent_fd: commands.into(),
            child_fd: 3,
        },
        FdMapping {
            parent_fd: theirs.into(),
            child_fd: 4,
        },
    ];
    command
        .fd_mappings(ends)
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    let mut command = Command::from(command);
    // For a panic between here and the task that waits for its end.
    command.process_group(0).kill_on_drop(true);
    Ok((command.spawn()?, (ours, answers)))
}

/// Waits for the port of the debugger, which Chromium writes into its profile.
async fn debugger(child: &mut Child, profile: &Path) -> Result<(u16, String), String> {
    let file = profile.join("DevToolsActivePort");
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(found) = tokio::fs::read_to_string(&file)
            .await
            .ok()
            .as_deref()
            .and_then(parse_port)
        {
            return Ok(found);
        }
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Err(format!("ended while it started ({status})")),
            Err(error) => return Err(format!("cannot be watched: {error}")),
        }
        if Instant::now() >= deadline {
            return Err(format!("was not ready within {START_LIMIT:?}"));
        }
        sleep(POLL).await;
    }
}

fn parse_port(text: &str) -> Option<(u16, String)> {
    // Whole lines only: the file may be read while it is written.
    let (port, path) = text.split_once('\n')?;
    path.starts_with("/devtools/browser/")
        .then(|| Some((port.parse().ok()?, path.trim_end().to_owned())))
        .flatten()
        .filter(|(_, path)| path.len() >= FULL_PATH)
}

/// Keeps the last of what it says.
async fn listen(mut stderr: ChildStderr, said: Arc<Mutex<VecDeque<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let mut said = said.lock();
        said.extend(&buffer[..read]);
        let excess = said.len().saturating_sub(TAIL);
        said.drain(..excess);
    }
}

/// What burdock's own environment says of proxies is not for its browsers.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
const START_LIMIT: Duration = Duration::from_secs(20);
const GROUP_LIMIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);
const TAIL: usize = 2048;
/// `/devtools/browser/` and a UUID.
const FULL_PATH: usize = 18 + 36;

#[cfg(test)]
mod tests {
    use super::parse_port;

    #[test]
    fn a_port_is_read_when_it_is_whole() {
        let path = "/devtools/browser/01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(
            parse_port(&format!("9222\n{path}")),
            Some((9222, path.to_owned()))
        );
        for text in [
            "",
            "9222",
            "9222\n",
            "9222\n/devtools/browser/0123",
            "x\n/devtools",
        ] {
            assert_eq!(parse_port(text), None, "{text}");
        }
    }
}
