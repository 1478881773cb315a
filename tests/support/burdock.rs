//! A burdock of its own for each test: the real binary, on free ports, in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, kill_process_group, prlimit};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::client::{Answer, Client, request};
use super::{Origin, eventually, tls, within};

/// A running burdock; dropped, it is killed with its process group and reaped.
pub(crate) struct Burdock {
    child: Child,
    folder: TempDir,
    log: Arc<Log>,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The folder of its CA.
    pub(crate) ca_dir: PathBuf,
}

impl Burdock {
    /// One with the defaults, on free ports, that trusts the test origins.
    #[expect(
        clippy::new_ret_no_self,
        reason = "reads as `Burdock::new().config(..).start()`"
    )]
    pub(crate) fn new() -> Builder {
        Builder {
            config: toml::Table::new(),
            flags: Vec::new(),
            env: Vec::new(),
            connect_to: Vec::new(),
        }
    }

    /// One in front of `origins`, with the defaults else.
    pub(crate) async fn before(origins: &[&Origin]) -> Self {
        origins
            .iter()
            .fold(Self::new(), |builder, origin| builder.connect_to(origin))
            .start()
            .await
    }

    /// A client that trusts its CA and names no session.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.proxy, &self.ca_pem())
    }

    /// A client whose every request says `X-Session-ID: id`.
    pub(crate) fn visitor(&self, id: &str) -> Client {
        self.client().session(id)
    }

    /// A call of the admin API; an empty `body` is none.
    pub(crate) async fn api(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut call = request(method, &format!("http://{}{path}", self.admin));
        if !body.is_empty() {
            call = call.header("content-type", "application/json");
        }
        self.api_call(call, body).await
    }

    /// A call of the admin API with fields of its own.
    pub(crate) async fn api_call(&self, call: http::request::Builder, body: &str) -> Answer {
        let mut direct = Client::direct(self.admin);
        direct
            .send(call.body(body.to_owned().into()).expect("a valid call"))
            .await
    }

    /// The session object, as the admin API shows it.
    pub(crate) async fn session(&self, id: &str) -> serde_json::Value {
        let answer = self.api("GET", &format!("/api/v1/sessions/{id}"), "").await;
        assert_eq!(answer.status, 200, "session {id}: {answer:?}");
        answer.json()
    }

    /// Its CA's certificate.
    pub(crate) fn ca_pem(&self) -> String {
        let path = self.ca_dir.join("burdock-ca.pem");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Its CA's certificate as a file.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.ca_dir.join("burdock-ca.pem")
    }

    /// Its folder, where tests may put files of theirs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it logged up to now.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until the log has `text`.
    pub(crate) async fn logged(&self, text: &str) {
        self.log.has(text).await;
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("it is running");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a VmRSS line");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB");
        kib * 1024
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        pid(&self.child).as_raw_nonzero().get()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).expect("it is running");
    }

    /// Files of it grow no larger than so many bytes from now on; none: as large as they like.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(pid(&self.child)), Resource::Fsize, limit).expect("it is running");
    }

    /// Waits for its end.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of burdock", async || {
            child.try_wait().expect("a child of ours")
        })
        .await
    }
}

impl Drop for Burdock {
    fn drop(&mut self) {
        reap(&mut self.child);
        if std::thread::panicking() {
            eprintln!("--- burdock's log\n{}---", self.log.text());
        }
    }
}

/// A burdock before it runs.
pub(crate) struct Builder {
    config: toml::Table,
    flags: Vec<String>,
    env: Vec<(String, String)>,
    connect_to: Vec<String>,
}

impl Builder {
    /// Adds to the config file; tables of earlier calls are added to.
    #[must_use]
    pub(crate) fn config(mut self, text: &str) -> Self {
        merge(
            &mut self.config,
            toml::from_str(text).expect("a test's config is TOML"),
        );
        self
    }

    /// Adds a command line argument.
    #[must_use]
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Reaches `origin` by its name and its scheme's port.
    #[must_use]
    pub(crate) fn connect_to(mut self, origin: &Origin) -> Self {
        self.connect_to.push(origin.connect_to());
        self
    }

    /// Starts it and waits until both listeners and the CA are announced.
    pub(crate) async fn start(self) -> Burdock {
        let ca_dir = self.value_of("--ca-dir").map(PathBuf::from);
        let (mut child, folder) = self.spawn();
        let log = Log::of(&mut child);
        let announced = async {
            loop {
                let grew = log.grew.notified();
                if let Some(announced) = Announced::find(&log.text()) {
                    return announced;
                }
                if let Some(status) = child.try_wait().expect("a child of ours") {
                    panic!(
                        "burdock ended with {status} before it listened:\n{}",
                        log.text()
                    );
                }
                // The log is closed last: a process that ends is noticed then at the latest.
                grew.await;
            }
        };
        let found = tokio::time::timeout(super::DEADLINE, announced).await;
        let Ok(announced) = found else {
            reap(&mut child);
            panic!(
                "burdock did not announce its listeners and its CA:\n{}",
                log.text()
            );
        };
        let ca_dir = ca_dir.unwrap_or_else(|| folder.path().join("certs"));
        Burdock {
            child,
            folder,
            log,
            proxy: announced.proxy,
            admin: announced.admin,
            ca_dir,
        }
    }

    /// Runs it where it is expected to refuse: its exit code and all that it said.
    pub(crate) async fn refused(self) -> (Option<i32>, String) {
        let (mut child, _folder) = self.spawn();
        let log = Log::of(&mut child);
        let ended = async {
            eventually("its end", async || {
                child.try_wait().expect("a child of ours")
            })
            .await
        };
        let status = tokio::time::timeout(super::DEADLINE / 2, ended).await;
        reap(&mut child);
        let said = log.whole();
        let status = status.unwrap_or_else(|_| panic!("burdock did not refuse:\n{said}"));
        (status.code(), said)
    }

    fn value_of(&self, flag: &str) -> Option<&str> {
        let at = self.flags.iter().position(|given| given == flag)?;
        self.flags.get(at + 1).map(String::as_str)
    }

    fn spawn(self) -> (Child, TempDir) {
        let folder = TempDir::with_prefix("burdock-test-").expect("a temporary folder");
        let roots = folder.path().join("origins.pem");
        std::fs::write(&roots, tls::TRUSTED.pem()).expect("the folder is ours");
        let mut config = toml::Table::new();
        merge(
            &mut config,
            toml::toml! {
                upstream.connect_to = []
                tls.upstream_ca_files = []
            },
        );
        config["upstream"]["connect_to"] = self.connect_to.clone().into();
        config["tls"]["upstream_ca_files"] = vec![roots.display().to_string()].into();
        merge(&mut config, self.config.clone());
        let file = folder.path().join("burdock.toml");
        std::fs::write(&file, config.to_string()).expect("the folder is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_burdock"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("BURDOCK_") || name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        // What it leaves lying about is seen there, and goes with the folder.
        let scratch = folder.path().join("tmp");
        std::fs::create_dir(&scratch).expect("the folder is ours");
        let certs = folder.path().join("certs");
        for (flag, value) in [
            ("--listen", Path::new("127.0.0.1:0")),
            ("--admin-listen", Path::new("127.0.0.1:0")),
            ("--config", &file),
            ("--ca-dir", &certs),
        ] {
            if self.value_of(flag).is_none() {
                command.arg(flag).arg(value);
            }
        }
        command
            .args(self.flags)
            .env("NO_COLOR", "1")
            .env("TMPDIR", scratch)
            .envs(self.env)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        (command.spawn().expect("the burdock binary runs"), folder)
    }
}

/// What the start lines of the log say.
struct Announced {
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Announced {
    /// Reads `listener=proxy address=ADDR`, `listener=admin address=ADDR` and `ca=PATH`, whole lines only.
    fn find(log: &str) -> Option<Self> {
        let complete = &log[..=log.rfind('\n')?];
        let value = |line: &str, key: &str| {
            let (_, rest) = line.split_once(&format!("{key}="))?;
            Some(rest.split_whitespace().next()?.trim_matches('"').to_owned())
        };
        let listener = |name: &str| {
            let mut lines = complete
                .lines()
                .filter(|line| value(line, "listener").as_deref() == Some(name));
            value(lines.next()?, "address")?.parse().ok()
        };
        complete.lines().find_map(|line| value(line, "ca"))?;
        Some(Self {
            proxy: listener("proxy")?,
            admin: listener("admin")?,
        })
    }
}

/// All that a child says, standard output and error together.
#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grew: Notify,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl Log {
    /// Reads both streams of `child` on threads that end with it.
    fn of(child: &mut Child) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let out = child
            .stdout
            .take()
            .map(|out| Box::new(out) as Box<dyn Read + Send>);
        let err = child
            .stderr
            .take()
            .map(|err| Box::new(err) as Box<dyn Read + Send>);
        for stream in [out, err].into_iter().flatten() {
            let reading = Arc::clone(&log);
            let reader = std::thread::spawn(move || reading.read(stream));
            log.readers.lock().expect("no holder panics").push(reader);
        }
        log
    }

    fn read(&self, stream: impl Read) {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            self.text
                .lock()
                .expect("no holder panics")
                .push_str(&String::from_utf8_lossy(&line));
            self.grew.notify_waiters();
            line.clear();
        }
        self.grew.notify_waiters();
    }

    /// All that a child said that has ended.
    fn whole(&self) -> String {
        for reader in self.readers.lock().expect("no holder panics").drain(..) {
            reader.join().expect("a reader does not panic");
        }
        self.text()
    }

    fn text(&self) -> String {
        self.text.lock().expect("no holder panics").clone()
    }

    async fn has(&self, wanted: &str) {
        let found = async {
            loop {
                let grew = self.grew.notified();
                if self.text().contains(wanted) {
                    return;
                }
                grew.await;
            }
        };
        within(&format!("{wanted:?} in the log"), found).await;
    }
}

/// Kills the process group of `child`, which it leads, and waits for it.
pub(crate) fn reap(child: &mut Child) {
    // Both fail where it has ended already, which is what they are for.
    let _ = kill_process_group(pid(child), Signal::KILL);
    let _ = child.wait();
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Puts `more` into `table`; where both have a table, likewise within it.
fn merge(table: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
