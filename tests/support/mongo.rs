//! A server that speaks MongoDB's protocol (SecantusDB, over WiredTiger), to be killed, stopped and started again.
//!
//! The adapter's own tests in `src` use it too, so it stands by itself.

#![allow(dead_code, reason = "not every program of the tests uses all of it")]

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// A server; dropped, it is killed and reaped, and its data are gone.
pub(crate) struct Mongo {
    child: Option<Child>,
    folder: TempDir,
    address: SocketAddr,
    flags: Vec<String>,
}

impl Mongo {
    /// A replica set of one, without users.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// One with command line flags; `{}` in them is its folder.
    pub(crate) async fn with(flags: &[&str]) -> Self {
        let mut mongo = Self::down(flags);
        mongo.restart(None).await;
        mongo
    }

    /// One that does not run yet, whose address is known.
    pub(crate) fn down(flags: &[&str]) -> Self {
        let folder = TempDir::with_prefix("burdock-mongo-").expect("a temporary folder");
        let at = folder.path().display().to_string();
        // The server cannot choose a port itself: this one was free a moment ago.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        Self {
            child: None,
            address: listener.local_addr().expect("a bound address"),
            flags: flags.iter().map(|flag| flag.replace("{}", &at)).collect(),
            folder,
        }
    }

    /// Its folder; what it stores is in `data`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `mongodb://HOST:PORT/`.
    pub(crate) fn uri(&self) -> String {
        format!("mongodb://{}/", self.address)
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it; what it had not written is lost.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail where it has ended already, which is what they are for.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
    }

    /// Stops it without ending it: connections stay, and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it on the same data, with other flags if there are any.
    pub(crate) async fn restart(&mut self, flags: Option<&[&str]>) {
        self.kill();
        if let Some(flags) = flags {
            self.flags = flags.iter().map(ToString::to_string).collect();
        }
        let log = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(log);
        let log = log.expect("the folder is ours");
        let child = Command::new(python())
            .args([
                "-c",
                "import sys; from secantus.cli import main; sys.exit(main())",
            ])
            .args(["--host", "127.0.0.1", "--log-level", "WARNING"])
            .args(["--port", &self.address.port().to_string()])
            .arg("--storage-path")
            .arg(self.folder.path().join("data"))
            .args(&self.flags)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be had twice"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("Python runs");
        self.child = Some(child);
        self.listening().await;
    }

    /// All of its files, its log included, as one text of bytes.
    pub(crate) fn files(&self) -> Vec<u8> {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut all = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder of ours") {
                let path = entry.expect("a readable entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    all.extend(std::fs::read(path).expect("a readable file"));
                }
            }
        }
        all
    }

    async fn listening(&mut self) {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).await.is_err() {
            let child = self.child.as_mut().expect("it was started above");
            let ended = child.try_wait().expect("a child of ours");
            assert!(
                ended.is_none() && Instant::now() < until,
                "the MongoDB server does not listen ({ended:?}):\n{}",
                std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it runs");
    }
}

impl Drop for Mongo {
    fn drop(&mut self) {
        self.kill();
    }
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python");
    assert!(
        python.exists(),
        "there is no `{}` here: run ./tests/run, which installs what the tests need",
        python.display()
    );
    python
}
