//! What a jar answers over time: expiry, creation order, the memo, listing and removal.

use std::time::Duration;

use super::super::{Cookie, CookieFilter, CookieParts, CookieUrl, Jar, PartitionKey};
use super::{NOW, SHOP, header, jar_with};
use crate::session::Timestamp;
use crate::session::delta::CookieChange;

fn secs(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

#[test]
fn a_cookie_ends_the_moment_its_expiry_comes() {
    let mut jar = jar_with(&["a=1; Max-Age=60", "b=2"]);
    assert_eq!(
        header(&mut jar, &SHOP, &[], secs(60) - Duration::from_micros(1)),
        "a=1; b=2"
    );
    assert_eq!(header(&mut jar, &SHOP, &[], secs(60)), "b=2");
    assert_eq!((jar.len(), jar.live(secs(60)).count()), (2, 1));
    assert_eq!((jar.expire(secs(60)), jar.len()), (1, 1));
    assert_eq!(jar.expire(secs(60)), 0);
}

#[test]
fn no_cookie_lives_longer_than_400_days() {
    let days = |days: u64| secs(days * 86_400);
    let mut jar = jar_with(&[
        "a=1; Max-Age=99999999999",
        "b=2; Expires=Fri, 31 Dec 9999 23:59:59 GMT",
        "c=3",
    ]);
    assert_eq!(
        header(&mut jar, &SHOP, &[], days(400) - Duration::from_micros(1)),
        "a=1; b=2; c=3"
    );
    assert_eq!(header(&mut jar, &SHOP, &[], days(400)), "c=3");
    let parts = CookieParts {
        expires: Some(Timestamp::MAX),
        ..jar.live(NOW).next().unwrap().to_parts()
    };
    jar.put(vec![Cookie::new(parts).unwrap()], NOW);
    assert_eq!(jar.live(NOW).next().unwrap().expires(), Some(days(400)));
}

#[test]
fn creation_order_is_total_and_survives_replacement_and_storing() {
    let mut jar = jar_with(&["c=1", "a=2", "b=3"]);
    jar.receive(&SHOP, [&b"c=4"[..]], secs(10));
    jar.receive(&SHOP, [&b"d=5"[..]], Timestamp::default());
    let stored: Jar = serde_json::from_str(&serde_json::to_string(&jar).unwrap()).unwrap();
    for mut jar in [jar, stored] {
        assert_eq!(header(&mut jar, &SHOP, &[], secs(20)), "c=4; a=2; b=3; d=5");
        let names: Vec<_> = jar
            .live(NOW)
            .map(|cookie| cookie.name().to_text().into_owned())
            .collect();
        assert_eq!(names, ["c", "a", "b", "d"]);
    }
}

#[test]
fn an_expired_cookie_leaves_no_age_behind_and_bars_nobody() {
    let mut jar = jar_with(&["a=1; Max-Age=5; Secure", "b=2"]);
    let insecure = CookieUrl {
        secure: false,
        ..SHOP
    };
    jar.receive(&insecure, [&b"a=3"[..]], secs(5));
    assert_eq!(header(&mut jar, &SHOP, &[], secs(5)), "b=2; a=3");
}

#[test]
fn the_memo_follows_every_change() {
    let mut jar = jar_with(&["a=1"]);
    let insecure = CookieUrl {
        secure: false,
        ..SHOP
    };
    for _ in 0..2 {
        assert_eq!(header(&mut jar, &SHOP, &[], NOW), "a=1");
        assert_eq!(header(&mut jar, &insecure, &[], NOW), "a=1");
    }
    let version = jar.version();
    jar.receive(&SHOP, [&b"b=2; Secure"[..]], NOW);
    assert!(jar.version() > version);
    assert_eq!(header(&mut jar, &SHOP, &[], NOW), "a=1; b=2");
    assert_eq!(header(&mut jar, &insecure, &[], NOW), "a=1");
    for index in 0..20 {
        let path = format!("/{index}");
        assert_eq!(
            header(
                &mut jar,
                &CookieUrl {
                    path: &path,
                    ..SHOP
                },
                &[],
                NOW
            ),
            "a=1; b=2"
        );
    }
    jar.clear(NOW);
    assert_eq!(header(&mut jar, &SHOP, &[], NOW), "");
}

#[test]
fn setting_the_same_again_changes_the_store_and_not_the_version() {
    let mut jar = jar_with(&["a=1"]);
    let version = jar.version();
    assert!(!jar.receive(&SHOP, [&b"a=1"[..]], secs(1)).is_empty());
    assert_eq!(jar.version(), version);
}

#[test]
fn a_deletion_is_reported_even_of_what_is_not_here() {
    let mut jar = Jar::default();
    let delta = jar.receive(&SHOP, [&b"a=; Max-Age=0"[..]], NOW);
    assert!(
        matches!(delta.changes().next(), Some(CookieChange::Remove(key)) if key.name.as_bytes() == b"a")
    );
    assert_eq!(jar.version(), 0);
    assert!(jar.receive(&SHOP, [&b"="[..]], NOW).is_empty());
}

#[test]
fn a_filter_means_what_agrees_in_everything() {
    let lines = ["a=1", "a=2; Domain=shop.example", "b=3; Path=/x"];
    let left = |name: Option<&str>, domain: Option<&str>, path: Option<&str>| {
        let mut jar = jar_with(&lines);
        let [name, domain, path] = [name, domain, path].map(|text| text.map(str::to_owned));
        jar.remove_where(&CookieFilter { name, domain, path }, NOW);
        jar.live(NOW)
            .map(|cookie| cookie.value().to_text().into_owned())
            .collect::<String>()
    };
    assert_eq!(left(None, None, None), "");
    assert_eq!(left(Some("a"), None, None), "3");
    assert_eq!(left(Some("a"), Some("shop.example"), None), "13");
    assert_eq!(left(Some("a"), Some(".shop.example"), None), "13");
    assert_eq!(left(None, Some("WWW.shop.example"), None), "2");
    assert_eq!(left(None, Some(".www.shop.example"), None), "123");
    assert_eq!(left(None, None, Some("/x")), "12");
    assert_eq!(left(Some("a"), None, Some("/x")), "123");
}

#[test]
fn a_partition_of_another_top_level_site_is_kept_and_not_sent() {
    let mut jar = jar_with(&["a=1; Secure; Partitioned"]);
    let first = jar.live(NOW).next().unwrap().to_parts();
    assert_eq!(
        first.partition,
        PartitionKey::new("https://shop.example", false)
    );
    for (value, site, ancestor) in [
        ("2", "https://top.example", false),
        ("3", "https://shop.example", true),
    ] {
        let partition = PartitionKey::new(site, ancestor);
        let parts = CookieParts {
            value: value.as_bytes().into(),
            partition,
            ..first.clone()
        };
        jar.put(vec![Cookie::new(parts).unwrap()], NOW);
    }
    assert_eq!(jar.len(), 3);
    assert_eq!(header(&mut jar, &SHOP, &[], NOW), "a=1");
}

#[test]
fn an_expired_cookie_put_deletes() {
    let mut jar = jar_with(&["a=1"]);
    let parts = CookieParts {
        expires: Some(NOW),
        ..jar.live(NOW).next().unwrap().to_parts()
    };
    jar.put(vec![Cookie::new(parts).unwrap()], NOW);
    assert!(jar.is_empty());
}

#[test]
fn octets_beyond_utf_8_go_back_as_they_came() {
    let mut jar = Jar::default();
    jar.receive(&SHOP, [&b"\xe9=\xff\xfe"[..], b"p=1; Path=/\xff"], NOW);
    assert_eq!(
        jar.header_for(&SHOP, [], NOW).unwrap().as_bytes(),
        b"\xe9=\xff\xfe"
    );
}

#[test]
fn no_secret_shows_in_debug_output() {
    let mut jar = jar_with(&["a=secret"]);
    let delta = jar.receive(&SHOP, [&b"b=secret"[..]], NOW);
    let all: Vec<_> = jar.iter().collect();
    assert!(!format!("{jar:?} {delta:?} {all:?}").contains("secret"));
}
