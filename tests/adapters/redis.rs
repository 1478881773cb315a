//! Redis: what is promised of sessions in it, with one burdock and with three.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::problem::assert_fault;
use crate::support::redis::RedisServer;
use crate::support::{Answer, Burdock, Origin, Reply, eventually};

/// In this time what one process did has to be known to all, and what fails has to have failed.
const SOON: Duration = Duration::from_secs(2);

/// A burdock whose sessions are in that Redis, unless they say otherwise.
fn on(server: &RedisServer, origins: &[&Origin]) -> crate::support::burdock::Builder {
    let builder = Burdock::new().config(&format!(
        "[sessions]\ndefault_adapter = 'redis'\n[adapters.redis]\nurl = '{}'",
        server.url()
    ));
    origins
        .iter()
        .fold(builder, |builder, origin| builder.connect_to(origin))
}

async fn three(server: &RedisServer, origins: &[&Origin]) -> [Burdock; 3] {
    [
        on(server, origins).start().await,
        on(server, origins).start().await,
        on(server, origins).start().await,
    ]
}

/// An origin whose every response sets the cookie that the request's path names: `/NAME=VALUE`, or removes it: `/NAME`.
async fn setter(name: &str) -> Origin {
    Origin::plain(name)
        .respond(|seen| {
            let pair = seen.target.trim_start_matches('/');
            let reply = Reply::text("");
            match pair {
                "" => reply,
                pair if pair.contains('=') => reply.field("Set-Cookie", &format!("{pair}; Path=/")),
                name => reply.field("Set-Cookie", &format!("{name}=; Path=/; Max-Age=0")),
            }
        })
        .start()
        .await
}

async fn create(burdock: &Burdock, session: &Value) {
    let created = burdock
        .api("POST", "/api/v1/sessions", &session.to_string())
        .await;
    assert_eq!(created.status, 201, "{created:?}");
}

/// The names and values of a session's cookies as a process shows them.
async fn cookies(burdock: &Burdock, id: &str) -> BTreeSet<String> {
    let state = burdock
        .api("GET", &format!("/api/v1/sessions/{id}/state"), "")
        .await;
    assert_eq!(state.status, 200, "{state:?}");
    let state = state.json();
    let cookies = state["cookies"]
        .as_array()
        .expect("a list of cookies")
        .iter();
    cookies
        .map(|cookie| {
            let text = |field: &str| cookie[field].as_str().expect("text").to_owned();
            format!("{} {}={}", text("domain"), text("name"), text("value"))
        })
        .collect()
}

/// Waits until the processes show the same cookies of a session, so many.
async fn agreed(burdocks: &[Burdock], id: &str, how_many: usize) -> BTreeSet<String> {
    let since = Instant::now();
    let agreed = eventually("all processes agree", async || {
        let mut shown = Vec::new();
        for burdock in burdocks {
            shown.push(cookies(burdock, id).await);
        }
        let first = shown.pop()?;
        (first.len() == how_many && shown.iter().all(|other| *other == first)).then_some(first)
    })
    .await;
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    agreed
}

#[tokio::test]
async fn a_login_survives_the_crash_of_burdock() {
    let server = RedisServer::start(&[]);
    let shop = setter("shop.example").await;
    let mut burdock = on(&server, &[&shop]).start().await;
    create(
        &burdock,
        &json!({"id": "me", "labels": {"team": "one"}, "browser": {"userAgent": "Survivor/1"}, "headers": {"X-Mine": "yes"}}),
    )
    .await;
    let answer = burdock.visitor("me").get("http://shop.example/sid=1").await;
    assert_eq!(answer.status, 200);
    burdock.signal(Signal::KILL);
    burdock.exited().await;

    let burdock = on(&server, &[&shop]).start().await;
    assert_eq!(
        burdock
            .visitor("me")
            .get("http://shop.example/")
            .await
            .status,
        200
    );
    let seen = shop.requests().pop().expect("a request");
    assert_eq!(seen.cookie(), "sid=1");
    assert_eq!(seen.field("user-agent"), Some("Survivor/1"));
    assert_eq!(seen.field("x-mine"), Some("yes"));
    let session = burdock.session("me").await;
    assert_eq!(session["adapter"], "redis");
    assert_eq!(session["labels"], json!({"team": "one"}));
    let listed = burdock
        .api("GET", "/api/v1/sessions?label=team=one", "")
        .await;
    assert_eq!(listed.status, 200, "{listed:?}");
}

#[tokio::test]
async fn a_thousand_cookies_by_three_processes_are_a_thousand() {
    let server = RedisServer::start(&["--appendfsync", "everysec"]);
    let mut origins = Vec::new();
    for site in 0..10 {
        origins.push(setter(&format!("site{site}.example")).await);
    }
    let origins: Vec<&Origin> = origins.iter().collect();
    let burdocks = three(&server, &origins).await;
    create(&burdocks[0], &json!({"id": "one"})).await;
    let mut visits = JoinSet::new();
    for client in 0..100 {
        let mut visitor = burdocks[client % 3].visitor("one");
        visits.spawn(async move {
            for site in 0..10 {
                let url = format!("http://site{site}.example/c{client}={client}");
                assert_eq!(visitor.get(&url).await.status, 200, "{url}");
            }
        });
    }
    while let Some(visit) = visits.join_next().await {
        visit.expect("every visit ends well");
    }
    agreed(&burdocks, "one", 1000).await;
    assert_eq!(server.cli(&["hlen", "burdock:{one}:cookies"]), "1000");
}

#[tokio::test]
async fn however_one_cookie_is_set_and_deleted_everybody_ends_with_the_same() {
    let server = RedisServer::start(&["--appendfsync", "everysec"]);
    let shop = setter("shop.example").await;
    let burdocks = three(&server, &[&shop]).await;
    create(&burdocks[0], &json!({"id": "one"})).await;
    for round in 0..5 {
        let mut visits = JoinSet::new();
        for client in 0..9 {
            let mut visitor = burdocks[client % 3].visitor("one");
            visits.spawn(async move {
                for n in 0..6 {
                    let path = match (n + client) % 3 {
                        0 => "it".to_owned(),
                        _ => format!("it={round}x{client}x{n}"),
                    };
                    let url = format!("http://shop.example/{path}");
                    assert_eq!(visitor.get(&url).await.status, 200);
                }
            });
        }
        while let Some(visit) = visits.join_next().await {
            visit.expect("every visit ends well");
        }
        let stored = server.cli(&["hlen", "burdock:{one}:cookies"]);
        agreed(&burdocks, "one", stored.parse().expect("a number")).await;
    }
}

#[tokio::test]
async fn three_processes_keep_to_one_rate() {
    const TEN_SECONDS: Duration = Duration::from_secs(10);
    let server = RedisServer::start(&["--appendfsync", "everysec"]);
    let shop = setter("shop.example").await;
    let burdocks = three(&server, &[&shop]).await;
    let limit =
        json!({"requestsPerSecond": 10, "burst": 5, "onLimit": "wait", "maxWaitMs": 30_000});
    create(&burdocks[0], &json!({"id": "one", "rateLimit": limit})).await;
    let since = Instant::now();
    let mut visits = JoinSet::new();
    for client in 0..9 {
        let mut visitor = burdocks[client % 3].visitor("one");
        visits.spawn(async move {
            loop {
                let answer = visitor.get("http://shop.example/").await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
    }
    tokio::time::sleep_until((since + TEN_SECONDS).into()).await;
    let arrived = shop.requests().len();
    visits.abort_all();
    assert!(
        (95..=110).contains(&arrived),
        "{arrived} requests reached the origin in 10 s"
    );
}

#[tokio::test]
async fn what_is_deleted_or_expires_is_gone_everywhere_within_a_second() {
    let server = RedisServer::start(&[]);
    let shop = setter("shop.example").await;
    let burdocks = three(&server, &[&shop]).await;
    create(&burdocks[0], &json!({"id": "deleted"})).await;
    create(&burdocks[0], &json!({"id": "expiring", "ttl": 2})).await;
    for burdock in &burdocks {
        for id in ["deleted", "expiring"] {
            let answer = burdock.visitor(id).get("http://shop.example/a=1").await;
            assert_eq!(answer.status, 200);
        }
    }
    let used = Instant::now();
    assert_eq!(
        burdocks[1]
            .api("DELETE", "/api/v1/sessions/deleted", "")
            .await
            .status,
        204
    );
    let gone = async |id: &str| {
        for burdock in &burdocks {
            let path = format!("/api/v1/sessions/{id}");
            eventually("it is gone", async || {
                (burdock.api("GET", &path, "").await.status == 404).then_some(())
            })
            .await;
        }
    };
    gone("deleted").await;
    assert!(
        used.elapsed() < Duration::from_secs(1),
        "{:?}",
        used.elapsed()
    );
    gone("expiring").await;
    assert!(
        used.elapsed() < Duration::from_millis(3200),
        "{:?}",
        used.elapsed()
    );
    // A copy that somebody used does not bring it back.
    let fresh = burdocks[2]
        .visitor("deleted")
        .get("http://shop.example/")
        .await;
    assert_eq!(fresh.status, 200);
    assert_eq!(shop.requests().pop().expect("a request").cookie(), "");
}

/// A visit and how long its answer took.
async fn visit(burdock: &Burdock, id: &str, path: &str) -> (Answer, Duration) {
    let mut visitor = burdock.visitor(id);
    let since = Instant::now();
    let answer = visitor.get(&format!("http://shop.example{path}")).await;
    (answer, since.elapsed())
}

/// The store fails in some way while sessions are used, and comes back.
async fn failing(fail: impl Fn(&mut RedisServer), recover: impl Fn(&mut RedisServer), says: &str) {
    let mut server = RedisServer::start(&[]);
    let shop = setter("shop.example").await;
    let burdock = on(&server, &[&shop]).start().await;
    create(&burdock, &json!({"id": "here", "adapter": "memory"})).await;
    create(&burdock, &json!({"id": "there"})).await;
    create(&burdock, &json!({"id": "elsewhere"})).await;
    for id in ["here", "there"] {
        assert_eq!(visit(&burdock, id, "/acknowledged=yes").await.0.status, 200);
    }
    fail(&mut server);
    for (id, path) in [
        ("there", "/late=1"),
        ("there", "/late=2"),
        ("elsewhere", "/"),
        ("unknown", "/"),
    ] {
        let (answer, took) = visit(&burdock, id, path).await;
        assert_fault(&answer, "store-unavailable", 503);
        assert!(took < SOON, "{id}: {took:?}");
        let (answer, took) = visit(&burdock, "here", "/more=1").await;
        assert_eq!(answer.status, 200);
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
    let ready = burdock.api("GET", "/readyz", "").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(ready.text().contains(says), "{ready:?}");
    let metrics = burdock.api("GET", "/metrics", "").await;
    let metrics = metrics.text();
    assert!(
        metrics.contains("burdock_store_up{adapter=\"redis\"} 0"),
        "{metrics}"
    );
    assert!(
        metrics.contains("burdock_store_up{adapter=\"memory\"} 1"),
        "{metrics}"
    );
    let problem = metrics
        .lines()
        .find(|line| line.starts_with("burdock_store_problem{"));
    assert!(
        problem.is_some_and(|problem| problem.contains(says)),
        "{metrics}"
    );
    recover(&mut server);
    eventually("it is back", async || {
        (visit(&burdock, "there", "/").await.0.status == 200).then_some(())
    })
    .await;
    let kept = cookies(&burdock, "there").await;
    assert!(kept.contains("shop.example acknowledged=yes"), "{kept:?}");
    assert_eq!(burdock.api("GET", "/readyz", "").await.status, 200);
}

#[tokio::test]
async fn a_store_that_is_killed_costs_its_sessions_alone_and_nothing_acknowledged() {
    failing(RedisServer::kill, RedisServer::restart, "cannot be reached").await;
}

#[tokio::test]
async fn a_store_that_is_silent_costs_its_sessions_alone() {
    failing(
        |server| server.pause(),
        |server| server.resume(),
        "does not answer",
    )
    .await;
}

#[tokio::test]
async fn a_store_that_is_full_takes_nothing_more_and_says_so() {
    let server = RedisServer::start(&[]);
    let shop = setter("shop.example").await;
    let burdock = on(&server, &[&shop]).start().await;
    assert_eq!(visit(&burdock, "a", "/a=1").await.0.status, 200);
    server.cli(&["config", "set", "maxmemory", "1"]);
    let (answer, took) = visit(&burdock, "a", "/b=2").await;
    assert_fault(&answer, "store-unavailable", 503);
    assert!(
        answer.text().contains("is full (maxmemory)") && took < SOON,
        "{answer:?} {took:?}"
    );
    server.cli(&["config", "set", "maxmemory", "0"]);
    assert_eq!(visit(&burdock, "a", "/c=3").await.0.status, 200);
    let kept: Vec<_> = cookies(&burdock, "a").await.into_iter().collect();
    assert_eq!(kept, ["shop.example a=1", "shop.example c=3"]);
}

#[tokio::test]
async fn a_store_that_is_not_there_at_the_start_is_used_when_it_comes() {
    let mut server = RedisServer::start(&[]);
    server.kill();
    let shop = setter("shop.example").await;
    let burdock = on(&server, &[&shop]).start().await;
    let (answer, took) = visit(&burdock, "a", "/a=1").await;
    assert_fault(&answer, "store-unavailable", 503);
    assert!(took < SOON, "{took:?}");
    server.restart();
    eventually("it is there", async || {
        (visit(&burdock, "a", "/a=1").await.0.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn secrets_are_neither_in_redis_nor_in_logs_where_there_is_a_key() {
    const CANARY: &str = "canary-0b5e7f";
    let server = RedisServer::start(&["--requirepass", "canary-0b5e7f"]);
    // Not by the path: paths are in the access log.
    let shop = Origin::plain("shop.example")
        .respond(|_| Reply::text("").field("Set-Cookie", &format!("sid={CANARY}; Path=/")))
        .start()
        .await;
    let keys = server.key_file();
    let burdock = on(&server, &[&shop])
        .config(&format!(
            "[sessions]\nencryption_key_file = '{}'\n[adapters.redis]\nurl = 'redis://:{CANARY}@127.0.0.1:{}'",
            keys.display(),
            server.port
        ))
        .env("BURDOCK_LOG", "debug")
        .start()
        .await;
    create(
        &burdock,
        &json!({"id": "a", "headers": {"X-Secret": CANARY}}),
    )
    .await;
    assert_eq!(visit(&burdock, "a", "/").await.0.status, 200);
    let state = json!({"cookies": [], "origins": [{"origin": "https://shop.example", "localStorage": [{"name": CANARY, "value": CANARY}]}]});
    let put = burdock
        .api("PUT", "/api/v1/sessions/a/state", &state.to_string())
        .await;
    assert!((200..300).contains(&put.status), "{put:?}");
    assert_eq!(visit(&burdock, "a", "/").await.0.status, 200);
    assert_eq!(
        shop.requests().pop().expect("a request").field("x-secret"),
        Some(CANARY)
    );

    let cli = |args: &[&str]| {
        let login = ["-a", CANARY, "--no-auth-warning"];
        server.cli(&[&login[..], args].concat())
    };
    assert_eq!(cli(&["save"]), "OK");
    assert_ne!(cli(&["hlen", "burdock:{a}:storage"]), "0");
    let mut looked_at = 0;
    look_into(server.folder(), &mut |file, octets| {
        looked_at += 1;
        let found = octets
            .windows(CANARY.len())
            .any(|window| window == CANARY.as_bytes());
        assert!(!found, "{}", file.display());
    });
    assert!(
        looked_at >= 3,
        "a dump, an append-only file and its manifest at least"
    );
    assert!(!burdock.log().contains(CANARY), "{}", burdock.log());
}

fn look_into(folder: &Path, look: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            look_into(&path, look);
        } else {
            look(&path, &std::fs::read(&path).expect("a readable file"));
        }
    }
}
