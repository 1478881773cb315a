//! A server that is away, stopped, killed, locked, or encrypted.

use std::time::Instant;

use mongodb::bson::doc;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::changes::fresh;
use super::*;
use crate::adapters::{Freshness, Shared};
use crate::session::storage::{Area, ItemKey, StorageDelta};

/// What a call says, and how long it took to.
async fn fails(adapter: &Mongodb) -> (String, Duration) {
    let began = Instant::now();
    let error = adapter.load(&id("a")).await.expect_err("it is not there");
    (error.to_string(), began.elapsed())
}

/// Waits until calls succeed.
async fn recovers(adapter: &Mongodb) -> Duration {
    let began = Instant::now();
    while let Err(error) = adapter.health().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
        sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// Waits until it is known that the server is gone.
async fn known_gone(adapter: &Mongodb) {
    fresh(adapter, |freshness| freshness == Freshness::Unlinked).await;
}

#[tokio::test]
async fn one_that_is_away_at_the_start_is_found_when_it_comes() {
    let mut mongo = Mongo::down(&[]);
    let adapter = process(&mongo.uri(), 1);
    let (error, took) = fails(&adapter).await;
    assert!(took < Duration::from_millis(1700), "{took:?}");
    let (address, host) = (mongo.address().to_string(), "cannot be reached");
    assert!(error.contains(&address) && error.contains(host), "{error}");
    let (_, took) = fails(&adapter).await;
    assert!(took < Duration::from_millis(100), "at once: {took:?}");
    mongo.restart(None).await;
    recovers(&adapter).await;
    created(&adapter, &record("a", 1)).await;
}

#[tokio::test]
async fn of_what_was_acknowledged_nothing_is_missing_after_a_kill() {
    let mut mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let (sender, _changes) = mpsc::unbounded_channel();
    adapter.subscribe(sender);
    let Freshness::Linked(before) = fresh(&adapter, |freshness| {
        matches!(freshness, Freshness::Linked(_))
    })
    .await
    else {
        unreachable!("waited for");
    };
    let session = record("a", 1);
    created(&adapter, &session).await;
    // Killed while changes are under way: what was acknowledged before is there, the rest may be.
    let writing = {
        let (adapter, session) = (Arc::clone(&adapter), session.clone());
        tokio::spawn(async move {
            let mut acknowledged = 0;
            loop {
                let delta = cookie(&format!("c{acknowledged}=1"));
                match adapter.apply(&session.id, session.generation, delta).await {
                    Ok(applied) => assert_ne!(applied, Applied::Gone),
                    Err(error) => return (acknowledged, error),
                }
                acknowledged += 1;
            }
        })
    };
    while adapter
        .load(&session.id)
        .await
        .is_ok_and(|found| found.is_some_and(|found| found.jar.len() < 40))
    {}
    mongo.kill();
    let (acknowledged, _) = writing.await.expect("it does not panic");
    known_gone(&adapter).await;
    let (error, took) = fails(&adapter).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert!(
        error.contains("cannot be reached") || error.contains("connection"),
        "{error}"
    );
    mongo.restart(None).await;
    recovers(&adapter).await;
    let found = adapter.load(&session.id).await.expect("it recovered");
    let found = found.expect("the session was acknowledged");
    assert!(acknowledged >= 40);
    // One more than was acknowledged may have been written.
    let jar: Vec<_> = found
        .jar
        .iter()
        .map(|cookie| cookie.key().name.as_bytes().to_vec())
        .collect();
    for n in 0..acknowledged {
        assert!(
            jar.contains(&format!("c{n}").into_bytes()),
            "c{n} of {acknowledged} is missing"
        );
    }
    let linked = |freshness| matches!(freshness, Freshness::Linked(after) if after > before);
    fresh(&adapter, linked).await;
}

#[tokio::test]
async fn one_that_is_stopped_answers_in_time_by_an_error_and_goes_on() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let (sender, _changes) = mpsc::unbounded_channel();
    adapter.subscribe(sender);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let linked = |freshness| matches!(freshness, Freshness::Linked(_));
    let before = fresh(&adapter, linked).await;
    mongo.pause();
    let (error, took) = fails(&adapter).await;
    assert!(took < Duration::from_millis(1700), "{took:?}");
    assert!(error.contains("does not answer"), "{error}");
    known_gone(&adapter).await;
    let (_, took) = fails(&adapter).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    mongo.resume();
    let took = recovers(&adapter).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let found = adapter.load(&session.id).await.expect("it recovered");
    assert_eq!(found, Some(session));
    // Whatever others did meanwhile was not told: copies of before are stale.
    fresh(&adapter, |freshness| {
        linked(freshness) && freshness != before
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_repeated() {
    let mut mongo = Mongo::start().await;
    let admin = documents(&mongo, "sessions").await;
    let create = doc! {
        "createUser": "burdock",
        "pwd": "right",
        "roles": [{ "role": "readWrite", "db": "burdock" }],
        "writeConcern": { "w": "majority", "j": true },
    };
    let admin = admin.client().database("admin");
    admin.run_command(create).await.expect("the server runs");
    mongo.restart(Some(&["--auth"])).await;
    let with = |password: &str| {
        let user = format!("mongodb://burdock:{password}@");
        // The stand-in does not say which mechanisms it has; MongoDB does.
        let uri = mongo.uri().replace("mongodb://", &user);
        process(&format!("{uri}?authMechanism=SCRAM-SHA-256"), 1)
    };
    let wrong = with("wr0ng-secret");
    let error = wrong.health().await.expect_err("a wrong password");
    assert!(
        error
            .to_string()
            .contains("refuses the user or the password"),
        "{error}"
    );
    for shown in [format!("{error:?}"), format!("{wrong:?}")] {
        assert!(!shown.contains("wr0ng-secret"), "{shown}");
    }
    let nobody = process(&mongo.uri(), 1);
    let error = nobody.health().await.expect_err("no user");
    assert!(
        error.to_string().contains("role `readWrite` on `burdock`"),
        "{error}"
    );
    // That the right one is let in cannot be shown here: the stand-in refuses the driver's SCRAM, though not pymongo's.
}

#[tokio::test]
async fn tls_is_spoken_and_its_failures_are_named() {
    let authority = tls::TRUSTED.pem();
    let (leaf, key) = tls::TRUSTED.leaf(&["127.0.0.1", "localhost"]);
    let mut mongo = Mongo::down(&[
        "--tls-cert-file",
        "{}/leaf.pem",
        "--tls-key-file",
        "{}/key.pem",
    ]);
    let ca = mongo.folder().join("ca.pem");
    let stranger = mongo.folder().join("stranger.pem");
    for (file, text) in [
        (&ca, &authority),
        (&stranger, &tls::UNTRUSTED.pem()),
        (&mongo.folder().join("leaf.pem"), &leaf),
        (&mongo.folder().join("key.pem"), &key),
    ] {
        std::fs::write(file, text).expect("the folder is ours");
    }
    mongo.restart(None).await;
    let with = |options: &str| process(&format!("{}?{options}", mongo.uri()), 1);
    let trusting = |ca: &std::path::Path| with(&format!("tls=true&tlsCAFile={}", ca.display()));
    let adapter = trusting(&ca);
    adapter
        .health()
        .await
        .expect("a certificate that is trusted");
    created(&adapter, &record("a", 1)).await;
    for (adapter, words) in [
        (trusting(&stranger), "UnknownIssuer"),
        (trusting(&mongo.folder().join("none.pem")), "none.pem"),
        (with("tls=false"), "tls=true"),
    ] {
        let error = adapter.health().await.expect_err("it cannot work");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_session_that_outgrows_a_document_stays_as_it_was() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let large = "x".repeat(9 << 20);
    let mut results = Vec::new();
    for name in ["one", "two"] {
        let mut storage = StorageDelta::default();
        let key = ItemKey {
            origin: "https://shop.example".parse().expect("an origin"),
            area: Area::LocalStorage,
            name: name.into(),
        };
        storage.set(key, &large);
        let delta = Delta {
            storage,
            ..Delta::default()
        };
        results.push(adapter.apply(&session.id, session.generation, delta).await);
    }
    // How a server says so differs; `fault` has the words for MongoDB's.
    assert!(results[0].is_ok() && results[1].is_err(), "{results:?}");
    let found = adapter.load(&session.id).await.expect("the server runs");
    assert_eq!(found.expect("the session").storage.len(), 1);
}

#[test]
fn settings_that_cannot_work_are_refused_without_their_secrets() {
    for (uri, database, words) in [
        ("", "burdock", "no connection string"),
        ("redis://db.example/", "burdock", "no connection string"),
        (
            "mongodb://user:p@ss/w0rd@db.example/",
            "burdock",
            "percent-encoded",
        ),
        (
            "mongodb://db.example/?socketTimeoutMS=1",
            "burdock",
            "socketTimeoutMS",
        ),
        ("mongodb://db.example/", "", "1 to 63 bytes"),
        ("mongodb://db.example/", "a.b", "1 to 63 bytes"),
    ] {
        let settings = MongodbSettings {
            uri: uri.to_owned(),
            database: database.to_owned(),
        };
        let shown = format!("{settings:?}");
        let error = Mongodb::new(settings, Codec::new(None), 1).expect_err("it is refused");
        assert!(error.to_string().contains(words), "{uri}: {error}");
        assert!(!error.to_string().contains("w0rd") && !shown.contains("w0rd"));
    }
    let srv = MongodbSettings {
        uri: "mongodb+srv://user:secret@cluster.example/?retryWrites=true".to_owned(),
        database: "burdock".to_owned(),
    };
    Mongodb::new(srv, Codec::new(None), 1).expect("a name to look up is valid");
}
