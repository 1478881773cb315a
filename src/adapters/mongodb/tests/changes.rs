//! What one process changes, the others are told; or they know that they are not.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::adapters::{Change, Freshness, Shared};

/// A process that listens, once it is told of changes.
async fn listening(uri: &str, number: u64) -> (Arc<Mongodb>, mpsc::UnboundedReceiver<Change>) {
    let adapter = process(uri, number);
    let (sender, changes) = mpsc::unbounded_channel();
    adapter.subscribe(sender);
    fresh(&adapter, |freshness| {
        matches!(freshness, Freshness::Linked(_))
    })
    .await;
    (adapter, changes)
}

/// Waits until the freshness is as wanted.
pub(super) async fn fresh(adapter: &Mongodb, wanted: impl Fn(Freshness) -> bool) -> Freshness {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let freshness = adapter.freshness();
        if wanted(freshness) {
            return freshness;
        }
        assert!(Instant::now() < until, "it stays {freshness:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn told(changes: &mut mpsc::UnboundedReceiver<Change>) -> Change {
    timeout(Duration::from_secs(1), changes.recv())
        .await
        .expect("within a second")
        .expect("the teller lives")
}

#[tokio::test]
async fn each_learns_what_the_other_did_and_nothing_of_its_own() {
    let mongo = Mongo::start().await;
    let (one, mut told_one) = listening(&mongo.uri(), 1).await;
    let (two, mut told_two) = listening(&mongo.uri(), 2).await;
    let session = record("a", 7);
    created(&one, &session).await;
    for revision in 1..=3 {
        // What is not durable is told to nobody.
        applied(&one, &session, touch(Duration::from_hours(2))).await;
        let changed = applied(&one, &session, cookie("sid=1")).await;
        assert_eq!(changed, Applied::Done { revision });
        let change = Change::Changed {
            id: id("a"),
            generation: session.generation,
            revision,
        };
        assert_eq!(told(&mut told_two).await, change);
    }
    applied(&two, &session, cookie("sid=2")).await;
    let change = Change::Changed {
        id: id("a"),
        generation: session.generation,
        revision: 4,
    };
    assert_eq!(told(&mut told_one).await, change);
    let gone = |name| Change::Gone {
        id: id(name),
        generation: None,
    };
    assert!(two.delete(&id("a")).await.expect("the server runs"));
    assert_eq!(told(&mut told_one).await, gone("a"));
    assert_eq!(told(&mut told_two).await, gone("a"));
    for name in ["b", "c"] {
        created(&one, &record(name, 1)).await;
    }
    assert_eq!(one.clear().await.expect("the server runs"), 2);
    for name in ["b", "c"] {
        assert_eq!(told(&mut told_two).await, gone(name));
    }
}

#[tokio::test]
async fn a_name_taken_again_is_told() {
    let mongo = Mongo::start().await;
    let (one, _) = listening(&mongo.uri(), 1).await;
    let (_two, mut told_two) = listening(&mongo.uri(), 2).await;
    let brief = lasting("a", 1, Duration::from_millis(50));
    created(&one, &brief).await;
    while clock::now() <= brief.expires + Duration::from_millis(2) {
        sleep(Duration::from_millis(5)).await;
    }
    created(&one, &record("a", 2)).await;
    let change = Change::Changed {
        id: id("a"),
        generation: Generation::new(2),
        revision: 0,
    };
    assert_eq!(told(&mut told_two).await, change);
}

#[tokio::test]
async fn what_is_changed_by_hand_is_told_as_well() {
    let mongo = Mongo::start().await;
    let (one, mut changes) = listening(&mongo.uri(), 1).await;
    created(&one, &record("a", 1)).await;
    let sessions = documents(&mongo, "sessions").await;
    let by_hand = mongodb::bson::doc! { "$inc": { "revision": 1_i64 } };
    let found = mongodb::bson::doc! { "_id": "a" };
    sessions
        .update_one(found, by_hand)
        .await
        .expect("the server runs");
    let gone = Change::Gone {
        id: id("a"),
        generation: None,
    };
    assert_eq!(told(&mut changes).await, gone);
    sessions.drop().await.expect("the server runs");
    assert_eq!(told(&mut changes).await, Change::Cleared);
}

#[tokio::test]
async fn a_server_without_change_streams_says_how_old_a_copy_may_be() {
    let mongo = Mongo::with(&["--standalone"]).await;
    let adapter = process(&mongo.uri(), 1);
    assert_eq!(adapter.freshness(), Freshness::Unlinked);
    let (sender, _changes) = mpsc::unbounded_channel();
    adapter.subscribe(sender);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let changed = applied(&adapter, &session, cookie("sid=1")).await;
    assert_eq!(changed, Applied::Done { revision: 1 });
    assert_eq!(
        adapter.freshness(),
        Freshness::Polled(Duration::from_secs(1))
    );
}
