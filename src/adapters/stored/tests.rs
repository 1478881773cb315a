//! What was written reads back, shows no secret, and stays where it was put.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::*;
use crate::seal;
use crate::session::jar::{CookieName, CookieUrl};
use crate::session::limiter::LimiterState;
use crate::session::record::{Counters, Generation, Record};
use crate::session::settings::{Bounds, Settings};
use crate::session::storage::{Area, ItemKey, StorageDelta};
use crate::session::time::Timestamp;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);
const CANARY: &str = "canary-d41d8cd9";

fn plain() -> Codec {
    Codec::new(None)
}

fn sealing(keys: &[u8]) -> Codec {
    Codec::new(Some(Arc::new(seal::keyring(keys))))
}

/// A record with a secret in every place that may hold one.
fn record() -> Record {
    let settings = json!({
        "ttl": 60, "maxAge": 600, "labels": {"team": "prices"}, "browser": {"userAgent": "Mozilla/5.0"},
        "headers": {"X-Key": CANARY, "Authorization": "s1.not sealed"},
        "upstreamProxy": format!("http://user:{CANARY}@proxy.example:3128"),
    });
    let settings = Settings::from_json(&settings, &Bounds::default()).unwrap();
    let mut record = Record::new(
        "visitor".parse().unwrap(),
        Generation::new(7),
        settings,
        NOW,
    );
    let url = CookieUrl {
        secure: true,
        host: "www.shop.example",
        path: "/",
    };
    let lines = [
        format!("sid={CANARY}; Secure; Domain=shop.example; Max-Age=60"),
        format!("__Host-part={CANARY}; Secure; Path=/; Partitioned; HttpOnly; SameSite=None"),
        "plain=p1.x".to_owned(),
        "looks=s1.sealed".to_owned(),
        "a.$b=".to_owned(),
    ];
    record
        .jar
        .receive(&url, lines.iter().map(String::as_bytes), NOW);
    record.jar.receive(
        &url,
        [&b"octets=\xe9"[..], b"plain=2", b"looks=; Max-Age=0"],
        NOW,
    );
    let mut items = StorageDelta::default();
    for (area, name, value) in [
        (Area::LocalStorage, "token", CANARY),
        (Area::SessionStorage, "token", "p1."),
        (Area::LocalStorage, CANARY, ""),
    ] {
        items.set(item_key(area, name), value);
    }
    record.storage.apply(&items);
    record.counters = Counters {
        requests: 3,
        bytes_out: 1 << 40,
        ..Counters::default()
    };
    record.revision = 9;
    record
}

fn item_key(area: Area, name: &str) -> ItemKey {
    ItemKey {
        origin: "https://shop.example".parse().unwrap(),
        area,
        name: name.into(),
    }
}

/// A record as a store has it.
struct Parts {
    head: HashMap<&'static str, String>,
    cookies: BTreeMap<String, String>,
    items: BTreeMap<String, String>,
    marks: Vec<String>,
}

fn parts(codec: &Codec, record: &Record) -> Parts {
    let id = &record.id;
    Parts {
        head: codec.head(id, &Head::from(record)).into_iter().collect(),
        cookies: record
            .jar
            .iter()
            .map(|cookie| (cookie_field(cookie.key()), codec.cookie(id, cookie)))
            .collect(),
        items: record
            .storage
            .iter()
            .map(|(key, value)| {
                (
                    codec.item_fields(id, key).remove(0),
                    codec.item(id, key, value),
                )
            })
            .collect(),
        marks: record
            .jar
            .superseded()
            .marks()
            .map(|mark| mark.to_string())
            .collect(),
    }
}

fn read(codec: &Codec, id: &SessionId, parts: &Parts) -> Result<Record, Unreadable> {
    let head = codec.read_head(id, |name| parts.head.get(name).map(String::as_str))?;
    let mut reading = codec.reading(id, head);
    for text in parts.cookies.values() {
        reading.cookie(text)?;
    }
    for text in parts.items.values() {
        reading.item("https://shop.example", text)?;
    }
    for text in &parts.marks {
        reading.mark(text)?;
    }
    Ok(reading.record(LimiterState::default()))
}

#[test]
fn what_was_written_reads_back() {
    let record = record();
    for codec in [plain(), sealing(&[1])] {
        let parts = parts(&codec, &record);
        assert_eq!((parts.cookies.len(), parts.items.len()), (5, 3));
        assert_eq!(read(&codec, &record.id, &parts).unwrap(), record);
        let object = serde_json::to_string(&parts.items).unwrap();
        let head = codec.read_head(&record.id, |name| parts.head.get(name).map(String::as_str));
        let mut reading = codec.reading(&record.id, head.unwrap());
        reading.items("https://shop.example", &object).unwrap();
        assert_eq!(
            reading.record(LimiterState::default()).storage,
            record.storage
        );
    }
}

#[test]
fn with_a_key_no_secret_is_in_any_part() {
    let record = record();
    let shown = |codec: &Codec| {
        let Parts {
            head,
            cookies,
            items,
            marks,
        } = parts(codec, &record);
        format!("{head:?} {cookies:?} {items:?} {marks:?}")
    };
    assert_eq!(shown(&plain()).matches(CANARY).count(), 6);
    let sealed = shown(&sealing(&[1]));
    assert!(
        !sealed.contains(CANARY) && !sealed.contains("token"),
        "{sealed}"
    );
    assert!(
        sealed.contains("prices") && sealed.contains("X-Key"),
        "{sealed}"
    );
}

#[test]
fn what_was_stored_before_there_was_a_key_is_read() {
    let record = record();
    let stored = parts(&plain(), &record);
    assert_eq!(read(&sealing(&[1]), &record.id, &stored).unwrap(), record);
}

#[test]
fn keys_are_changed_by_putting_the_new_one_first() {
    let record = record();
    let stored = parts(&sealing(&[1]), &record);
    let (both, id) = (sealing(&[2, 1]), &record.id);
    assert_eq!(read(&both, id, &stored).unwrap(), record);
    let error = read(&sealing(&[2]), id, &stored).unwrap_err().to_string();
    assert!(
        error.contains("add that key to the file") && error.contains("72cd6e84"),
        "{error}"
    );
    let error = read(&plain(), id, &stored).unwrap_err().to_string();
    assert!(
        error.contains("set `sessions.encryption_key_file`"),
        "{error}"
    );

    // An item moves to the new key's name, and is looked for under all of them.
    let key = item_key(Area::LocalStorage, "token");
    let fields = both.item_fields(id, &key);
    let first = |codec: &Codec| codec.item_fields(id, &key).remove(0);
    assert_eq!(
        fields,
        [
            first(&sealing(&[2])),
            first(&sealing(&[1])),
            first(&plain())
        ]
    );
}

#[test]
fn a_secret_that_was_moved_does_not_open() {
    let (codec, record) = (sealing(&[1]), record());
    let other: SessionId = "other".parse().unwrap();
    let stored = parts(&codec, &record);
    for text in stored.cookies.values() {
        assert!(codec.read_cookie(&other, text).is_err());
        let renamed = text.replace("shop.example", "evil.example");
        assert!(codec.read_cookie(&record.id, &renamed).is_err());
    }
    for text in stored.items.values() {
        let origin = "https://shop.example".parse().unwrap();
        assert!(codec.read_item(&record.id, &origin, text).is_ok());
        assert!(codec.read_item(&other, &origin, text).is_err());
        let origin = "https://evil.example".parse().unwrap();
        assert!(codec.read_item(&record.id, &origin, text).is_err());
    }
    let settings = &stored.head["settings"];
    assert!(codec.read_settings(&record.id, settings).is_ok());
    assert!(codec.read_settings(&other, settings).is_err());
    let renamed = settings.replace("X-Key", "X-Other");
    assert!(codec.read_settings(&record.id, &renamed).is_err());
}

#[test]
fn a_later_format_is_refused() {
    let record = record();
    let mut stored = parts(&plain(), &record);
    stored.head.insert("format", "2".to_owned());
    stored.head.remove("settings");
    let error = read(&plain(), &record.id, &stored).unwrap_err();
    assert!(
        matches!(error, Unreadable::Format { found: 2, .. }),
        "{error}"
    );
}

#[test]
fn damage_is_told_by_session_and_field_and_never_by_value() {
    let record = record();
    for (field, text) in [
        ("format", CANARY),
        ("generation", CANARY),
        ("revision", "-1"),
        ("expires", CANARY),
        ("requests", CANARY),
        ("settings", CANARY),
        ("settings", r#"{"ttl":"canary-d41d8cd9"}"#),
    ] {
        let mut stored = parts(&plain(), &record);
        stored.head.insert(field, text.to_owned());
        let error = read(&plain(), &record.id, &stored).unwrap_err().to_string();
        assert!(
            error.contains("`visitor`") && error.contains(field),
            "{error}"
        );
        assert!(!error.contains(CANARY), "{error}");
        if !field.starts_with("req") {
            stored.head.remove(field);
            let error = read(&plain(), &record.id, &stored).unwrap_err().to_string();
            assert!(error.contains(&format!("{field} is missing")), "{error}");
        }
    }
    let codec = plain();
    let errors = [
        codec
            .read_cookie(&record.id, r#"{"name":"a","value":"canary-d41d8cd9"}"#)
            .err(),
        codec.read_cookie(&record.id, "\"canary-d41d8cd9\"").err(),
        codec
            .read_item(
                &record.id,
                &"https://a.example".parse().unwrap(),
                "[\"canary-d41d8cd9\"]",
            )
            .err(),
    ];
    for error in errors {
        let error = error.unwrap().to_string();
        assert!(
            error.contains("damaged") && !error.contains(CANARY),
            "{error}"
        );
    }
}

#[test]
fn a_domain_that_became_a_public_suffix_takes_its_cookie_alone() {
    let cookie = json!({
        "name": "a", "value": "b", "domain": "github.io", "hostOnly": false, "path": "/", "secure": false,
        "httpOnly": false, "created": "2026-11-24T10:00:00Z", "updated": "2026-11-24T10:00:00Z",
    });
    let read = plain().read_cookie(&"a".parse().unwrap(), &cookie.to_string());
    assert_eq!(read, Ok(None));
}

#[test]
fn two_cookies_that_may_live_side_by_side_have_two_fields() {
    let record = record();
    let key = record
        .jar
        .iter()
        .find(|cookie| cookie.partition().is_some())
        .unwrap()
        .key();
    let mut keys = vec![key.clone(); 7];
    keys[1].name = CookieName::from("__Host-par".to_owned());
    keys[2].domain = "shop.example".into();
    keys[3].host_only = !key.host_only;
    keys[4].path = "/a".into();
    keys[5].partition = None;
    if let Some(partition) = &mut keys[6].partition {
        partition.cross_site_ancestor = true;
    }
    let fields: std::collections::BTreeSet<_> = keys.iter().map(cookie_field).collect();
    assert_eq!(fields.len(), keys.len());
    assert!(fields.iter().all(|field| field.len() == 22));
}

#[test]
fn the_names_of_fields_are_the_ones_that_stores_hold() {
    let key = CookieKey {
        name: CookieName::from("sid".to_owned()),
        domain: "shop.example".into(),
        host_only: true,
        path: "/".into(),
        partition: None,
    };
    assert_eq!(cookie_field(&key), "B-vs5RA5PKkVkRQi3KU2sQ");
    let id = "visitor".parse().unwrap();
    let item = item_key(Area::LocalStorage, "token");
    assert_eq!(
        sealing(&[1]).item_fields(&id, &item),
        ["12PoqJlRfepzuwTtbv_Z0g", "9OJ6EyLmwqY3oo2tHqds1A"]
    );
}
