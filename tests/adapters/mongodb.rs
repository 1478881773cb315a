//! Sessions in MongoDB.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Signal;

use crate::support::burdock::Builder;
use crate::support::client::request;
use crate::support::mongo::Mongo;
use crate::support::problem::assert_fault;
use crate::support::{Answer, Burdock, Origin, Reply, eventually};

/// A burdock whose sessions live in `mongo` unless they ask for another place.
fn on(mongo: &Mongo, origins: &[&Origin]) -> Builder {
    let config = format!(
        "[sessions]\ndefault_adapter = 'mongodb'\n[adapters.mongodb]\nuri = '{}'",
        mongo.uri()
    );
    origins
        .iter()
        .fold(Burdock::new().config(&config), |builder, origin| {
            builder.connect_to(origin)
        })
}

/// A shop that sets the cookie its path names.
async fn shop() -> Origin {
    Origin::tls("shop.example")
        .respond(|seen| match seen.target.strip_prefix("/set/") {
            Some(cookie) => Reply::text("").cookie(cookie),
            None => Reply::text("ok"),
        })
        .start()
        .await
}

async fn visit(burdock: &Burdock, id: &str, path: &str) -> Answer {
    let mut visitor = burdock.visitor(id);
    visitor.get(&format!("https://shop.example{path}")).await
}

/// The cookies that a request of the session sends now.
async fn cookies(burdock: &Burdock, shop: &Origin, id: &str) -> BTreeSet<String> {
    assert_eq!(visit(burdock, id, "/").await.status, 200);
    let sent = shop.last().cookie().to_owned();
    sent.split("; ").map(str::to_owned).collect()
}

/// Waits until something that other processes do is seen, which takes a second at most.
async fn within_a_second(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    eventually(what, async || look().await.then_some(())).await;
    let took = began.elapsed();
    // Looking takes time as well.
    assert!(took < Duration::from_millis(1500), "{what}: {took:?}");
}

#[tokio::test]
async fn a_login_survives_that_burdock_is_killed() {
    let (mongo, shop) = (Mongo::start().await, shop().await);
    let mut burdock = on(&mongo, &[&shop]).start().await;
    let settings = r#"{"id": "a", "labels": {"team": "x"}, "headers": {"x-key": "k"}}"#;
    let made = burdock.api("POST", "/api/v1/sessions", settings).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["adapter"], "mongodb");
    assert_eq!(visit(&burdock, "a", "/set/sid=1").await.status, 200);
    let before = burdock.session("a").await;
    burdock.signal(Signal::KILL);
    burdock.exited().await;
    let again = on(&mongo, &[&shop]).start().await;
    assert!(cookies(&again, &shop, "a").await.contains("sid=1"));
    assert_eq!(shop.last().field("x-key"), Some("k"));
    let after = again.session("a").await;
    for kept in ["adapter", "browser", "labels", "createdAt", "cookies"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
}

#[tokio::test]
async fn three_processes_keep_one_jar() {
    let (mongo, shop) = (Mongo::start().await, shop().await);
    let mut burdocks = Vec::new();
    for _ in 0..3 {
        burdocks.push(on(&mongo, &[&shop]).start().await);
    }
    let set = (0..90).map(async |n| visit(&burdocks[n % 3], "a", &format!("/set/c{n}={n}")).await);
    for answer in join_all(set).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let wanted: BTreeSet<_> = (0..90).map(|n| format!("c{n}={n}")).collect();
    for burdock in &burdocks {
        within_a_second("every cookie", async || {
            cookies(burdock, &shop, "a").await == wanted
        })
        .await;
    }
    assert_eq!(
        visit(&burdocks[0], "a", "/set/c0=; Max-Age=0").await.status,
        200
    );
    within_a_second("the cookie goes", async || {
        !cookies(&burdocks[2], &shop, "a").await.contains("c0=0")
    })
    .await;
}

#[tokio::test]
async fn three_processes_keep_one_rate() {
    let (mongo, shop) = (Mongo::start().await, shop().await);
    let limit = "[sessions.rate_limit]\nrequests_per_second = 10\nburst = 5\nmax_wait = '5s'";
    let mut burdocks = Vec::new();
    for _ in 0..3 {
        burdocks.push(on(&mongo, &[&shop]).config(limit).start().await);
    }
    assert_eq!(visit(&burdocks[0], "a", "/").await.status, 200);
    let began = Instant::now();
    let seconds = 5;
    let hammer = (0..24).map(async |n| {
        while began.elapsed() < Duration::from_secs(seconds) {
            visit(&burdocks[n % 3], "a", "/").await;
        }
    });
    let counting = async {
        tokio::time::sleep_until((began + Duration::from_secs(seconds)).into()).await;
        shop.requests().len()
    };
    let (reached, _) = tokio::join!(counting, join_all(hammer));
    // Burst and rate over the time, and the first request; the wall clock of the count is a little late.
    assert!(
        (45..=60).contains(&reached),
        "{reached} requests in {seconds} s"
    );
}

#[tokio::test]
async fn what_is_deleted_or_expired_is_gone_everywhere_within_a_second() {
    let (mongo, shop) = (Mongo::start().await, shop().await);
    let known = "[sessions]\non_unknown = 'reject'";
    let one = on(&mongo, &[&shop]).config(known).start().await;
    let two = on(&mongo, &[&shop]).config(known).start().await;
    for (id, ttl) in [("deleted", 600), ("brief", 2)] {
        let settings = format!(r#"{{"id": "{id}", "ttl": {ttl}}}"#);
        let made = one.api("POST", "/api/v1/sessions", &settings).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let brief = Instant::now();
    for id in ["deleted", "brief"] {
        assert_eq!(visit(&two, id, "/").await.status, 200);
    }
    let deleted = one.api("DELETE", "/api/v1/sessions/deleted", "").await;
    assert_eq!(deleted.status, 204);
    within_a_second("the session goes", async || {
        visit(&two, "deleted", "/").await.status != 200
    })
    .await;
    // The expiry of the one that was used a moment after its creation.
    tokio::time::sleep_until((brief + Duration::from_secs(3)).into()).await;
    for burdock in [&one, &two] {
        assert_ne!(visit(burdock, "brief", "/").await.status, 200);
    }
}

#[tokio::test]
async fn a_store_that_is_killed_stops_its_own_sessions_alone_and_loses_nothing() {
    let (mut mongo, shop) = (Mongo::start().await, shop().await);
    let burdock = on(&mongo, &[&shop]).start().await;
    let local = r#"{"id": "local", "adapter": "memory"}"#;
    let made = burdock.api("POST", "/api/v1/sessions", local).await;
    assert_eq!(made.status, 201, "{made:?}");
    let mut acknowledged = BTreeSet::new();
    for n in 0..20 {
        assert_eq!(
            visit(&burdock, "a", &format!("/set/c{n}=1")).await.status,
            200
        );
        acknowledged.insert(format!("c{n}=1"));
    }
    mongo.kill();
    let began = Instant::now();
    let refused = visit(&burdock, "a", "/set/late=1").await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_fault(&refused, "store-unavailable", 503);
    assert!(refused.text().contains("mongodb"), "{}", refused.text());
    assert_eq!(visit(&burdock, "local", "/").await.status, 200);
    let ready = burdock.api("GET", "/readyz", "").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("mongodb"), "{}", ready.text());
    mongo.restart(None).await;
    eventually("it recovers", async || {
        (visit(&burdock, "a", "/").await.status == 200).then_some(())
    })
    .await;
    let kept = cookies(&burdock, &shop, "a").await;
    assert!(kept.is_superset(&acknowledged), "{kept:?}");
}

#[tokio::test]
async fn one_that_is_stopped_is_answered_for_in_two_seconds() {
    let (mongo, shop) = (Mongo::start().await, shop().await);
    let burdock = on(&mongo, &[&shop]).start().await;
    assert_eq!(visit(&burdock, "a", "/set/sid=1").await.status, 200);
    mongo.pause();
    let began = Instant::now();
    let refused = visit(&burdock, "a", "/set/sid=2").await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_fault(&refused, "store-unavailable", 503);
    mongo.resume();
    eventually("it recovers", async || {
        (visit(&burdock, "a", "/set/sid=3").await.status == 200).then_some(())
    })
    .await;
    assert!(cookies(&burdock, &shop, "a").await.contains("sid=3"));
}

/// Whether the bytes hold the text.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn with_a_key_no_secret_is_in_the_servers_files_nor_in_the_log() {
    let (mut mongo, shop) = (Mongo::start().await, shop().await);
    let canary = "cAnArY7Secret";
    let keys = tempfile::tempdir().expect("a temporary folder");
    let key = keys.path().join("keys");
    let mut file = File::options();
    let file = file.write(true).create_new(true).mode(0o600).open(&key);
    let line = format!("{}=\n", "A".repeat(43));
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.expect("the folder is ours");
    let config = format!("[sessions]\nencryption_key_file = '{}'", key.display());
    let burdock = on(&mongo, &[&shop]).config(&config).start().await;
    let settings = format!(
        r#"{{"id": "a", "headers": {{"x-key": "{canary}"}}, "upstreamProxy": "http://u:{canary}@127.0.0.1:1"}}"#
    );
    let made = burdock.api("POST", "/api/v1/sessions", &settings).await;
    assert_eq!(made.status, 201, "{made:?}");
    let state = format!(
        r#"{{"cookies": [{{"name": "sid", "value": "{canary}", "domain": "shop.example", "path": "/"}}],
            "origins": [{{"origin": "https://shop.example",
                          "localStorage": [{{"name": "{canary}", "value": "{canary}"}}]}}]}}"#
    );
    let put = burdock.api("PUT", "/api/v1/sessions/a/state", &state).await;
    assert!(put.status < 300, "{put:?}");
    mongo.kill();
    let files = mongo.files();
    assert!(
        holds(&files, "https://shop.example"),
        "the session is there"
    );
    assert!(!holds(&files, canary));
    assert!(!burdock.log().contains(canary));
    mongo.restart(None).await;
    let again = on(&mongo, &[&shop]).config(&config).start().await;
    let call = request(
        "GET",
        &format!("http://{}/api/v1/sessions/a/state", again.admin),
    );
    let read = again.api_call(call, "").await;
    assert!(read.text().contains(canary), "{}", read.text());
}
