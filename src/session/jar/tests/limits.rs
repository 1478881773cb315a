//! How many cookies a jar holds and which give way.

use std::time::Duration;

use super::super::evict::{MAX_OF_SESSION, MAX_OF_SITE, SITE_KEEPS};
use super::super::{Cookie, CookieParts, CookieUrl, Jar};
use super::{NOW, SHOP, header};
use crate::session::Timestamp;

fn fill(jar: &mut Jar, names: std::ops::Range<usize>, attributes: &str, now: Timestamp) {
    for name in names {
        jar.receive(&SHOP, [format!("{name}=v; {attributes}").as_bytes()], now);
    }
}

fn has(jar: &Jar, name: &str) -> bool {
    jar.iter()
        .any(|cookie| cookie.name().as_bytes() == name.as_bytes())
}

#[test]
fn a_site_over_180_is_cut_to_150_the_least_recently_sent_first() {
    let mut jar = Jar::default();
    fill(&mut jar, 0..MAX_OF_SITE, "Path=/x", NOW);
    assert_eq!(jar.len(), MAX_OF_SITE);
    jar.receive(
        &SHOP,
        [&b"last=1; Path=/y"[..]],
        NOW + Duration::from_mins(2),
    );
    assert_eq!(jar.len(), SITE_KEEPS);
    // 31 must go, and they were created in the order of their names.
    for (name, kept) in [
        ("0", false),
        ("30", false),
        ("31", true),
        ("179", true),
        ("last", true),
    ] {
        assert_eq!(has(&jar, name), kept, "{name}");
    }
}

#[test]
fn sending_saves_a_cookie() {
    let mut jar = Jar::default();
    jar.receive(&SHOP, [&b"sent=1; Path=/sent"[..]], NOW);
    fill(
        &mut jar,
        0..MAX_OF_SITE - 1,
        "Path=/x",
        NOW + Duration::from_secs(1),
    );
    let url = CookieUrl {
        path: "/sent",
        ..SHOP
    };
    assert_eq!(
        header(&mut jar, &url, &[], NOW + Duration::from_secs(90)),
        "sent=1"
    );
    fill(&mut jar, 500..501, "Path=/x", NOW + Duration::from_secs(91));
    assert!(has(&jar, "sent") && has(&jar, "500") && !has(&jar, "0"));
}

#[test]
fn sending_beside_client_cookies_saves_a_cookie_too() {
    let mut jar = Jar::default();
    jar.receive(&SHOP, [&b"sent=1; Path=/sent"[..]], NOW);
    fill(
        &mut jar,
        0..MAX_OF_SITE - 1,
        "Path=/x",
        NOW + Duration::from_secs(1),
    );
    let url = CookieUrl {
        path: "/sent",
        ..SHOP
    };
    assert_eq!(
        header(&mut jar, &url, &["a=b"], NOW + Duration::from_secs(90)),
        "sent=1; a=b"
    );
    fill(&mut jar, 500..501, "Path=/x", NOW + Duration::from_secs(91));
    assert!(has(&jar, "sent"));
}

#[test]
fn the_expired_go_first_then_what_is_not_secure_then_any() {
    let mut jar = Jar::default();
    fill(&mut jar, 0..10, "Secure", NOW);
    fill(&mut jar, 10..25, "", NOW + Duration::from_secs(1));
    fill(
        &mut jar,
        25..35,
        "Secure; Max-Age=5",
        NOW + Duration::from_secs(2),
    );
    fill(
        &mut jar,
        35..MAX_OF_SITE,
        "Secure",
        NOW + Duration::from_secs(3),
    );
    let delta = jar.receive(
        &SHOP,
        [&b"last=1; Secure"[..]],
        NOW + Duration::from_mins(1),
    );
    assert_eq!(jar.len(), SITE_KEEPS);
    // 31 must go: the 10 that expired, the 15 that are not secure, and 6 of the oldest secure ones.
    for (name, kept) in [
        ("25", false),
        ("34", false),
        ("10", false),
        ("24", false),
        ("0", false),
        ("5", false),
        ("6", true),
        ("9", true),
    ] {
        assert_eq!(has(&jar, name), kept, "{name}");
    }
    assert_eq!(delta.changes().count(), 32);
}

#[test]
fn subdomains_count_for_their_site() {
    let mut jar = Jar::default();
    for index in 0..=MAX_OF_SITE {
        let host = format!("h{index}.shop.example");
        jar.receive(
            &CookieUrl {
                host: &host,
                ..SHOP
            },
            [&b"a=1"[..]],
            NOW,
        );
    }
    assert_eq!(jar.len(), SITE_KEEPS);
}

#[test]
fn a_session_holds_3000_and_the_expired_go_first() {
    let mut jar = Jar::default();
    let set = |jar: &mut Jar, index: usize, line: &[u8], now| {
        let host = format!("site{index}.example");
        jar.receive(
            &CookieUrl {
                host: &host,
                ..SHOP
            },
            [line],
            now,
        );
    };
    for index in 0..MAX_OF_SESSION {
        let line: &[u8] = if index == 7 {
            b"a=1; Max-Age=5"
        } else {
            b"a=1"
        };
        set(
            &mut jar,
            index,
            line,
            NOW + Duration::from_millis(index as u64),
        );
    }
    assert_eq!(jar.len(), MAX_OF_SESSION);
    let later = NOW + Duration::from_mins(1);
    set(&mut jar, MAX_OF_SESSION, b"a=1", later);
    assert_eq!(jar.len(), MAX_OF_SESSION);
    assert!(jar.iter().all(|cookie| cookie.domain() != "site7.example"));
    set(&mut jar, MAX_OF_SESSION + 1, b"a=1", later);
    assert_eq!(jar.len(), MAX_OF_SESSION);
    assert!(jar.iter().all(|cookie| cookie.domain() != "site0.example"));
    assert!(jar.iter().any(|cookie| cookie.domain() == "site1.example"));
}

#[test]
fn put_keeps_the_limits_as_well() {
    let mut jar = Jar::default();
    fill(&mut jar, 0..MAX_OF_SITE, "Secure", NOW);
    let elsewhere = |cookie: &Cookie| CookieParts {
        path: "/other".to_owned(),
        ..cookie.to_parts()
    };
    let all = jar
        .live(NOW)
        .map(|cookie| Cookie::new(elsewhere(cookie)).unwrap())
        .collect();
    jar.put(all, NOW);
    assert!(jar.len() <= MAX_OF_SITE);
}
