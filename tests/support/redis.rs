//! Real Redis servers, sentinels and clusters on free ports, each reaped on drop. The unit tests of the adapter use it too.
#![allow(dead_code, reason = "two programs use it, each its part")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything that should happen may take to happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running redis-server or redis-sentinel; dropped, it is killed and reaped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    program: &'static str,
    child: Child,
    folder: TempDir,
    args: Vec<String>,
    pub(crate) port: u16,
}

impl RedisServer {
    /// One that keeps what it acknowledges in its append-only file, with further arguments (`--requirepass secret`).
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::durable(args, |_| Vec::new())
    }

    /// The same with arguments that depend on its folder.
    pub(crate) fn durable(args: &[&str], more: impl Fn(&Path) -> Vec<String>) -> Self {
        let always = [
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ];
        let args: Vec<&str> = always.iter().chain(args).copied().collect();
        Self::run("redis-server", &args, more)
    }

    fn run(program: &'static str, args: &[&str], more: impl Fn(&Path) -> Vec<String>) -> Self {
        // A port that was free a moment ago may be taken by another test meanwhile.
        for _ in 0..5 {
            let folder = TempDir::with_prefix("burdock-redis-").expect("a temporary folder");
            let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            args.extend(more(folder.path()));
            let port = free_port();
            let mut server = Self {
                program,
                child: spawn(program, folder.path(), port, &args),
                folder,
                args,
                port,
            };
            if server.is_answering() {
                return server;
            }
        }
        panic!("{program} does not start");
    }

    /// `redis://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file with a key for the encryption of what is stored, for nobody else's eyes, in its folder.
    pub(crate) fn key_file(&self) -> PathBuf {
        let path = self.folder().join("keys");
        let file = fs::File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path);
        let key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
        file.and_then(|mut file| file.write_all(key))
            .expect("our folder");
        path
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("a child of ours");
    }

    /// Starts it again, after [`Self::kill`], on the same port and data.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.program, self.folder.path(), self.port, &self.args);
        assert!(
            self.is_answering(),
            "{} is back: {}",
            self.program,
            self.log()
        );
    }

    /// Stops it in its tracks, connections open.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("it is running");
    }

    /// What redis-cli prints for a command, without the last line feed.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }

    /// Whether it comes to answer; it has ended otherwise.
    fn is_answering(&mut self) -> bool {
        let since = Instant::now();
        while self.child.try_wait().expect("a child of ours").is_none() {
            if answers(self.port) || self.log().contains("Ready to accept connections") {
                return true;
            }
            assert!(
                since.elapsed() < DEADLINE,
                "{} answers: {}",
                self.program,
                self.log()
            );
            pause();
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- log of {} on {}\n{}---",
                self.program,
                self.port,
                self.log()
            );
        }
    }
}

/// A master, a replica, and three sentinels that watch them as `shop`.
pub(crate) struct Watched {
    pub(crate) master: RedisServer,
    pub(crate) replica: RedisServer,
    pub(crate) sentinels: Vec<RedisServer>,
}

impl Watched {
    pub(crate) fn start() -> Self {
        let master = RedisServer::start(&[]);
        let port = master.port.to_string();
        let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
        until("the replica follows", || {
            replica
                .cli(&["info", "replication"])
                .contains("master_link_status:up")
        });
        let sentinels = (0..3).map(|_| {
            RedisServer::run("redis-sentinel", &[], |folder| {
                let file = folder.join("sentinel.conf");
                let rules = format!(
                    "sentinel monitor shop 127.0.0.1 {port} 2\n\
                     sentinel down-after-milliseconds shop 500\n\
                     sentinel failover-timeout shop 3000\n"
                );
                fs::write(&file, rules).expect("our folder");
                vec![file.display().to_string()]
            })
        });
        let sentinels: Vec<_> = sentinels.collect();
        until("the sentinels know each other and the replica", || {
            sentinels.iter().all(|sentinel| {
                let known = sentinel.cli(&["sentinel", "master", "shop"]);
                let field = |name: &str| {
                    let mut lines = known.lines().skip_while(|line| *line != name);
                    lines.nth(1).map(str::to_owned)
                };
                field("num-other-sentinels").as_deref() == Some("2")
                    && field("num-slaves").as_deref() == Some("1")
            })
        });
        Self {
            master,
            replica,
            sentinels,
        }
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self.sentinels.iter();
        let hosts: Vec<_> = hosts
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port))
            .collect();
        format!("redis+sentinel://{}/shop", hosts.join(","))
    }
}

/// A cluster of three masters without replicas.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<RedisServer>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let nodes: Vec<_> = (0..3)
            .map(|_| {
                RedisServer::durable(
                    &["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"],
                    |_| vec!["--cluster-port".into(), free_port().to_string()],
                )
            })
            .collect();
        let slots = [0..=5460u32, 5461..=10922, 10923..=16383];
        for (node, slots) in nodes.iter().zip(slots) {
            let (first, last) = (slots.start().to_string(), slots.end().to_string());
            node.cli(&["cluster", "addslotsrange", &first, &last]);
        }
        for other in &nodes[1..] {
            let bus = other.args.last().expect("the port of its bus").clone();
            nodes[0].cli(&[
                "cluster",
                "meet",
                "127.0.0.1",
                &other.port.to_string(),
                &bus,
            ]);
        }
        let cluster = Self { nodes };
        cluster.is_well();
        cluster
    }

    /// Waits until every node finds the cluster well.
    pub(crate) fn is_well(&self) {
        until("the cluster is well", || {
            self.nodes.iter().all(|node| {
                let info = node.cli(&["cluster", "info"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{}", self.nodes[0].port)
    }
}

/// Looks again and again until something is so, within the deadline.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(
            since.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}"
        );
        pause();
    }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

fn cli(port: u16, args: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("there is a redis-cli: run ./tests/run, which installs what the tests need");
    String::from_utf8_lossy(&output.stdout)
        .trim_end_matches('\n')
        .to_owned()
}

fn spawn(program: &str, folder: &Path, port: u16, args: &[String]) -> Child {
    // The sentinels' file is an argument, and has to be the first.
    let (file, args) = match args.first() {
        Some(first) if !first.starts_with('-') => (Some(first), &args[1..]),
        _ => (None, args),
    };
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("our folder");
    let given = |name: &str| args.iter().any(|arg| arg == name);
    let mut command = Command::new(program);
    command.args(file);
    if given("--tls-port") {
        command.args(["--port", "0"]);
    } else {
        command.args(["--port", &port.to_string()]);
    }
    // `PORT` stands for the port.
    let args = args.iter().map(|arg| {
        if arg == "PORT" {
            port.to_string()
        } else {
            arg.clone()
        }
    });
    command
        .args(["--bind", "127.0.0.1", "--dir"])
        .arg(folder)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}: run ./tests/run, which installs what the tests need")
        })
}

/// Whether something that speaks Redis answers, if only that it wants a password.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let patience = Some(Duration::from_secs(1));
    if stream.set_read_timeout(patience).is_err() || stream.write_all(b"PING\r\n").is_err() {
        return false;
    }
    let mut first = [0; 5];
    stream.read_exact(&mut first).is_ok() && (&first == b"+PONG" || &first == b"-NOAU")
}

/// A port that was free a moment ago: Redis cannot choose one itself.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}
