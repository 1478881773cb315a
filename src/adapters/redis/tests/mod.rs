//! Against real servers: what the adapter promises, and what becomes of it where they fail.

mod deployments;
mod faults;
mod news;
mod reserve;
mod scripts;
#[path = "../../../../tests/support/redis.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use self::server::RedisServer;
use super::{Redis, RedisSettings};
use crate::adapters::conformance::conformance;
use crate::adapters::{Adapter, Applied, Codec, Created, Freshness, Shared, StoreError};
use crate::clock;
use crate::session::delta::{Delta, Touch};
use crate::session::id::SessionId;
use crate::session::jar::{CookieUrl, Jar};
use crate::session::record::{Counters, Generation, Record};
use crate::session::settings::Settings;

/// An adapter of the process of this number.
fn adapter(url: &str, process: u64) -> Arc<Redis> {
    let settings = RedisSettings {
        url: url.to_owned(),
        key_prefix: "burdock:".into(),
        ca_files: Vec::new(),
    };
    Arc::new(Redis::new(settings, Codec::default(), process).expect("a URL of a test is valid"))
}

fn id(text: &str) -> SessionId {
    text.parse().expect("an id of a test is valid")
}

/// A record that lasts for `ttl` from now.
fn record_for(text: &str, ttl: Duration) -> Record {
    let settings = Settings {
        ttl,
        ..Settings::default()
    };
    Record::new(
        id(text),
        Generation::new(rand::random()),
        settings,
        clock::now(),
    )
}

fn record(text: &str) -> Record {
    record_for(text, Duration::from_secs(60))
}

/// What a response with these `Set-Cookie` lines changes.
fn cookies(lines: &[&str]) -> Delta {
    let url = CookieUrl {
        secure: true,
        host: "shop.example",
        path: "/",
    };
    let lines = lines.iter().map(|line| line.as_bytes());
    Delta {
        cookies: Jar::default().receive(&url, lines, clock::now()),
        ..Delta::default()
    }
}

fn counted(requests: u64) -> Delta {
    Delta {
        counters: Counters {
            requests,
            ..Counters::default()
        },
        ..Delta::default()
    }
}

/// A use at this moment that has the session last for `ttl` more.
fn touch(ttl: Duration) -> Delta {
    let now = clock::now();
    Delta {
        touched: Some(Touch {
            last_used: now,
            expires: now + ttl,
        }),
        ..Delta::default()
    }
}

/// Stores a record.
async fn create(redis: &Redis, record: &Record) {
    let created = redis.create(record.clone(), 1000).await;
    assert_eq!(created.expect("the store takes it"), Created::Done);
}

/// Applies a delta; the revision thereafter.
async fn apply(redis: &Redis, record: &Record, delta: Delta) -> u64 {
    match redis.apply(&record.id, record.generation, delta).await {
        Ok(Applied::Done { revision }) => revision,
        other => panic!("the delta is not applied: {other:?}"),
    }
}

async fn load(redis: &Redis, text: &str) -> Option<Record> {
    redis.load(&id(text)).await.expect("the store answers")
}

/// The names and values of a record's cookies, in order of names.
fn pairs(record: &Record) -> Vec<String> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let mut pairs: Vec<_> = record
        .jar
        .iter()
        .map(|cookie| {
            let (name, value) = (cookie.name().as_bytes(), cookie.value().as_bytes());
            format!("{}={}", text(name), text(value))
        })
        .collect();
    pairs.sort_unstable();
    pairs
}

/// Looks again and again until `look` finds something, within a deadline.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), found).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not in time"),
    }
}

/// Waits until the store does its work.
async fn well(redis: &Redis) {
    eventually("the store is well", async || redis.health().await.ok()).await;
}

/// Waits until other processes are heard; how often they were not.
async fn linked(redis: &Redis) -> u64 {
    eventually("changes are heard", async || match redis.freshness() {
        Freshness::Linked(interruptions) => Some(interruptions),
        _ => None,
    })
    .await
}

/// What is wrong.
fn reason<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    answer
        .expect_err("the store cannot do it")
        .reason
        .to_string()
}

#[tokio::test]
async fn it_does_what_every_adapter_must() {
    let server = RedisServer::start(&["--appendfsync", "no"]);
    conformance(&[adapter(&server.url(), 1), adapter(&server.url(), 2)]).await;
    assert_eq!(server.cli(&["keys", "*"]), "");
}

#[tokio::test]
async fn it_does_so_on_a_cluster() {
    let cluster = server::Cluster::start();
    conformance(&[adapter(&cluster.url(), 1), adapter(&cluster.url(), 2)]).await;
}

#[tokio::test]
async fn it_does_so_with_keys_and_keeps_secrets_from_the_server() {
    let server = RedisServer::start(&["--appendfsync", "no"]);
    let file = server.key_file();
    let keys = Arc::new(crate::seal::Keyring::read(&file).expect("a key"));
    let sealing = |process| {
        let settings = RedisSettings {
            url: server.url(),
            key_prefix: "sealed:".into(),
            ca_files: Vec::new(),
        };
        let codec = Codec::new(Some(Arc::clone(&keys)));
        let redis = Redis::new(settings, codec, process).expect("a URL of a test is valid");
        let redis: Arc<dyn Adapter> = Arc::new(redis);
        redis
    };
    conformance(&[sealing(1), sealing(2)]).await;
}

/// One server, and an adapter that is connected to it.
async fn one() -> (RedisServer, Arc<Redis>) {
    let server = RedisServer::start(&[]);
    let redis = adapter(&server.url(), 1);
    well(&redis).await;
    (server, redis)
}
