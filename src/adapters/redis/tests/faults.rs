//! Servers that are gone, silent, full, read-only or strange: an error in time that says what to do, and recovery by itself.

use std::time::{Duration, Instant};

use super::*;
use crate::adapters::DEADLINE;

/// A little more than a call may take.
const IN_TIME: Duration = Duration::from_millis(1700);
/// At once, on a machine that has other things to do.
const AT_ONCE: Duration = Duration::from_millis(100);

/// An answer and how long it took.
async fn timed<T>(answer: impl Future<Output = T>) -> (T, Duration) {
    let since = Instant::now();
    let answer = answer.await;
    (answer, since.elapsed())
}

#[tokio::test]
async fn a_server_that_is_not_there_at_the_start_is_found_when_it_comes() {
    let mut server = RedisServer::start(&[]);
    server.kill();
    let redis = adapter(&server.url(), 1);
    let (answer, took) = timed(redis.load(&id("a"))).await;
    let told = reason(answer);
    assert!(
        told.contains("cannot be reached") && told.contains("start it"),
        "{told}"
    );
    assert!(took < IN_TIME, "{took:?}");
    let (answer, took) = timed(redis.health()).await;
    assert!(reason(answer).contains("cannot be reached"));
    assert!(took < AT_ONCE, "{took:?}");
    server.restart();
    well(&redis).await;
    create(&redis, &record("a")).await;
}

#[tokio::test]
async fn killed_and_restarted_nothing_acknowledged_is_missing() {
    let (mut server, redis) = one().await;
    let record = record("a");
    create(&redis, &record).await;
    let mut acknowledged = Vec::new();
    for n in 0..3 {
        let writer = async {
            for m in 0.. {
                let pair = format!("c{n}x{m}=v");
                let delta = cookies(&[&pair]);
                if redis
                    .apply(&record.id, record.generation, delta)
                    .await
                    .is_err()
                {
                    break;
                }
                acknowledged.push(pair);
                if acknowledged.len() % 40 == 20 {
                    server.kill();
                }
            }
        };
        writer.await;
        let (answer, took) = timed(redis.load(&record.id)).await;
        assert!(took < IN_TIME && answer.is_err(), "{took:?}: {answer:?}");
        eventually("it is known to be gone", async || {
            let (answer, took) = timed(redis.load(&record.id)).await;
            assert!(answer.is_err());
            (took < AT_ONCE).then_some(())
        })
        .await;
        server.restart();
        well(&redis).await;
    }
    let stored = pairs(&load(&redis, "a").await.expect("it is there"));
    let missing: Vec<_> = acknowledged
        .iter()
        .filter(|pair| !stored.contains(pair))
        .collect();
    assert!(
        missing.is_empty() && acknowledged.len() >= 60,
        "{missing:?}"
    );
}

#[tokio::test]
async fn a_silent_server_is_an_error_in_time_and_does_nothing_later() {
    let (server, redis) = one().await;
    let record = record("a");
    create(&redis, &record).await;
    apply(&redis, &record, cookies(&["a=acknowledged"])).await;
    server.pause();
    let given_up = redis.apply(&record.id, record.generation, cookies(&["a=given up"]));
    let loading = redis.load(&record.id);
    let ((given_up, one), (loaded, other)) = tokio::join!(timed(given_up), timed(loading));
    for (told, took) in [(reason(given_up), one), (reason(loaded), other)] {
        assert!(told.contains("does not answer"), "{told}");
        assert!(took < IN_TIME, "{took:?}");
    }
    eventually("it is known to be silent", async || {
        let (answer, took) = timed(redis.load(&record.id)).await;
        assert!(answer.is_err() && took < IN_TIME);
        (took < AT_ONCE).then_some(())
    })
    .await;
    server.resume();
    let (_, took) = timed(well(&redis)).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    // The write that was given up lay in the server's socket all the while.
    eventually("the server has looked at it", async || {
        let stats = server.cli(&["info", "errorstats"]);
        stats.contains("LATE").then_some(())
    })
    .await;
    let loaded = load(&redis, "a").await.expect("it is there");
    assert_eq!(
        (pairs(&loaded), loaded.revision),
        (vec!["a=acknowledged".into()], 1)
    );
}

#[tokio::test]
async fn a_connection_that_was_cut_is_made_anew_without_an_error_for_who_reads() {
    let (server, redis) = one().await;
    create(&redis, &record("a")).await;
    for _ in 0..5 {
        server.cli(&["client", "kill", "type", "normal", "skipme", "yes"]);
        let (loaded, took) = timed(load(&redis, "a")).await;
        assert!(loaded.is_some() && took < DEADLINE, "{took:?}");
    }
}

#[tokio::test]
async fn a_full_server_takes_nothing_and_gives_what_it_has() {
    let (server, redis) = one().await;
    let stored = record("a");
    create(&redis, &stored).await;
    apply(&redis, &stored, cookies(&["a=1"])).await;
    server.cli(&["config", "set", "maxmemory", "1"]);
    let answers = [
        reason(
            redis
                .apply(&stored.id, stored.generation, cookies(&["b=2"]))
                .await,
        ),
        reason(redis.create(record("b"), 10).await),
        reason(redis.health().await),
    ];
    for told in answers {
        assert!(told.contains("is full (maxmemory)"), "{told}");
    }
    let loaded = load(&redis, "a").await.expect("it is there");
    assert_eq!((pairs(&loaded), loaded.revision), (vec!["a=1".into()], 1));
    assert_eq!(redis.count().await.expect("an answer"), 1);
    // Another process that starts now can read too, and deleting makes room.
    let other = adapter(&server.url(), 2);
    assert!(load(&other, "a").await.is_some());
    assert!(other.delete(&id("a")).await.expect("an answer"));
    server.cli(&["config", "set", "maxmemory", "0"]);
    create(&redis, &record("b")).await;
    well(&redis).await;
}

#[tokio::test]
async fn a_master_that_became_a_replica_says_so_until_it_is_a_master_again() {
    let (server, redis) = one().await;
    let master = RedisServer::start(&[]);
    let stored = record("a");
    create(&redis, &stored).await;
    server.cli(&["replicaof", "127.0.0.1", &master.port.to_string()]);
    let told = reason(
        redis
            .apply(&stored.id, stored.generation, cookies(&["a=1"]))
            .await,
    );
    assert!(
        told.contains("read-only replica") && told.contains("name the master"),
        "{told}"
    );
    let (answer, took) = timed(redis.health()).await;
    assert!(
        reason(answer).contains("read-only replica") && took < IN_TIME,
        "{took:?}"
    );
    server.cli(&["replicaof", "no", "one"]);
    well(&redis).await;
    create(&redis, &record("b")).await;
}

#[tokio::test]
async fn a_login_that_is_wrong_says_so_and_shows_no_password() {
    let server = RedisServer::start(&["--requirepass", "canary"]);
    let address = format!("127.0.0.1:{}", server.port);
    for (login, wanted) in [
        ("", "wants a password"),
        (":wrong-canary@", "refuses the user or the password"),
        ("nobody:canary@", "refuses the user or the password"),
    ] {
        let redis = adapter(&format!("redis://{login}{address}"), 1);
        let told = reason(redis.load(&id("a")).await);
        assert!(
            told.contains(wanted) && told.contains("adapters.redis.url"),
            "{told}"
        );
        assert!(!told.contains("canary") && !format!("{redis:?}").contains("canary"));
    }
    let redis = adapter(&format!("redis://:canary@{address}/5"), 1);
    well(&redis).await;
    create(&redis, &record("a")).await;
    assert_eq!(
        server.cli(&["-a", "canary", "-n", "5", "exists", "burdock:{a}:meta"]),
        "1"
    );
}

#[tokio::test]
async fn what_is_no_redis_says_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let serve = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            // It may be gone already.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let redis = adapter(&url, 1);
    let (answer, took) = timed(redis.load(&id("a"))).await;
    let told = reason(answer);
    assert!(
        told.contains("Redis at 127.0.0.1") && took < IN_TIME,
        "{told}: {took:?}"
    );
    serve.abort();
}
