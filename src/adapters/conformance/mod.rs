//! What every adapter must do: the same checks against each of them.

mod lists;
mod model;
mod one;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Adapter, Applied, Created, Query};
use crate::clock;
use crate::session::delta::{CookieDelta, Delta, Touch};
use crate::session::id::SessionId;
use crate::session::jar::{CookieUrl, Jar};
use crate::session::limiter::LimiterState;
use crate::session::origin::Origin;
use crate::session::record::{Counters, Generation, Record};
use crate::session::settings::{Bounds, Settings};
use crate::session::storage::{Area, ItemKey, StorageDelta};
use crate::session::time::Timestamp;

/// Checks the store behind these handles, of which there are several where several processes may use it. Whatever is in it
/// goes.
///
/// # Panics
/// Where the store does not do what [`Adapter`] and [`Shared`](super::Shared) say.
pub(crate) async fn conformance(handles: &[Arc<dyn Adapter>]) {
    let store = Store { handles };
    macro_rules! check {
        ($($module:ident::$check:ident),* $(,)?) => {$(
            eprintln!("{}: {}", store.first().name(), stringify!($check));
            store.first().clear().await.expect("cleared");
            $module::$check(&store).await;
        )*};
    }
    check!(
        one::nothing_is_found_where_nothing_is,
        one::a_record_is_found_as_it_was_created,
        one::a_great_record_is_found_whole,
        one::of_many_creations_of_one_id_one_succeeds,
        one::there_is_never_more_than_the_room,
        one::expired_records_take_no_room,
        one::a_record_that_expired_is_gone_from_everywhere,
        one::a_touch_moves_the_end_and_an_older_one_does_not,
        one::a_late_change_does_not_reach_a_successor,
        one::what_was_deleted_is_gone_with_all_its_parts,
        model::changes_do_what_the_record_says,
        model::changes_at_once_have_an_order,
        model::each_of_many_cookies_at_once_is_kept,
        model::pauses_are_kept,
        lists::a_list_is_in_order_and_comes_in_pages,
        lists::labels_choose_what_is_listed,
        lists::what_is_cleared_is_counted_and_gone,
        shared::cells_are_those_of_the_rate,
        shared::cells_taken_at_once_are_taken_once,
        shared::cells_belong_to_a_generation,
        shared::changes_are_told_to_others,
    );
    store.first().clear().await.expect("cleared");
}

/// A store under test.
struct Store<'a> {
    handles: &'a [Arc<dyn Adapter>],
}

impl Store<'_> {
    fn first(&self) -> &dyn Adapter {
        &*self.handles[0]
    }

    /// One handle after the other.
    fn nth(&self, n: usize) -> &dyn Adapter {
        &*self.handles[n % self.handles.len()]
    }

    fn is_shared(&self) -> bool {
        self.first().shared().is_some()
    }

    async fn create(&self, record: &Record) {
        let created = self.first().create(record.clone(), PLENTY).await;
        assert_eq!(created.expect("created"), Created::Done, "{}", record.id);
    }

    async fn load(&self, id: &SessionId) -> Option<Record> {
        self.first().load(id).await.expect("loaded")
    }

    async fn apply(&self, record: &Record, delta: Delta) -> Applied {
        let applied = self
            .first()
            .apply(&record.id, record.generation, delta)
            .await;
        applied.expect("applied")
    }

    async fn list(&self, query: &Query) -> Vec<Record> {
        self.first().list(query).await.expect("listed")
    }

    async fn count(&self) -> u64 {
        self.first().count().await.expect("counted")
    }
}

/// More than a check creates.
const PLENTY: u64 = 1_000_000;

const HALF_AN_HOUR: Duration = Duration::from_mins(30);

fn id(text: &str) -> SessionId {
    text.parse().expect("an id")
}

fn record(name: &str) -> Record {
    let settings = Settings::default();
    Record::new(
        id(name),
        Generation::new(rand::random()),
        settings,
        clock::now(),
    )
}

fn expired(name: &str) -> Record {
    let mut record = record(name);
    record.expires = clock::now() - Duration::from_secs(5);
    record
}

fn labelled(name: &str, labels: &[(&str, &str)]) -> Record {
    let mut record = record(name);
    record.settings.labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    record
}

/// Settings with something everywhere.
fn rich_settings() -> Settings {
    let json = json!({
        "ttl": 60, "maxAge": 600,
        "browser": {"userAgent": "Mozilla/5.0", "viewport": {"width": 800, "height": 600}, "locale": "de-CH", "timezone": "Europe/Zurich"},
        "rateLimit": {"requestsPerSecond": 0.1, "burst": 3, "concurrency": 0, "perHost": true, "onLimit": "reject", "maxWaitMs": 0},
        "render": "http", "headers": {"X-Key": "a \"b\" $c", "Authorization": "s1.not sealed"},
        "upstreamProxy": "http://user:pass%3Aword@proxy.example:3128",
        "labels": {"a.b$": "$c.d", "ä": "ö", "empty": ""},
    });
    Settings::from_json(&json, &Bounds::default()).expect("valid settings")
}

/// A record that begins with something in every part.
fn rich(name: &str) -> Record {
    let mut record = record(name);
    record.settings = rich_settings();
    record.revision = 7;
    let now = clock::now();
    record.jar.receive(&SHOP, COOKIES, now);
    record
        .jar
        .receive(&SHOP, [&b"sid=2"[..], b"plain=; Max-Age=0"], now);
    record.jar.receive(&OTHER, [&b"sid=other"[..]], now);
    let mut items = StorageDelta::default();
    for (place, area, name, value) in [
        ("https://shop.example", Area::LocalStorage, "token", "1"),
        ("https://shop.example", Area::SessionStorage, "token", "2"),
        ("https://shop.example", Area::LocalStorage, "", ""),
        ("http://127.0.0.1:8000", Area::LocalStorage, "a.$b", "p1."),
        (
            "https://shop.example",
            Area::LocalStorage,
            "\u{0}\u{1F99D}",
            "\u{0}\"\\",
        ),
    ] {
        items.set(item(place, area, name), value);
    }
    record.storage.apply(&items);
    record.counters = Counters {
        requests: 6,
        rendered: 1,
        delayed: 2,
        rejected: 3,
        failed: 4,
        bytes_in: 1 << 40,
        bytes_out: 5,
    };
    record.limiter = LimiterState::from_parts([], [("a.example".into(), now + HALF_AN_HOUR)]);
    record
}

fn item(origin: &str, area: Area, name: &str) -> ItemKey {
    ItemKey {
        origin: origin.parse::<Origin>().expect("an origin"),
        area,
        name: name.into(),
    }
}

/// What lines of `Set-Cookie` change of a jar.
fn received(jar: &Jar, url: &CookieUrl<'_>, lines: &[&str]) -> CookieDelta {
    let lines = lines.iter().map(|line| line.as_bytes());
    jar.clone().receive(url, lines, clock::now())
}

fn cookies(cookies: CookieDelta) -> Delta {
    Delta {
        cookies,
        ..Delta::default()
    }
}

fn touch(last_used: Timestamp, expires: Timestamp) -> Delta {
    Delta {
        touched: Some(Touch { last_used, expires }),
        ..Delta::default()
    }
}

fn everything() -> Query {
    Query {
        after: None,
        limit: 1000,
        labels: Vec::new(),
    }
}

/// What is stored is what it should be, part by part, so that a failure says which.
fn assert_same(stored: Option<Record>, wanted: &Record) {
    let stored = stored.expect("the record is there");
    assert_eq!(stored.generation, wanted.generation);
    assert_eq!(stored.revision, wanted.revision, "revision");
    assert_eq!(stored.settings, wanted.settings);
    assert_eq!(stored.counters, wanted.counters);
    let times = |record: &Record| {
        [record.created, record.last_used, record.expires].map(Timestamp::as_micros)
    };
    assert_eq!(times(&stored), times(wanted), "created, last used, expires");
    let listed = |record: &Record| -> Vec<_> { record.jar.live(Timestamp::MIN).cloned().collect() };
    assert_eq!(listed(&stored), listed(wanted), "cookies");
    assert_eq!(stored.jar.superseded(), wanted.jar.superseded());
    let items = |record: &Record| -> Vec<(ItemKey, String)> {
        let items = record.storage.iter();
        items
            .map(|(key, value)| (key.clone(), value.to_owned()))
            .collect()
    };
    assert_eq!(items(&stored), items(wanted), "storage");
    assert_eq!(stored.limiter, wanted.limiter);
    assert_eq!(stored, *wanted);
}

const SHOP: CookieUrl<'static> = CookieUrl {
    secure: true,
    host: "www.shop.example",
    path: "/",
};

const OTHER: CookieUrl<'static> = CookieUrl {
    secure: false,
    host: "127.0.0.1",
    path: "/a/b",
};

const COOKIES: [&[u8]; 8] = [
    b"sid=1; Secure; HttpOnly; Domain=shop.example; Max-Age=3600",
    b"sid=1",
    b"__Host-part=x; Secure; Path=/; Partitioned; SameSite=None",
    b"a.b$c=\"quoted, and=more\"",
    b"octets=\xe9\xff",
    b"plain=s1.x",
    b"=nameless",
    b"looks=p1.plain; Path=/a",
];
