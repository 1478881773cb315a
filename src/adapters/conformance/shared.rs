//! What a store of several processes does besides: one rate for all, and word of changes.

use std::collections::HashMap;
use std::num::NonZeroU32;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::*;
use crate::adapters::{Change, Freshness, Reservation, Reserve, Shared};
use crate::session::limiter::Rate;

fn rate(per_second: f64, burst: u32) -> Rate {
    let burst = NonZeroU32::new(burst).expect("a burst");
    Rate::new(per_second, burst).expect("in range")
}

async fn take(shared: &dyn Shared, record: &Record, reserve: &Reserve) -> Option<Reservation> {
    let taken = shared.reserve(&record.id, record.generation, reserve).await;
    taken.expect("an answer")
}

/// Each reservation finds the bucket as the one before left it by [`Rate::reserve`].
pub(super) async fn cells_are_those_of_the_rate(store: &Store<'_>) {
    if !store.is_shared() {
        return;
    }
    let session = record("limited");
    store.create(&session).await;
    let mut random = StdRng::seed_from_u64(6);
    let mut full_at: HashMap<&str, Timestamp> = HashMap::new();
    let rates = [rate(10.0, 5), rate(0.5, 1), rate(1000.0, 100), rate(3.0, 2)];
    for step in 0..80 {
        let bucket = ["", "a.example", "b.$.example"][random.random_range(0..3)];
        let reserve = Reserve {
            bucket: bucket.into(),
            rate: rates[random.random_range(0..rates.len())],
            wanted: random.random_range(0..4),
            spare: random.random_range(0..6),
            patience: Duration::from_millis(random.random_range(0..3000)),
        };
        let shared = store.nth(step).shared().expect("a shared store");
        let taken = take(shared, &session, &reserve)
            .await
            .expect("the session is there");
        assert!(
            clock::now().since(taken.at) < Duration::from_secs(5),
            "{taken:?}"
        );
        let known = full_at.get(bucket).copied().unwrap_or_default();
        let both_full = known <= taken.at && taken.before <= taken.at;
        assert!(taken.before == known || both_full, "{known:?} {taken:?}");
        let Reserve {
            rate,
            wanted,
            spare,
            patience,
            ..
        } = reserve;
        let cells = rate.reserve(taken.before, taken.at, wanted, spare, patience);
        full_at.insert(bucket, cells.full_at);
    }
    // How the buckets stand is loaded with the session.
    let slow = Reserve {
        bucket: "slow.example".into(),
        rate: rate(0.01, 1),
        wanted: 2,
        spare: 0,
        patience: HALF_AN_HOUR,
    };
    let fresh = record("slow");
    store.create(&fresh).await;
    let shared = store.first().shared().expect("a shared store");
    let taken = take(shared, &fresh, &slow)
        .await
        .expect("the session is there");
    let cells = slow
        .rate
        .reserve(taken.before, taken.at, 2, 0, slow.patience);
    let wanted = LimiterState::from_parts([(slow.bucket.clone(), cells.full_at)], []);
    assert_eq!(store.load(&fresh.id).await.expect("there").limiter, wanted);
}

pub(super) async fn cells_taken_at_once_are_taken_once(store: &Store<'_>) {
    if !store.is_shared() {
        return;
    }
    let session = record("hammered");
    store.create(&session).await;
    let reserve = Reserve {
        bucket: "".into(),
        rate: rate(10.0, 2),
        wanted: 1,
        spare: 1,
        patience: HALF_AN_HOUR,
    };
    let takers = (0..60).map(|n| {
        let shared = store.nth(n).shared().expect("a shared store");
        take(shared, &session, &reserve)
    });
    let mut taken: Vec<_> = join_all(takers).await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 60);
    taken.sort_unstable_by_key(|taken| (taken.before, taken.at));
    let after = |taken: &Reservation| {
        reserve
            .rate
            .reserve(taken.before, taken.at, 1, 1, reserve.patience)
            .full_at
    };
    for pair in taken.windows(2) {
        let full = after(&pair[0]);
        assert!(
            pair[1].before == full || full <= pair[1].at && pair[1].before <= pair[1].at,
            "{pair:?}"
        );
    }
}

pub(super) async fn cells_belong_to_a_generation(store: &Store<'_>) {
    let Some(shared) = store.first().shared() else {
        return;
    };
    let (first, second) = (record("reborn"), record("reborn"));
    let reserve = Reserve {
        bucket: "".into(),
        rate: rate(0.01, 1),
        wanted: 1,
        spare: 0,
        patience: HALF_AN_HOUR,
    };
    assert_eq!(take(shared, &first, &reserve).await, None);
    store.create(&first).await;
    assert!(take(shared, &first, &reserve).await.is_some());
    store.first().delete(&first.id).await.expect("deleted");
    assert_eq!(take(shared, &first, &reserve).await, None);
    store.create(&second).await;
    assert_eq!(take(shared, &first, &reserve).await, None);
    let taken = take(shared, &second, &reserve)
        .await
        .expect("the session is there");
    assert!(taken.before <= taken.at, "{taken:?}");
}

/// What one handle does, another is told.
pub(super) async fn changes_are_told_to_others(store: &Store<'_>) {
    let [doer, hearer, ..] = store.handles else {
        return;
    };
    let shared = hearer.shared().expect("several handles have a shared side");
    let (changes, mut told) = mpsc::unbounded_channel();
    shared.subscribe(changes);
    let linked = timeout(PATIENCE, async {
        while shared.freshness() == Freshness::Unlinked {
            sleep(Duration::from_millis(10)).await;
        }
    });
    linked.await.expect("the store is heard");
    if matches!(shared.freshness(), Freshness::Polled(_)) {
        return;
    }
    let mut hear = async |what: &str, wanted: &dyn Fn(&Change) -> bool| {
        let heard = timeout(PATIENCE, async {
            while let Some(change) = told.recv().await {
                if wanted(&change) {
                    return;
                }
            }
            panic!("the channel closed");
        });
        assert!(heard.await.is_ok(), "nobody told that {what}");
    };
    let session = record("told");
    store.create(&session).await;
    let delta = cookies(received(&session.jar, &SHOP, &["a=1"]));
    let applied = doer
        .apply(&session.id, session.generation, delta)
        .await
        .expect("applied");
    assert_eq!(applied, Applied::Done { revision: 1 });
    let changed = Change::Changed {
        id: session.id.clone(),
        generation: session.generation,
        revision: 1,
    };
    hear("it changed", &|change| *change == changed).await;
    assert!(doer.delete(&session.id).await.expect("deleted"));
    let is_gone = |change: &Change| matches!(change, Change::Gone { id, .. } if *id == session.id);
    hear("it was deleted", &is_gone).await;
    store.create(&session).await;
    assert_eq!(doer.clear().await.expect("cleared"), 1);
    hear("all were deleted", &|change| {
        is_gone(change) || *change == Change::Cleared
    })
    .await;
}

const PATIENCE: Duration = Duration::from_secs(5);
