//! The file adapter: nothing that was acknowledged is lost, and a file that cannot be used is left as it is.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::burdock::Builder;
use crate::support::problem::{assert_fault, assert_problem};
use crate::support::{Burdock, Origin, Reply, eventually};

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

/// An origin that sets the cookie `n=n` on `/set/n`.
async fn shop() -> Origin {
    let set = |target: &str| {
        let cookie = target.strip_prefix("/set/")?;
        Some(Reply::text("set").cookie(&format!("{cookie}={cookie}; Path=/")))
    };
    Origin::tls("shop.example")
        .respond(move |seen| set(&seen.target).unwrap_or_else(|| Reply::text("")))
        .start()
        .await
}

async fn visit(burdock: &Burdock, session: &str, path: &str) -> crate::support::Answer {
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
        "browser": {"userAgent": "Mozilla/5.0 (test)"}, "upstreamProxy": null,
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
    let (shop, store) = (shop().await, Store::new());
    let mut acknowledged: Vec<Vec<usize>> = vec![Vec::new(); 6];
    for round in 0..3 {
        let burdock = store.burdock(&shop).start().await;
        let enough = shop.requests().len() + 60 + round * 31;
        let load = async |visitor: usize, of: &mut Vec<usize>| {
            let mut client = burdock.visitor(&format!("visitor-{visitor}"));
            for n in of.len().. {
                let url = format!("https://shop.example/set/c{}", round * 1000 + n);
                let call = crate::support::client::request("GET", &url);
                let sent = client
                    .stream(call.body("".into()).expect("a valid request"))
                    .await;
                let Ok(answer) = sent else { return };
                if answer.status() != 200 {
                    return;
                }
                of.push(round * 1000 + n);
            }
        };
        let killed = async {
            eventually("the load", async || {
                (shop.requests().len() >= enough).then_some(())
            })
            .await;
            burdock.signal(Signal::KILL);
        };
        let [a, b, c, d, e, f] = &mut acknowledged[..] else {
            unreachable!("six visitors")
        };
        tokio::join!(
            killed,
            load(0, a),
            load(1, b),
            load(2, c),
            load(3, d),
            load(4, e),
            load(5, f)
        );
    }
    let burdock = store.burdock(&shop).start().await;
    assert!(
        acknowledged.iter().map(Vec::len).sum::<usize>() > 150,
        "{acknowledged:?}"
    );
    for (visitor, cookies) in acknowledged.iter().enumerate() {
        let answer = visit(&burdock, &format!("visitor-{visitor}"), "/").await;
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
    const CANARY: &str = "canary-d41d8cd98f";
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
    assert_eq!(
        visit(&burdock, "a", &format!("/set/{CANARY}")).await.status,
        200
    );
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
        // The name of the cookie that the origin set is in plain; no value is.
        let found = bytes
            .windows(CANARY.len())
            .filter(|window| *window == CANARY.as_bytes())
            .count();
        let named = bytes
            .windows(CANARY.len() + 8)
            .filter(|window| window.starts_with(b"\"name\":\""))
            .filter(|window| window.ends_with(CANARY.as_bytes()))
            .count();
        assert_eq!(found, named, "{}", path.display());
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| (path.clone(), fs::read(path).expect("readable")))
        .collect()
}
