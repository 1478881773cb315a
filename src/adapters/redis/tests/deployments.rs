//! Users with rules, TLS, sentinels, clusters.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::mpsc;

use super::server::{Cluster, Watched};
use super::*;
use crate::adapters::{Change, Query};

/// The rules of docs/ADAPTERS.md.
const RULES: &[&str] = &[
    "on",
    ">canary",
    "resetkeys",
    "~burdock:*",
    "resetchannels",
    "&burdock:changes",
    "nocommands",
    "+@read",
    "+@write",
    "+@connection",
    "+eval",
    "+evalsha",
    "+publish",
    "+subscribe",
    "+unsubscribe",
    "+time",
    "+info",
    "+select",
    "-@dangerous",
    "+cluster|slots",
];

#[tokio::test]
async fn a_user_with_the_documented_rules_can_do_everything() {
    let server = RedisServer::start(&[]);
    let mut rule = vec!["acl", "setuser", "burdock"];
    rule.extend(RULES);
    assert_eq!(server.cli(&rule), "OK");
    let url = format!("redis://burdock:canary@127.0.0.1:{}", server.port);
    let redis = adapter(&url, 1);
    well(&redis).await;
    everything(&redis).await;
    // Whatever is taken from it is missed at the next connection.
    for rule in [
        "-publish",
        "-zadd",
        "-evalsha",
        "-time",
        "resetchannels",
        "~other:* resetkeys",
    ] {
        let rule: Vec<_> = ["acl", "setuser", "burdock"]
            .into_iter()
            .chain(rule.split(' '))
            .collect();
        server.cli(&rule);
        let told = reason(adapter(&url, 2).load(&id("a")).await);
        assert!(told.contains("forbids its user"), "{told}");
        let mut again = vec!["acl", "setuser", "burdock"];
        again.extend(RULES);
        server.cli(&again);
    }
}

/// One of each call.
async fn everything(redis: &Redis) {
    let record = record("everything");
    create(redis, &record).await;
    apply(
        redis,
        &record,
        cookies(&["a=1"]).then(touch(Duration::from_secs(60))),
    )
    .await;
    assert_eq!(
        pairs(&load(redis, "everything").await.expect("it is there")),
        ["a=1"]
    );
    let all = Query {
        after: None,
        limit: 10,
        labels: Vec::new(),
    };
    assert_eq!(redis.list(&all).await.expect("an answer").len(), 1);
    assert_eq!(redis.count().await.expect("an answer"), 1);
    assert_eq!(redis.sweep().await.expect("an answer"), 0);
    assert!(redis.delete(&record.id).await.expect("an answer"));
    assert_eq!(redis.clear().await.expect("an answer"), 0);
}

/// The files of a certificate for 127.0.0.1.
struct Certificates {
    authority: PathBuf,
    leaf: PathBuf,
    key: PathBuf,
}

fn certificates(folder: &Path) -> Certificates {
    let key = || KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
    let (params, leaf_key) = (CertificateParams::new(["127.0.0.1".to_owned()]), key());
    let leaf = params
        .and_then(|params| params.signed_by(&leaf_key, &authority))
        .expect("a leaf");
    let write = |name: &str, pem: String| {
        let path = folder.join(name);
        std::fs::write(&path, pem).expect("our folder");
        path
    };
    Certificates {
        authority: write("authority.pem", authority.as_ref().pem()),
        leaf: write("leaf.pem", leaf.pem()),
        key: write("key.pem", leaf_key.serialize_pem()),
    }
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_asked_for_and_verified() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = certificates(folder.path());
    let [authority, leaf, key] =
        [&files.authority, &files.leaf, &files.key].map(|file| file.display().to_string());
    let args = [
        "--tls-port",
        "PORT",
        "--tls-cert-file",
        &leaf,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ];
    let server = RedisServer::start(&args);
    let connect = |scheme: &str, ca_files: &[&PathBuf]| {
        let settings = RedisSettings {
            url: format!("{scheme}://127.0.0.1:{}", server.port),
            key_prefix: String::new(),
            ca_files: ca_files.iter().map(|file| file.to_path_buf()).collect(),
        };
        Redis::new(settings, Codec::default(), 1).expect("a valid URL")
    };
    let redis = connect("rediss", &[&files.authority]);
    well(&redis).await;
    everything(&redis).await;
    let told = reason(connect("rediss", &[]).load(&id("a")).await);
    assert!(
        told.contains("no TLS with Redis") && told.contains("known authority"),
        "{told}"
    );
    let told = reason(
        connect("rediss", &[&folder.path().join("nowhere.pem")])
            .load(&id("a"))
            .await,
    );
    assert!(told.contains("nowhere.pem"), "{told}");
    let told = reason(connect("redis", &[]).load(&id("a")).await);
    assert!(told.contains("Redis at 127.0.0.1"), "{told}");
    // And TLS towards a server that has none.
    let plain = RedisServer::start(&[]);
    let redis = adapter(&plain.url().replace("redis:", "rediss:"), 1);
    let told = reason(redis.load(&id("a")).await);
    assert!(told.contains("no TLS with Redis"), "{told}");
}

#[tokio::test]
async fn sentinels_lead_to_the_master_and_to_the_next() {
    let mut watched = Watched::start();
    let redis = adapter(&watched.url(), 1);
    let (send, _changes) = mpsc::unbounded_channel();
    redis.subscribe(send);
    let before = linked(&redis).await;
    let record = record("a");
    create(&redis, &record).await;
    apply(&redis, &record, cookies(&["a=1"])).await;
    // What an asynchronous replica has received is what a fail-over keeps.
    server::until("the replica has it", || {
        watched
            .replica
            .cli(&["hget", "burdock:{a}:meta", "revision"])
            == "1"
    });
    watched.master.kill();
    let failed = redis
        .apply(&record.id, record.generation, cookies(&["b=2"]))
        .await;
    assert!(failed.is_err(), "the master is dead");
    well(&redis).await;
    assert_eq!(
        watched.replica.cli(&["role"]).lines().next(),
        Some("master")
    );
    assert_eq!(
        pairs(&load(&redis, "a").await.expect("it is there")),
        ["a=1"]
    );
    assert_eq!(apply(&redis, &record, cookies(&["c=3"])).await, 2);
    eventually("the new master is listened to", async || {
        match redis.freshness() {
            Freshness::Linked(now) if now > before => Some(()),
            _ => None,
        }
    })
    .await;
    // The old master comes back, for a while as if it were one still, and nobody writes to it.
    watched.master.restart();
    assert_eq!(apply(&redis, &record, cookies(&["d=4"])).await, 3);
    assert_eq!(
        watched
            .replica
            .cli(&["hget", "burdock:{a}:meta", "revision"]),
        "3"
    );
    let other = adapter(&watched.url().replace("/shop", "/other"), 2);
    let told = reason(other.load(&id("a")).await);
    assert!(told.contains("knows no master `other`"), "{told}");
    // Sentinels that go do not take the master with them.
    watched.sentinels.clear();
    well(&redis).await;
}

#[tokio::test]
async fn a_cluster_is_one_store() {
    let mut cluster = Cluster::start();
    let one = adapter(&cluster.url(), 1);
    let two = adapter(&cluster.url(), 2);
    let (send, mut changes) = mpsc::unbounded_channel();
    two.subscribe(send);
    linked(&two).await;
    everything(&one).await;
    let records: Vec<_> = (0..30).map(|n| record(&format!("s{n:02}"))).collect();
    for record in &records {
        create(&one, record).await;
        assert_eq!(
            apply(
                &one,
                record,
                cookies(&["a=1"]).then(touch(Duration::from_secs(60)))
            )
            .await,
            1
        );
    }
    // They are on all nodes, and a change on any of them is heard.
    for node in &cluster.nodes {
        let keys = node.cli(&["keys", "burdock:{s*:meta"]);
        assert!(keys.lines().count() > 2, "{keys}");
    }
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < records.len() {
        let change = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await;
        if let Some(Change::Changed {
            id, revision: 1, ..
        }) = change.expect("a change in time")
        {
            heard.insert(id);
        }
    }
    let all = Query {
        after: None,
        limit: 100,
        labels: Vec::new(),
    };
    let listed = two.list(&all).await.expect("an answer");
    assert!(
        listed
            .iter()
            .map(|record| &record.id)
            .eq(records.iter().map(|record| &record.id))
    );
    let full = two.create(record("one-more"), 30).await.expect("an answer");
    assert!(matches!(full, Created::Full { until: Some(_) }), "{full:?}");

    // A slot that moves takes its sessions with it.
    moved(&cluster, &records[7].id).await;
    assert_eq!(apply(&two, &records[7], cookies(&["b=2"])).await, 2);
    assert_eq!(apply(&one, &records[7], cookies(&["c=3"])).await, 3);

    // A node that goes takes its sessions with it, in time, until it comes back.
    cluster.nodes[1].kill();
    for record in &records {
        let since = std::time::Instant::now();
        let loaded = one.load(&record.id).await;
        assert!(since.elapsed() < Duration::from_millis(1700));
        if let Err(error) = loaded {
            assert!(
                error.reason.contains("Redis at") || error.reason.contains("cluster"),
                "{error}"
            );
        }
    }
    eventually("what is wrong is said", async || one.health().await.err()).await;
    cluster.nodes[1].restart();
    cluster.is_well();
    well(&one).await;
    well(&two).await;
    for record in &records {
        assert!(one.load(&record.id).await.expect("an answer").is_some());
    }
    assert_eq!(two.clear().await.expect("an answer"), 30);
    for node in &cluster.nodes {
        assert_eq!(node.cli(&["keys", "burdock:{s*"]), "");
    }
}

/// Moves the slot of a session to another node of the cluster, as `redis-cli --cluster reshard` does.
async fn moved(cluster: &Cluster, id: &SessionId) {
    let nodes = &cluster.nodes;
    let slot = nodes[0].cli(&["cluster", "keyslot", &format!("{{{id}}}")]);
    let key = format!("burdock:{{{id}}}:meta");
    let from = nodes.iter().find(|node| node.cli(&["exists", &key]) == "1");
    let from = from.expect("a node has it");
    let to = nodes
        .iter()
        .find(|node| node.port != from.port)
        .expect("another node");
    let name = |node: &RedisServer| node.cli(&["cluster", "myid"]);
    to.cli(&["cluster", "setslot", &slot, "importing", &name(from)]);
    from.cli(&["cluster", "setslot", &slot, "migrating", &name(to)]);
    let keys = from.cli(&["cluster", "getkeysinslot", &slot, "100"]);
    let port = to.port.to_string();
    for key in keys.lines() {
        from.cli(&["migrate", "127.0.0.1", &port, key, "0", "1000"]);
    }
    // In between neither owner does what concerns several keys of it, and who asks has to wait.
    let asking = adapter(&cluster.url(), 9);
    well(&asking).await;
    let asked = id.clone();
    let asked = tokio::spawn(async move { asking.load(&asked).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    for node in nodes {
        node.cli(&["cluster", "setslot", &slot, "node", &name(to)]);
    }
    let found = asked
        .await
        .expect("no panic")
        .expect("the store answers in time");
    assert!(found.is_some());
}

#[tokio::test]
async fn a_cluster_and_a_single_server_are_told_apart() {
    let cluster = Cluster::start();
    let told = reason(
        adapter(&cluster.nodes[1].url(), 1)
            .create(record("s1"), 10)
            .await,
    );
    assert!(
        told.contains("is a node of a cluster") && told.contains("redis+cluster://"),
        "{told}"
    );
    let single = RedisServer::start(&[]);
    let url = single.url().replace("redis:", "redis+cluster:");
    let told = reason(adapter(&url, 1).load(&id("a")).await);
    assert!(told.contains("is no node of a cluster"), "{told}");
}
