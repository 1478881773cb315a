//! What processes hear of each other.

use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::adapters::Change;

/// The next change, within a second: the time in which others have to know.
async fn next(changes: &mut mpsc::UnboundedReceiver<Change>) -> Change {
    let next = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await;
    next.expect("a change within a second")
        .expect("the adapter is there")
}

#[tokio::test]
async fn what_one_does_the_other_hears_and_nobody_hears_itself() {
    let (_server, one) = one().await;
    let two = adapter(&_server.url(), 2);
    let (send_one, mut heard_by_one) = mpsc::unbounded_channel();
    let (send_two, mut heard_by_two) = mpsc::unbounded_channel();
    one.subscribe(send_one);
    two.subscribe(send_two);
    linked(&one).await;
    linked(&two).await;

    let record = record_for("a", Duration::from_millis(400));
    let changed = |revision| Change::Changed {
        id: record.id.clone(),
        generation: record.generation,
        revision,
    };
    let gone = Change::Gone {
        id: record.id.clone(),
        generation: Some(record.generation),
    };
    create(&one, &record).await;
    assert_eq!(next(&mut heard_by_two).await, changed(0));
    apply(&one, &record, cookies(&["a=1"])).await;
    assert_eq!(next(&mut heard_by_two).await, changed(1));
    // Nobody has to hear of counters, nor of a use.
    apply(&one, &record, counted(5)).await;
    apply(&one, &record, touch(Duration::from_millis(400))).await;
    apply(&two, &record, cookies(&["b=1"])).await;
    assert_eq!(next(&mut heard_by_one).await, changed(2));
    eventually("it expires and is swept", async || {
        (two.sweep().await.expect("an answer") == 1).then_some(())
    })
    .await;
    assert_eq!(next(&mut heard_by_one).await, gone);
    create(&one, &record_for("b", Duration::from_secs(9))).await;
    assert!(matches!(
        next(&mut heard_by_two).await,
        Change::Changed { .. }
    ));
    assert!(one.delete(&id("b")).await.expect("an answer"));
    assert!(matches!(next(&mut heard_by_two).await, Change::Gone { .. }));
    assert!(heard_by_one.try_recv().is_err() && heard_by_two.try_recv().is_err());
}

#[tokio::test]
async fn every_break_of_the_subscription_is_an_interruption() {
    let (mut server, redis) = one().await;
    let (send, _changes) = mpsc::unbounded_channel();
    assert_eq!(redis.freshness(), Freshness::Unlinked);
    redis.subscribe(send);
    let first = linked(&redis).await;
    server.cli(&["client", "kill", "type", "pubsub"]);
    let moved = async |since: u64| {
        eventually("the interruption is counted", async || {
            match redis.freshness() {
                Freshness::Linked(now) if now > since => Some(now),
                _ => None,
            }
        })
        .await
    };
    let second = moved(first).await;
    // What it does not understand it has missed.
    server.cli(&["publish", "burdock:changes", "2 something else"]);
    let third = moved(second).await;
    server.kill();
    eventually("nothing is heard", async || {
        (redis.freshness() == Freshness::Unlinked).then_some(())
    })
    .await;
    server.restart();
    let fourth = moved(third).await;
    // Silence is one too, within the time of a probe.
    server.pause();
    let since = std::time::Instant::now();
    eventually("nothing is heard", async || {
        (redis.freshness() == Freshness::Unlinked).then_some(())
    })
    .await;
    assert!(
        since.elapsed() < Duration::from_millis(1900),
        "{:?}",
        since.elapsed()
    );
    server.resume();
    moved(fourth).await;
}

#[tokio::test]
async fn the_listener_ends_with_its_receiver() {
    let (server, redis) = one().await;
    let (send, changes) = mpsc::unbounded_channel();
    redis.subscribe(send);
    linked(&redis).await;
    let listeners = || server.cli(&["pubsub", "numsub", "burdock:changes"]);
    assert!(listeners().ends_with('1'), "{}", listeners());
    drop(changes);
    eventually("nobody listens", async || {
        listeners().ends_with('0').then_some(())
    })
    .await;
    assert_eq!(redis.freshness(), Freshness::Unlinked);
}
