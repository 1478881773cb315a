//! The server takes cells exactly as `Rate::reserve` does.

use std::num::NonZeroU32;

use mongodb::bson::doc;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::adapters::{Reservation, Reserve, Shared};
use crate::session::limiter::Rate;
use crate::session::time::Timestamp;

fn rate(per_second: f64, burst: u32) -> Rate {
    Rate::new(per_second, NonZeroU32::new(burst).expect("a burst")).expect("in range")
}

fn reserves() -> impl Strategy<Value = Reserve> {
    let slow_or_fast = prop_oneof![Just(1e-6), Just(1e6), 0.001..50.0, 1.0..1e5];
    let burst = prop_oneof![1..9_u32, Just(u32::MAX), 1..5000_u32];
    let patience = prop_oneof![Just(0), 0..3_000_000_u64, Just(u64::MAX)];
    (slow_or_fast, burst, 0..9_u32, 0..40_u32, patience).prop_map(
        |(per_second, burst, wanted, spare, patience)| Reserve {
            bucket: "".into(),
            rate: rate(per_second, burst),
            wanted,
            spare,
            patience: Duration::from_micros(patience),
        },
    )
}

/// When the bucket was full, against the present: long ago, just now, soon, absurdly late.
fn offsets() -> impl Strategy<Value = Option<i64>> {
    proptest::option::of(prop_oneof![
        -10_000_000..10_000_000_i64,
        -500..500_i64,
        Just(-2_000_000_000_000_000),
        Just(90_000_000_000),
        Just(100_000_000_000_000_000),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_arithmetic_is_ours() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let sessions = documents(&mongo, "sessions").await;
    let runtime = tokio::runtime::Handle::current();
    let bucket = format!("limiter.buckets.{}", super::super::document::field_of(""));
    let run = move || {
        let mut runner = TestRunner::new(Config {
            cases: 200,
            failure_persistence: None,
            ..Config::default()
        });
        runner.run(&(reserves(), offsets()), |(reserve, offset)| {
            let (taken, full_at) = runtime.block_on(async {
                if let Some(offset) = offset {
                    let full_at = clock::now().as_micros() + offset;
                    let set = doc! { "$set": { format!("{bucket}.fullAt"): full_at } };
                    sessions
                        .update_one(doc! {}, set)
                        .await
                        .expect("the server runs");
                }
                let taken = adapter
                    .reserve(&session.id, session.generation, &reserve)
                    .await
                    .expect("the server runs")
                    .expect("the session is there");
                let stored = adapter.load(&session.id).await.expect("the server runs");
                (taken, stored.expect("the session is there").limiter)
            });
            let Reservation { before, at } = taken;
            let Reserve { wanted, spare, .. } = reserve;
            let ours = reserve
                .rate
                .reserve(before, at, wanted, spare, reserve.patience);
            let ours =
                crate::session::limiter::LimiterState::from_parts([("".into(), ours.full_at)], []);
            prop_assert_eq!(full_at, ours);
            let apart = at.as_micros().abs_diff(clock::now().as_micros());
            prop_assert!(apart < 5_000_000, "the server's time is {}", at);
            Ok(())
        })
    };
    let ran = tokio::task::spawn_blocking(run)
        .await
        .expect("it does not panic");
    ran.expect("the server's arithmetic is ours");
}

#[tokio::test]
async fn hosts_have_buckets_of_their_own_and_strangers_have_none() {
    let mongo = Mongo::start().await;
    let adapter = process(&mongo.uri(), 1);
    let session = record("a", 1);
    created(&adapter, &session).await;
    let take = async |bucket: &str, generation| {
        let reserve = Reserve {
            bucket: bucket.into(),
            rate: rate(1.0, 1),
            wanted: 1,
            spare: 0,
            patience: Duration::ZERO,
        };
        let taken = adapter.reserve(&session.id, Generation::new(generation), &reserve);
        taken.await.expect("the server runs")
    };
    let none = Timestamp::default();
    for bucket in ["", "$a.example", "b.example"] {
        let taken = take(bucket, 1).await.expect("the session is there");
        assert_eq!(taken.before, none, "{bucket}");
        let again = take(bucket, 1).await.expect("the session is there");
        assert_eq!(again.before, taken.at + Duration::from_secs(1), "{bucket}");
    }
    assert_eq!(take("", 2).await, None);
}
