//! What is stored of a session, and what is read of it.

use mongodb::bson::{Bson, doc};

use super::*;
use crate::adapters::Query;
use crate::session::limiter::LimiterState;
use crate::session::storage::{Area, ItemKey, StorageDelta};

fn item(origin: &str, name: &str) -> ItemKey {
    ItemKey {
        origin: origin.parse().expect("an origin"),
        area: Area::LocalStorage,
        name: name.into(),
    }
}

#[tokio::test]
async fn a_change_to_each_part_is_read_back() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let mut session = record("a", 1);
    session.settings.labels.insert("team".into(), "$a".into());
    created(&adapter, &session).await;
    let mut stored = StorageDelta::default();
    for name in ["$k.v", "other"] {
        stored.set(item("https://shop.example", name), "$value");
    }
    let mut removed = StorageDelta::default();
    removed.remove(item("https://shop.example", "other"));
    let mut last = StorageDelta::default();
    last.remove(item("https://shop.example", "$k.v"));
    let mut renamed = session.settings.clone();
    renamed.labels.insert("team".into(), "b".into());
    let deltas = [
        cookie("a.$b=$1; Domain=shop.example"),
        cookie("sid=1").then(cookie("sid=2")),
        Delta {
            storage: stored,
            ..Delta::default()
        },
        Delta {
            storage: removed,
            settings: Some(renamed),
            ..touch(Duration::from_hours(3))
        },
        Delta {
            counters: crate::session::record::Counters {
                requests: 3,
                bytes_in: u64::MAX,
                ..Default::default()
            },
            ..Delta::default()
        },
        cookie("sid=; Max-Age=0"),
        Delta {
            storage: last,
            ..Delta::default()
        },
        Delta::default(),
    ];
    for delta in deltas {
        session.apply(&delta);
        let revision = session.revision;
        assert_eq!(
            applied(&adapter, &session, delta).await,
            Applied::Done { revision }
        );
        let mut found = adapter.load(&session.id).await.expect("the server runs");
        // Of a count the store keeps 63 bits.
        session.counters.bytes_in = session.counters.bytes_in.min(i64::MAX.unsigned_abs());
        assert_eq!(found.take(), Some(session.clone()));
    }
    let sessions = documents(&mongo, "sessions").await;
    let found = sessions.find_one(doc! {}).await.expect("the server runs");
    let found = found.expect("the session");
    assert_eq!(found.get("storage"), Some(&Bson::Document(doc! {})));
}

#[tokio::test]
async fn pauses_are_merged_and_those_that_are_over_go() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let now = clock::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let pause = |pauses: Vec<(&str, crate::session::time::Timestamp)>| Delta {
        limiter: Some(LimiterState::from_parts(
            [("".into(), at(50))],
            pauses.into_iter().map(|(host, until)| (host.into(), until)),
        )),
        ..Delta::default()
    };
    applied(
        &adapter,
        &session,
        pause(vec![("$a.example", at(100)), ("b", at(60))]),
    )
    .await;
    let past = now - Duration::from_secs(1);
    applied(
        &adapter,
        &session,
        pause(vec![("$a.example", at(90)), ("c", past)]),
    )
    .await;
    let found = adapter.load(&session.id).await.expect("the server runs");
    let pauses = [("$a.example".into(), at(100)), ("b".into(), at(60))];
    let wanted = LimiterState::from_parts([], pauses);
    assert_eq!(found.expect("the session").limiter, wanted);
}

#[tokio::test]
async fn of_too_many_pauses_those_that_end_first_give_way() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let now = clock::now();
    let until = |n: u64| now + Duration::from_secs(1000 + n);
    for hosts in [0..1000_u64, 1000..1040] {
        let pauses = hosts.map(|n| (format!("host-{n}").into(), until(n)));
        let delta = Delta {
            limiter: Some(LimiterState::from_parts([], pauses)),
            ..Delta::default()
        };
        applied(&adapter, &session, delta).await;
    }
    let found = adapter.load(&session.id).await.expect("the server runs");
    let limiter = found.expect("the session").limiter;
    let first = limiter.pauses().map(|(_, until)| until).min();
    assert_eq!(limiter.pauses().count(), 1024);
    assert_eq!(first, Some(until(16)));
}

#[tokio::test]
async fn pages_are_found_by_label_and_in_the_order_of_ids() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    for (n, name) in ["b", "C", "a", "~", "d"].into_iter().enumerate() {
        let mut session = record(name, 1);
        let team = if n % 2 == 0 { "x" } else { "y" };
        session.settings.labels.insert("team".into(), team.into());
        session.settings.labels.insert("a=b".into(), "c".into());
        created(&adapter, &session).await;
    }
    let list = async |after: Option<&str>, limit, labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let query = Query {
            after: after.map(id),
            limit,
            labels: labels.collect(),
        };
        let page = adapter.list(&query).await.expect("the server runs");
        let ids: Vec<_> = page.iter().map(|record| record.id.to_string()).collect();
        ids.join(" ")
    };
    assert_eq!(list(None, 9, &[]).await, "C a b d ~");
    assert_eq!(list(Some("a"), 2, &[]).await, "b d");
    assert_eq!(list(None, 9, &[("team", "x")]).await, "a b d");
    assert_eq!(list(None, 9, &[("team", "y"), ("a=b", "c")]).await, "C ~");
    assert_eq!(list(None, 9, &[("a", "b=c")]).await, "");
    assert_eq!(list(None, 0, &[]).await, "");
}

#[tokio::test]
async fn an_index_sweeps_at_a_date_after_the_end() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let sessions = documents(&mongo, "sessions").await;
    let mut indexes = sessions.list_indexes().await.expect("the server runs");
    let mut sweeps = None;
    while indexes.advance().await.expect("the server runs") {
        let index = indexes.deserialize_current().expect("an index");
        if index.keys == doc! { "expiresAt": 1 } {
            sweeps = index.options.and_then(|options| options.expire_after);
        }
    }
    assert_eq!(sweeps, Some(Duration::ZERO));
    let found = sessions.find_one(doc! {}).await.expect("the server runs");
    let found = found.expect("the session");
    let at = found.get_datetime("expiresAt").expect("a date");
    let after = at.timestamp_millis() - session.expires.as_micros() / 1000;
    assert_eq!(after, 300_000);
}

#[tokio::test]
async fn what_a_later_version_wrote_is_refused_and_not_touched() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let sessions = documents(&mongo, "sessions").await;
    let later = doc! { "$set": { "format": 2 } };
    sessions
        .update_one(doc! {}, later)
        .await
        .expect("the server runs");
    let before = sessions.find_one(doc! {}).await.expect("the server runs");
    let error = adapter
        .load(&session.id)
        .await
        .expect_err("an unknown format");
    assert!(error.to_string().contains("later version"), "{error}");
    assert_eq!(
        applied(&adapter, &session, cookie("a=1")).await,
        Applied::Gone
    );
    let again = adapter.create(record("a", 2), 9).await;
    assert_eq!(again.expect("the server runs"), Created::Exists);
    let after = sessions.find_one(doc! {}).await.expect("the server runs");
    assert_eq!(before, after);
}
