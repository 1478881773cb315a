//! However many processes create sessions at once, there are never more than there is room for.

use futures_util::future::join_all;
use mongodb::bson::{DateTime, doc};

use super::*;

async fn processes(uri: &str, count: u64) -> Vec<Arc<Mongodb>> {
    let all: Vec<_> = (1..=count).map(|number| process(uri, number)).collect();
    for one in &all {
        one.health().await.expect("the server runs");
    }
    all
}

async fn create(adapter: &Mongodb, name: &str, room: u64) -> Created {
    adapter
        .create(record(name, 1), room)
        .await
        .expect("the server runs")
}

#[tokio::test]
async fn many_at_once_take_every_place_and_no_more() {
    let mongo = Mongo::start().await;
    let processes = processes(&mongo.uri(), 3).await;
    for round in 0..4 {
        let made = (0..30).map(async |n| {
            let adapter = &processes[n % 3];
            create(adapter, &format!("{round}-{n}"), 10).await
        });
        let made = join_all(made).await;
        let done = made.iter().filter(|made| **made == Created::Done).count();
        assert_eq!(done, 10, "round {round}: {made:?}");
        for (n, made) in made.iter().enumerate() {
            if let Created::Full { until } = made {
                let until = until.expect("the first expiry is known");
                assert!(until > clock::now(), "round {round}, {n}");
            }
        }
        assert_eq!(processes[0].count().await.expect("the server runs"), 10);
        assert_eq!(processes[1].clear().await.expect("the server runs"), 10);
        assert_eq!(processes[2].count().await.expect("the server runs"), 0);
    }
}

#[tokio::test]
async fn a_place_is_free_as_soon_as_its_session_is_gone() {
    let mongo = Mongo::start().await;
    let processes = processes(&mongo.uri(), 2).await;
    let (one, other) = (&*processes[0], &*processes[1]);
    for name in ["a", "b"] {
        assert_eq!(create(one, name, 2).await, Created::Done);
    }
    for _ in 0..3 {
        assert!(matches!(create(other, "c", 2).await, Created::Full { .. }));
        assert!(one.delete(&id("a")).await.expect("the server runs"));
        assert_eq!(create(other, "c", 2).await, Created::Done);
        // The same name is not two sessions, and takes no second place.
        assert_eq!(create(one, "c", 3).await, Created::Exists);
        assert!(other.delete(&id("c")).await.expect("the server runs"));
        assert_eq!(create(one, "a", 2).await, Created::Done);
    }
}

#[tokio::test]
async fn an_expired_session_holds_neither_place_nor_name() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let brief = lasting("a", 1, Duration::from_millis(300));
    created(&adapter, &brief).await;
    assert_eq!(create(&adapter, "b", 2).await, Created::Done);
    let Created::Full { until } = create(&adapter, "c", 2).await else {
        panic!("two are all there is room for");
    };
    assert_eq!(until, Some(brief.expires));
    while clock::now() <= brief.expires + Duration::from_millis(2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(adapter.count().await.expect("the server runs"), 1);
    let again = record("a", 2);
    let made = adapter.create(again.clone(), 2).await;
    assert_eq!(made.expect("the server runs"), Created::Done);
    let found = adapter.load(&again.id).await.expect("the server runs");
    assert_eq!(found, Some(again));
}

#[tokio::test]
async fn a_ledger_that_is_wrong_or_lost_is_put_right() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    assert_eq!(create(&adapter, "a", 2).await, Created::Done);
    let ledger = documents(&mongo, "ledger").await;
    // What a process leaves that was killed between taking a place and creating its session.
    let long_ago = DateTime::from_millis(clock::now().as_micros() / 1000 - 3_600_000);
    let died = doc! { "$set": { "pending.dead": long_ago }, "$inc": { "held": 1_i64 } };
    ledger
        .update_one(doc! {}, died)
        .await
        .expect("the server runs");
    assert_eq!(create(&adapter, "b", 2).await, Created::Done);
    ledger.drop().await.expect("the server runs");
    assert!(matches!(
        create(&adapter, "c", 2).await,
        Created::Full { .. }
    ));
    assert_eq!(create(&adapter, "c", 3).await, Created::Done);
}
