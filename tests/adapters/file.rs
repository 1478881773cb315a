//! The file adapter: nothing that was acknowledged is lost, and a file that cannot be used is left as it is.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::burdock::Builder;
use crate::support::problem::{assert_fault, assert_problem};
use crate::support::{Answer, Burdock, Origin, Reply, eventually, origin, within};

/// A file for sessions, in a folder that outlives every burdock.
struct Store {
    folder: TempDir,
}

impl Store {
    fn new() -> Self {
        let folder = TempDir::with_prefix("burdock-store-").expect("a temporary folder");
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sessions.db")
    }

    /// A burdock that keeps its sessions there unless told otherwise.
    fn burdock(&self, origin: &Origin) -> Builder {
        let path = self.path();
        Burdock::new().connect_to(origin).config(&format!(
            "adapters.file.path = {:?}\nsessions.default_adapter = \"file\"\nsessions.max_active_sessions = 1000",
            path.display().to_string()
        ))
    }
}

/// An origin that sets the cookie `n=n` on `/set/n`, and one that is nobody's business on `/login`.
async fn shop() -> Origin {
    serving(Origin::tls("shop.example")).await
}

async fn serving(origin: origin::Builder) -> Origin {
    let reply = |target: &str| match target.strip_prefix("/set/") {
        Some(name) => Reply::text("set").cookie(&format!("{name}={name}; Path=/")),
        None if target == "/login" => Reply::text("").cookie(&format!("login={CANARY}; Path=/")),
        None => Reply::text(""),
    };
    origin
        .respond(move |seen| reply(&seen.target))
        .start()
        .await
}

/// What must not be seen where it does not belong.
const CANARY: &str = "canary-d41d8cd98f";

async fn visit(burdock: &Burdock, session: &str, path: &str) -> Answer {
    let url = format!("https://shop.example{path}");
    burdock.visitor(session).get(&url).await
}

async fn kill(mut burdock: Burdock) {
    burdock.signal(Signal::KILL);
    burdock.exited().await;
}

#[tokio::test]
async fn a_login_survives_a_kill() {
    let (shop, store) = (shop().await, Store::new());
    let burdock = store
        .burdock(&shop)
        .config("sessions.default_adapter = \"memory\"")
        .start()
        .await;
    let body = json!({
        "id": "buyer", "adapter": "file", "ttl": 3000, "labels": {"team": "prices"}, "headers": {"X-Key": "k"},
        "browser": {"userAgent": "Mozilla/5.0 (test)"},
    });
    let created = burdock
        .api("POST", "/api/v1/sessions", &body.to_string())
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(visit(&burdock, "buyer", "/set/sid").await.status, 200);
    assert_eq!(visit(&burdock, "passer-by", "/set/sid").await.status, 200);
    let before = burdock.session("buyer").await;
    kill(burdock).await;

    let burdock = store.burdock(&shop).start().await;
    assert_eq!(visit(&burdock, "buyer", "/").await.status, 200);
    let seen = shop.last();
    assert_eq!(
        (seen.cookie(), seen.field("user-agent")),
        ("sid=sid", Some("Mozilla/5.0 (test)"))
    );
    assert_eq!(seen.field("x-key"), Some("k"));
    let after = burdock.session("buyer").await;
    for field in [
        "id",
        "adapter",
        "ttl",
        "labels",
        "headers",
        "browser",
        "created",
        "createdAt",
    ] {
        assert_eq!(after[field], before[field], "{field}");
    }
    // One that lived in memory is another visitor now.
    assert_eq!(visit(&burdock, "passer-by", "/").await.status, 200);
    assert_eq!(shop.last().cookie(), "");
}

#[tokio::test]
async fn nothing_acknowledged_is_missing_after_kills_under_load() {
    let store = Store::new();
    let shop = serving(Origin::plain("plain.example")).await;
    let mut acknowledged: Vec<Vec<usize>> = vec![Vec::new(); 6];
    for round in 0..3 {
        let burdock = store.burdock(&shop).start().await;
        let enough = shop.requests().len() + 60 + round * 31;
        let load = async |visitor: usize, of: &mut Vec<usize>| {
            loop {
                let n = round * 1000 + of.len();
                if !ask(burdock.proxy, &format!("visitor-{visitor}"), n).await {
                    return;
                }
                of.push(n);
            }
        };
        let killed = async {
            eventually("the load", async || {
                (shop.requests().len() >= enough).then_some(())
            })
            .await;
            burdock.signal(Signal::KILL);
        };
        let visitors = acknowledged.iter_mut().enumerate();
        let load = join_all(visitors.map(|(visitor, of)| load(visitor, of)));
        tokio::join!(killed, load);
    }
    let burdock = store.burdock(&shop).start().await;
    assert!(
        acknowledged.iter().map(Vec::len).sum::<usize>() > 150,
        "{acknowledged:?}"
    );
    for (visitor, cookies) in acknowledged.iter().enumerate() {
        let mut client = burdock.visitor(&format!("visitor-{visitor}"));
        let answer = client.get("http://plain.example/").await;
        assert_eq!(answer.status, 200);
        let seen = shop.last();
        for n in cookies.iter().rev().take(140) {
            assert!(
                seen.cookie().contains(&format!("c{n}=c{n}")),
                "visitor-{visitor}, c{n}"
            );
        }
    }
}

/// Has the cookie `c<n>` set, and says whether the answer came whole.
async fn ask(proxy: SocketAddr, session: &str, n: usize) -> bool {
    let asked = async {
        let mut wire = TcpStream::connect(proxy).await?;
        let request = format!(
            "GET http://plain.example/set/c{n} HTTP/1.1\r\nHost: plain.example\r\nX-Session-ID: {session}\r\nConnection: close\r\n\r\n"
        );
        wire.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        wire.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = within("an answer, or an end", asked).await;
    answer
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nset"))
}

#[tokio::test]
async fn counters_and_last_use_survive_an_orderly_end() {
    let (shop, store) = (shop().await, Store::new());
    let mut burdock = store.burdock(&shop).start().await;
    for _ in 0..5 {
        assert_eq!(visit(&burdock, "a", "/").await.status, 200);
    }
    let before = burdock.session("a").await;
    burdock.signal(Signal::TERM);
    assert!(burdock.exited().await.success());
    // It is tidied up: everything is in the file itself.
    assert!(!store.folder.path().join("sessions.db-wal").exists());
    let burdock = store.burdock(&shop).start().await;
    let after = burdock.session("a").await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn no_file_is_made_before_it_is_used() {
    let shop = shop().await;
    let burdock = Burdock::before(&[&shop]).await;
    assert_eq!(visit(&burdock, "a", "/set/a").await.status, 200);
    assert_eq!(burdock.api("GET", "/api/v1/sessions", "").await.status, 200);
    assert!(!burdock.folder().join("burdock.db").exists());
    let created = burdock
        .api("POST", "/api/v1/sessions", r#"{"adapter":"file"}"#)
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    assert!(burdock.folder().join("burdock.db").exists());
}

#[tokio::test]
async fn a_second_process_is_told_and_gets_its_turn() {
    let (shop, store) = (shop().await, Store::new());
    let first = store.burdock(&shop).start().await;
    assert_eq!(visit(&first, "a", "/set/a").await.status, 200);
    let second = store.burdock(&shop).start().await;
    let answer = visit(&second, "a", "/").await;
    assert_fault(&answer, "store-unavailable", 503);
    let told = answer.text();
    for word in [&*store.path().display().to_string(), "adapters.file.path"] {
        assert!(
            told.contains(word) || second.log().contains(word),
            "{word}: {told}"
        );
    }
    assert_eq!(visit(&first, "a", "/").await.status, 200);
    kill(first).await;
    let answer = eventually("its turn", async || {
        let answer = visit(&second, "a", "/").await;
        (answer.status == 200).then_some(answer)
    });
    answer.await;
    assert_eq!(shop.last().cookie(), "a=a");
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let (shop, store) = (shop().await, Store::new());
    let burdock = store.burdock(&shop).start().await;
    let memory = burdock
        .api(
            "POST",
            "/api/v1/sessions",
            r#"{"id":"m","adapter":"memory"}"#,
        )
        .await;
    assert_eq!(memory.status, 201);
    assert_eq!(visit(&burdock, "a", "/set/before").await.status, 200);
    let size = |suffix: &str| {
        let path = store.folder.path().join(format!("sessions.db{suffix}"));
        fs::metadata(path).map_or(0, |found| found.len())
    };
    burdock.limit_files(Some(size("").max(size("-wal"))));
    let answer = visit(&burdock, "a", "/set/during").await;
    assert_fault(&answer, "store-unavailable", 503);
    assert_eq!(visit(&burdock, "m", "/set/during").await.status, 200);
    burdock.limit_files(None);
    let answer = eventually("room", async || {
        let answer = visit(&burdock, "a", "/set/after").await;
        (answer.status == 200).then_some(answer)
    });
    answer.await;
    kill(burdock).await;
    let burdock = store.burdock(&shop).start().await;
    assert_eq!(visit(&burdock, "a", "/").await.status, 200);
    let seen = shop.last();
    assert!(
        seen.cookie().contains("before=before") && seen.cookie().contains("after=after"),
        "{}",
        seen.cookie()
    );
}

#[tokio::test]
async fn a_damaged_file_is_told_and_left_as_it_is() {
    let (shop, store) = (shop().await, Store::new());
    let bytes = b"no database at all, but a text that is longer than the hundred bytes which a header of one would have had";
    fs::write(store.path(), bytes).expect("the folder is ours");
    let burdock = store.burdock(&shop).start().await;
    assert_fault(&visit(&burdock, "a", "/").await, "store-unavailable", 503);
    let created = burdock
        .api("POST", "/api/v1/sessions", r#"{"adapter":"file"}"#)
        .await;
    assert_problem(&created, "store-unavailable", 503);
    assert_eq!(fs::read(store.path()).expect("it is there"), bytes);
    fs::remove_file(store.path()).expect("the folder is ours");
    assert_eq!(visit(&burdock, "a", "/set/a").await.status, 200);
}

#[tokio::test]
async fn with_a_key_no_secret_is_in_the_files_or_the_log() {
    let (shop, store) = (shop().await, Store::new());
    let keys = store.folder.path().join("keys");
    fs::write(&keys, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n").expect("the folder is ours");
    fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
    let sealing = || {
        let keys = keys.display().to_string();
        store
            .burdock(&shop)
            .config(&format!("sessions.encryption_key_file = {keys:?}"))
    };
    let burdock = sealing().start().await;
    let body = json!({"id": "a", "headers": {"X-Key": CANARY}});
    assert_eq!(
        burdock
            .api("POST", "/api/v1/sessions", &body.to_string())
            .await
            .status,
        201
    );
    assert_eq!(visit(&burdock, "a", "/login").await.status, 200);
    let state = json!({
        "cookies": [{"name": "sid", "value": CANARY, "domain": "shop.example", "path": "/"}],
        "origins": [{"origin": "https://shop.example", "localStorage": [{"name": CANARY, "value": CANARY}]}],
    });
    let put = burdock
        .api("PUT", "/api/v1/sessions/a/state", &state.to_string())
        .await;
    assert!(put.status < 300, "{put:?}");
    let log = burdock.log();
    kill(burdock).await;
    assert!(!log.contains(CANARY), "{log}");
    let burdock = sealing().start().await;
    assert_eq!(visit(&burdock, "a", "/").await.status, 200);
    assert!(
        shop.last().cookie().contains(CANARY),
        "{}",
        shop.last().cookie()
    );
    kill(burdock).await;
    let held = files(store.folder.path());
    assert!(!held.is_empty());
    for (path, bytes) in held {
        let found = bytes
            .windows(CANARY.len())
            .any(|window| window == CANARY.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| (path.clone(), fs::read(path).expect("readable")))
        .collect()
}
