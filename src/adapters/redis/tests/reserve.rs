//! The rate that processes share: the script reckons as `Rate::reserve` does.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::adapters::Reserve;
use crate::session::limiter::{MAX_HOSTS, Rate};
use crate::session::time::Timestamp;

fn reserve(
    bucket: &str,
    per_second: f64,
    burst: u32,
    wanted: u32,
    spare: u32,
    patience: Duration,
) -> Reserve {
    let burst = NonZeroU32::new(burst).expect("a burst of a test is not zero");
    Reserve {
        bucket: bucket.into(),
        rate: Rate::new(per_second, burst).expect("a rate of a test is in range"),
        wanted,
        spare,
        patience,
    }
}

#[test]
fn the_script_reckons_as_rust_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (server, redis) = runtime.block_on(one());
    let record = record_for("a", Duration::from_secs(3600));
    runtime.block_on(create(&redis, &record));
    let steps = proptest::collection::vec((0..5u32, 0..5u32, 0..20_000u64, -2.0..2.0_f64), 1..8);
    // Rates from one in eleven days to a million a second, and bursts up to the greatest.
    let bursts = prop_oneof![1..20u32, Just(u32::MAX)];
    let cases = (-6.0..6.0_f64, bursts, steps);
    let number = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config::with_cases(150));
    let ran = runner.run(&cases, |(exponent, burst, steps)| {
        number.set(number.get() + 1);
        let bucket = format!("host-{}", number.get());
        let field = format!("bucket:{bucket}");
        let mut known = Timestamp::default();
        for (wanted, spare, patience, jump) in steps {
            let patience = Duration::from_millis(patience);
            let ask = reserve(
                &bucket,
                10_f64.powf(exponent),
                burst,
                wanted,
                spare,
                patience,
            );
            if jump > 1.5 {
                // Another clock was far ahead.
                let ahead = clock::now() + Duration::from_hours(1000);
                let ahead = ahead.as_micros().to_string();
                server.cli(&["hset", "burdock:{a}:limiter", &field, &ahead]);
                known = Timestamp::from_micros(ahead.parse().expect("a number"));
            }
            let reserved = runtime
                .block_on(redis.reserve(&record.id, record.generation, &ask))
                .expect("the store answers")
                .expect("the session is there");
            prop_assert_eq!(reserved.before, known);
            let cells = ask
                .rate
                .reserve(reserved.before, reserved.at, wanted, spare, patience);
            if !cells.waits.is_empty() || cells.spare > 0 {
                let stored = server.cli(&["hget", "burdock:{a}:limiter", &field]);
                prop_assert_eq!(stored, cells.full_at.as_micros().to_string());
                known = cells.full_at;
            }
        }
        Ok(())
    });
    ran.expect("the script and Rust agree");
}

#[tokio::test]
async fn a_session_that_is_gone_gives_no_cells() {
    let (_server, redis) = one().await;
    let ask = reserve("", 1.0, 1, 1, 0, Duration::ZERO);
    let record = record("a");
    let taken = redis.reserve(&record.id, record.generation, &ask).await;
    assert_eq!(taken.expect("an answer"), None);
    create(&redis, &record).await;
    let taken = redis.reserve(&record.id, Generation::new(1), &ask).await;
    assert_eq!(taken.expect("an answer"), None);
    let taken = redis.reserve(&record.id, record.generation, &ask).await;
    assert!(taken.expect("an answer").is_some());
}

#[tokio::test]
async fn hosts_beyond_the_bound_share_a_bucket_and_a_new_one_inherits_it() {
    let (server, redis) = one().await;
    let record = record("a");
    create(&redis, &record).await;
    let later = (clock::now() + Duration::from_secs(50))
        .as_micros()
        .to_string();
    for first in (0..MAX_HOSTS).step_by(512) {
        let fields: Vec<_> = (first..first + 512)
            .map(|n| format!("bucket:host-{n}"))
            .collect();
        let mut args = vec!["hset", "burdock:{a}:limiter"];
        for field in &fields {
            args.extend([field.as_str(), later.as_str()]);
        }
        server.cli(&args);
    }
    let take = async |bucket: &str| {
        let ask = reserve(bucket, 1.0, 1, 1, 0, Duration::from_secs(100));
        let reserved = redis.reserve(&record.id, record.generation, &ask).await;
        reserved.expect("an answer").expect("the session is there")
    };
    assert_eq!(take("new").await.before, Timestamp::default());
    let one_more = take("newer").await;
    assert!(one_more.before > one_more.at, "they share");
    assert_eq!(
        server.cli(&["hexists", "burdock:{a}:limiter", "bucket:newer"]),
        "0"
    );

    // A bucket that is full again makes room, and the host is held to what it took from the shared one.
    server.cli(&["hset", "burdock:{a}:limiter", "bucket:host-7", "1000"]);
    let own = take("newer").await;
    assert!(own.before > own.at);
    assert_eq!(
        server.cli(&["hexists", "burdock:{a}:limiter", "bucket:newer"]),
        "1"
    );
    assert_eq!(
        server.cli(&["hexists", "burdock:{a}:limiter", "bucket:host-7"]),
        "0"
    );
}
