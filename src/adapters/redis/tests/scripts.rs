//! What the scripts leave behind, seen from the side.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::adapters::Query;
use crate::session::limiter::{LimiterState, MAX_PAUSES};
use crate::session::storage::{Area, ItemKey, StorageDelta};

#[tokio::test]
async fn every_key_of_a_session_expires_together_a_minute_after_its_end() {
    let (server, redis) = one().await;
    let mut record = record("a");
    let item = |name: &str| ItemKey {
        origin: "https://shop.example".parse().expect("an origin"),
        area: Area::LocalStorage,
        name: name.into(),
    };
    create(&redis, &record).await;
    let mut delta = cookies(&["one=1", "two=2"]).then(cookies(&["one=3"]));
    delta.storage.set(item("k"), "v");
    delta.storage.set(item("l"), "w");
    delta.limiter = Some(LimiterState::from_parts(
        [],
        [("shop.example".into(), clock::now() + Duration::from_secs(9))],
    ));
    let marked = Jar::default();
    let delta = delta.then(stale(marked));
    apply(&redis, &record, delta.clone()).await;
    let parts = ["meta", "cookies", "storage", "echoes", "limiter"];
    let keys = server.cli(&["keys", "burdock:{a}:*"]);
    assert_eq!(keys.lines().count(), parts.len(), "{keys}");
    let ends = |server: &RedisServer| {
        let mut ends =
            parts.map(|part| server.cli(&["pexpiretime", &format!("burdock:{{a}}:{part}")]));
        ends.sort_unstable();
        assert_eq!(ends[0], ends[4], "{ends:?}");
        ends[0].parse::<i64>().expect("a time in milliseconds")
    };
    let grace = ends(&server) * 1000 - record.expires.as_micros();
    assert!((60_000_000..60_001_000).contains(&grace), "{grace}");

    apply(&redis, &record, touch(Duration::from_secs(500))).await;
    assert!(ends(&server) * 1000 - record.expires.as_micros() > 400_000_000);

    // It all reads back, and goes with the session.
    record.apply(&delta);
    let loaded = load(&redis, "a").await.expect("it is there");
    assert_eq!(loaded.jar, record.jar);
    assert_eq!(loaded.storage, record.storage);
    assert_eq!(loaded.revision, 1);
    assert_eq!(loaded.limiter.pauses().count(), 1);
    let mut delta = Delta::default();
    delta.storage.remove(item("k"));
    delta.storage.remove(item("l"));
    apply(&redis, &record, delta).await;
    assert_eq!(server.cli(&["exists", "burdock:{a}:storage"]), "0");
    assert!(redis.delete(&id("a")).await.expect("an answer"));
    assert_eq!(server.cli(&["keys", "burdock:*"]), "");
}

/// A delta with a mark in it: a value that was replaced.
fn stale(mut jar: Jar) -> Delta {
    let url = CookieUrl {
        secure: true,
        host: "shop.example",
        path: "/",
    };
    let mut receive = |line: &[u8]| Delta {
        cookies: jar.receive(&url, [line], clock::now()),
        ..Delta::default()
    };
    receive(b"three=3").then(receive(b"three=4"))
}

#[tokio::test]
async fn counters_saturate_and_are_exact_beyond_what_a_double_holds() {
    let (_server, redis) = one().await;
    let record = record("a");
    create(&redis, &record).await;
    let mut wanted = 0u64;
    for more in [
        7,
        999_999_999_999_999,
        9_007_199_254_740_993,
        u64::MAX / 2,
        1,
        u64::MAX,
    ] {
        apply(&redis, &record, counted(more)).await;
        wanted = wanted.saturating_add(more);
        let loaded = load(&redis, "a").await.expect("it is there");
        assert_eq!(loaded.counters.requests, wanted);
    }
    assert_eq!(wanted, u64::MAX);
}

#[tokio::test]
async fn the_room_is_never_exceeded_however_many_create_at_once() {
    let (server, redis) = one().await;
    let other = adapter(&server.url(), 2);
    let creations = (0..40).map(|n| {
        let redis = if n % 2 == 0 {
            Arc::clone(&redis)
        } else {
            Arc::clone(&other)
        };
        tokio::spawn(async move { redis.create(record(&format!("s{n}")), 10).await })
    });
    let (mut done, mut full) = (0, 0);
    for creation in creations.collect::<Vec<_>>() {
        match creation
            .await
            .expect("no panic")
            .expect("the store answers")
        {
            Created::Done => done += 1,
            Created::Full { until } => {
                assert!(until.is_some_and(|until| until > clock::now()));
                full += 1;
            }
            Created::Exists => panic!("each has a name of its own"),
        }
    }
    assert_eq!((done, full), (10, 30));
    assert_eq!(redis.count().await.expect("an answer"), 10);
    assert_eq!(redis.clear().await.expect("an answer"), 10);
    assert_eq!(server.cli(&["keys", "*"]), "");
}

#[tokio::test]
async fn an_index_that_drifted_is_set_right() {
    let (server, redis) = one().await;
    let kept = record("kept");
    create(&redis, &kept).await;
    create(&redis, &record("ghost")).await;
    // Keys of a session that went without its entry, as by hand.
    server.cli(&["del", "burdock:{ghost}:meta"]);
    // An entry that has the session end too early, as after a write of which only half arrived.
    server.cli(&["zadd", "burdock:{sessions}:expiry", "1000", "kept"]);
    assert_eq!(redis.count().await.expect("an answer"), 1);
    assert_eq!(redis.sweep().await.expect("an answer"), 0);
    assert_eq!(redis.count().await.expect("an answer"), 2);
    let everything = Query {
        after: None,
        limit: 100,
        labels: Vec::new(),
    };
    let listed = redis.list(&everything).await.expect("an answer");
    assert_eq!(listed.len(), 1);
    // The ghost was seen, and goes when it has been missing for longer than a creation takes.
    let later = Instant::now() + Duration::from_secs(11);
    redis.sweep_expired(later).await.expect("an answer");
    assert_eq!(redis.count().await.expect("an answer"), 1);

    // Lost altogether, the index comes back with the use of its sessions.
    server.cli(&["del", "burdock:{sessions}:expiry", "burdock:{sessions}:ids"]);
    apply(&redis, &kept, touch(Duration::from_secs(60))).await;
    assert_eq!(redis.list(&everything).await.expect("an answer").len(), 1);
    assert_eq!(redis.count().await.expect("an answer"), 1);
}

#[tokio::test]
async fn a_shorter_expiry_moves_the_index_back() {
    let (server, redis) = one().await;
    let record = record_for("a", Duration::from_secs(500));
    create(&redis, &record).await;
    let delta = touch(Duration::from_secs(5));
    let expires = delta.touched.expect("a touch").expires;
    apply(&redis, &record, delta).await;
    let score = server.cli(&["zscore", "burdock:{sessions}:expiry", "a"]);
    assert_eq!(
        score.parse::<f64>().expect("a score"),
        expires.as_micros() as f64
    );
}

#[tokio::test]
async fn pauses_merge_by_the_later_end_and_are_bounded() {
    let (_server, redis) = one().await;
    let record = record("a");
    create(&redis, &record).await;
    let now = clock::now();
    let paused = |hosts: &[(&str, u64)]| Delta {
        limiter: Some(LimiterState::from_parts(
            [("".into(), now + Duration::from_secs(99))],
            hosts
                .iter()
                .map(|(host, seconds)| ((*host).into(), now + Duration::from_secs(*seconds))),
        )),
        ..Delta::default()
    };
    apply(
        &redis,
        &record,
        paused(&[("a", 50), ("b", 20), ("over", 0)]),
    )
    .await;
    apply(&redis, &record, paused(&[("a", 30), ("b", 40)])).await;
    let seconds = async || {
        let loaded = load(&redis, "a").await.expect("it is there");
        assert_eq!(loaded.limiter.buckets().count(), 0, "buckets are reserve's");
        let pauses = loaded.limiter.pauses();
        pauses
            .map(|(host, until)| (host.to_owned(), until.since(now).as_secs()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        seconds().await,
        [("a".to_owned(), 50), ("b".to_owned(), 40)]
    );
    let many: Vec<String> = (0..MAX_PAUSES).map(|n| format!("host-{n}")).collect();
    let many: Vec<_> = many.iter().map(|host| (host.as_str(), 45)).collect();
    apply(&redis, &record, paused(&many)).await;
    let kept = seconds().await;
    assert_eq!(kept.len(), MAX_PAUSES);
    assert!(kept.iter().any(|(host, _)| host == "a") && kept.iter().all(|(host, _)| host != "b"));
}

#[tokio::test]
async fn a_record_of_a_later_version_is_neither_read_nor_written() {
    let (server, redis) = one().await;
    let record = record("a");
    create(&redis, &record).await;
    server.cli(&["hset", "burdock:{a}:meta", "format", "2"]);
    let read = reason(redis.load(&record.id).await);
    let written = reason(redis.apply(&record.id, record.generation, counted(1)).await);
    for reason in [read, written] {
        assert!(
            reason.contains("later version of burdock (format 2"),
            "{reason}"
        );
    }
    assert_eq!(server.cli(&["hget", "burdock:{a}:meta", "requests"]), "0");
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_gets_them_again() {
    let (server, redis) = one().await;
    let record = record("a");
    create(&redis, &record).await;
    server.cli(&["script", "flush"]);
    assert_eq!(apply(&redis, &record, cookies(&["a=1"])).await, 1);
    assert_eq!(apply(&redis, &record, cookies(&["b=2"])).await, 2);
    assert_eq!(
        pairs(&load(&redis, "a").await.expect("it is there")),
        ["a=1", "b=2"]
    );
}

#[test]
fn fields_of_storage_survive_json_that_is_hard() {
    // Empty names and values, a slash, quotes, NUL, other planes: all pass through cjson.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (_server, redis) = one().await;
        let mut record = record("a");
        create(&redis, &record).await;
        for (n, text) in ["", "/", "\"\\", "\0", "\u{1f9e6}", "[]", "{}", "1e999"]
            .iter()
            .enumerate()
        {
            let mut storage = StorageDelta::default();
            for area in [Area::LocalStorage, Area::SessionStorage] {
                let origin = format!("https://h{}.example", n % 3);
                let key = ItemKey {
                    origin: origin.parse().expect("an origin"),
                    area,
                    name: (*text).into(),
                };
                storage.set(key, text);
            }
            let delta = Delta {
                storage,
                ..Delta::default()
            };
            apply(&redis, &record, delta.clone()).await;
            record.apply(&delta);
        }
        assert_eq!(
            load(&redis, "a").await.expect("it is there").storage,
            record.storage
        );
    });
}
