//! Changes: what [`Record::apply`] makes of them, a store makes too, in some order.

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::session::jar::CookieFilter;

pub(super) async fn changes_do_what_the_record_says(store: &Store<'_>) {
    let mut random = StdRng::seed_from_u64(6);
    for (round, mut mirror) in [record("model-0"), rich("model-1"), rich("model-2")]
        .into_iter()
        .enumerate()
    {
        if store.is_shared() {
            mirror.limiter = LimiterState::default();
        }
        store.create(&mirror).await;
        for step in 0..60 {
            let mut delta = any_delta(&mirror, &mut random);
            if random.random_bool(0.2) {
                let mut next = mirror.clone();
                next.apply(&delta);
                delta = delta.then(any_delta(&next, &mut random));
            }
            if store.is_shared() {
                delta.limiter = None;
            }
            mirror.apply(&delta);
            let revision = mirror.revision;
            let applied = store
                .nth(step)
                .apply(&mirror.id, mirror.generation, delta.clone())
                .await;
            assert_eq!(
                applied.expect("applied"),
                Applied::Done { revision },
                "{delta:?}"
            );
            if step % 5 == round || step == 59 {
                let stored = store.nth(step + 1).load(&mirror.id).await;
                assert_same(stored.expect("loaded"), &mirror);
            }
        }
    }
}

/// A change that may follow on a record.
fn any_delta(record: &Record, random: &mut StdRng) -> Delta {
    let mut delta = Delta::default();
    let now = clock::now();
    match random.random_range(0..8) {
        0..=2 => {
            let url = if random.random() { SHOP } else { OTHER };
            let lines: Vec<_> = (0..random.random_range(1..4))
                .map(|_| any_line(random))
                .collect();
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            delta.cookies = received(&record.jar, &url, &lines);
        }
        3 => {
            let mut jar = record.jar.clone();
            delta.cookies = if random.random_bool(0.3) {
                jar.clear(now)
            } else {
                let name = ["a", "b.$"].choose(random).map(|name| (*name).to_owned());
                let filter = CookieFilter {
                    name,
                    ..CookieFilter::default()
                };
                jar.remove_where(&filter, now)
            };
        }
        4 | 5 => {
            if random.random_bool(0.1) {
                delta.storage.clear();
            }
            for _ in 0..random.random_range(1..4) {
                let key = any_item(random);
                if random.random_bool(0.7) {
                    delta.storage.set(
                        key,
                        ["1", "", "s1.", "p1.x"]
                            .choose(random)
                            .copied()
                            .unwrap_or_default(),
                    );
                } else {
                    delta.storage.remove(key);
                }
            }
        }
        6 => {
            let mut settings = if random.random() {
                rich_settings()
            } else {
                Settings::default()
            };
            settings
                .labels
                .insert("step".to_owned(), random.random_range(0..9).to_string());
            delta.settings = Some(settings);
        }
        _ => {
            let host = ["a.example", "b.example"]
                .choose(random)
                .copied()
                .unwrap_or_default();
            delta.limiter = Some(LimiterState::from_parts(
                [("".into(), now + Duration::from_secs(1))],
                [(host.into(), now + HALF_AN_HOUR)],
            ));
        }
    }
    if random.random() {
        let used = record.created + Duration::from_millis(random.random_range(0..1000));
        delta.touched = touch(used, used + HALF_AN_HOUR).touched;
    }
    if random.random() {
        delta.counters = Counters {
            requests: random.random_range(0..3),
            rendered: random.random_range(0..3),
            delayed: 1,
            rejected: random.random_range(0..3),
            failed: 0,
            bytes_in: random.random_range(0..1 << 40),
            bytes_out: 1,
        };
    }
    delta
}

fn any_line(random: &mut StdRng) -> String {
    let name = ["a", "b.$", "__Host-c", "", "\u{e4}"]
        .choose(random)
        .copied()
        .unwrap_or_default();
    let rest = [
        "",
        "; Secure",
        "; Secure; Path=/",
        "; Secure; Path=/; Partitioned",
        "; Max-Age=0",
        "; Max-Age=900; Path=/a",
    ];
    let rest = rest.choose(random).copied().unwrap_or_default();
    format!("{name}={}{rest}", random.random_range(0..3))
}

fn any_item(random: &mut StdRng) -> ItemKey {
    let place = ["https://shop.example", "http://a.example:8080"]
        .choose(random)
        .copied()
        .unwrap_or_default();
    let area = if random.random() {
        Area::LocalStorage
    } else {
        Area::SessionStorage
    };
    let name = ["a", "b.$", "", "\u{e4}"]
        .choose(random)
        .copied()
        .unwrap_or_default();
    item(place, area, name)
}

/// Deltas that set, replace and remove one cookie and one item at once: their revisions are an order, and the end is what that
/// order makes.
pub(super) async fn changes_at_once_have_an_order(store: &Store<'_>) {
    let mut mirror = record("interleaved");
    store.create(&mirror).await;
    let key = item("https://shop.example", Area::LocalStorage, "k");
    let deltas: Vec<_> = (0..48)
        .map(|n: u64| {
            let line = if n.is_multiple_of(3) {
                "sid=; Max-Age=0".to_owned()
            } else {
                format!("sid={n}")
            };
            let mut delta = cookies(received(&Jar::default(), &SHOP, &[&line]));
            if n.is_multiple_of(4) {
                delta.storage.remove(key.clone());
            } else {
                delta.storage.set(key.clone(), &n.to_string());
            }
            delta.counters.requests = 1;
            delta
        })
        .collect();
    let applied = join_all(deltas.iter().enumerate().map(|(n, delta)| {
        store
            .nth(n)
            .apply(&mirror.id, mirror.generation, delta.clone())
    }))
    .await;
    let mut order: Vec<_> = applied
        .into_iter()
        .zip(&deltas)
        .map(|(applied, delta)| match applied.expect("applied") {
            Applied::Done { revision } => (revision, delta),
            Applied::Gone => panic!("the session is there"),
        })
        .collect();
    order.sort_unstable_by_key(|(revision, _)| *revision);
    let revisions: Vec<_> = order.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, (1..=48).collect::<Vec<u64>>());
    for (_, delta) in order {
        mirror.apply(delta);
    }
    for n in 0..2 {
        assert_same(
            store.nth(n).load(&mirror.id).await.expect("loaded"),
            &mirror,
        );
    }
}

pub(super) async fn each_of_many_cookies_at_once_is_kept(store: &Store<'_>) {
    let mut mirror = record("many");
    store.create(&mirror).await;
    let hosts: Vec<_> = (0..200)
        .map(|n| format!("site-{}.example", n % 10))
        .collect();
    let deltas: Vec<_> = (0..200)
        .map(|n| {
            let url = CookieUrl {
                host: &hosts[n],
                ..SHOP
            };
            let jar = Jar::default();
            cookies(received(&jar, &url, &[&format!("cookie-{n}={n}")]))
        })
        .collect();
    let applied = join_all(deltas.iter().enumerate().map(|(n, delta)| {
        store
            .nth(n)
            .apply(&mirror.id, mirror.generation, delta.clone())
    }))
    .await;
    assert!(
        applied
            .iter()
            .all(|applied| matches!(applied, Ok(Applied::Done { .. }))),
        "{applied:?}"
    );
    for delta in &deltas {
        mirror.apply(delta);
    }
    assert_eq!((mirror.jar.len(), mirror.revision), (200, 200));
    assert_same(store.load(&mirror.id).await, &mirror);
}

/// A store of one process keeps the state it is told; in a shared one the later end of a pause holds, since each process
/// knows its own.
pub(super) async fn pauses_are_kept(store: &Store<'_>) {
    let mirror = record("paused");
    store.create(&mirror).await;
    let at = |seconds: u64| mirror.created + Duration::from_secs(seconds);
    let paused = |pauses: &[(&str, u64)]| {
        let pauses = pauses
            .iter()
            .map(|(host, until)| (Box::from(*host), at(*until)));
        LimiterState::from_parts([], pauses)
    };
    let told = [
        paused(&[("a.example", 100)]),
        paused(&[("a.example", 50), ("b.$.example", 200)]),
    ];
    for (n, limiter) in told.iter().enumerate() {
        let limiter = Some(limiter.clone());
        let delta = Delta {
            limiter,
            ..Delta::default()
        };
        let applied = store
            .nth(n)
            .apply(&mirror.id, mirror.generation, delta)
            .await;
        assert_eq!(applied.expect("applied"), Applied::Done { revision: 0 });
    }
    let wanted = if store.is_shared() {
        paused(&[("a.example", 100), ("b.$.example", 200)])
    } else {
        told[1].clone()
    };
    let stored = store.load(&mirror.id).await.expect("there");
    assert_eq!(stored.limiter, wanted);
}
