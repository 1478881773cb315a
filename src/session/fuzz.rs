//! What fuzzers feed this floor: Set-Cookie lines, clients' Cookie fields, imports. The promises of the jar are asserted.

use std::time::Duration;

use super::formats::{netscape as cookies_txt, playwright as objects};
use super::jar::{Cookie, CookieUrl, Jar};
use super::{CookieChange, CookieDelta, Timestamp};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

const HOSTS: [&str; 8] = [
    "shop.example",
    "www.shop.example",
    "other.example",
    "shop.co.uk",
    "co.uk",
    "127.0.0.1",
    "[::1]",
    "xn--bcher-kva.example",
];
const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/ab/"];

/// Where a step of a life happens, from one byte: scheme, host, path.
fn place(byte: u8) -> CookieUrl<'static> {
    CookieUrl {
        secure: byte & 1 == 1,
        host: HOSTS[usize::from(byte >> 1 & 7)],
        path: PATHS[usize::from(byte >> 4 & 3)],
    }
}

/// A step a line: where it happens, how many seconds after the one before, and a Set-Cookie line.
pub(crate) fn set_cookie(data: &[u8]) {
    let (mut jar, mut stored, mut joined, mut now) =
        (Jar::default(), Jar::default(), CookieDelta::default(), NOW);
    for step in data.split(|byte| *byte == b'\n').take(64) {
        let [at, seconds, line @ ..] = step else {
            continue;
        };
        let url = place(*at);
        now = now + Duration::from_secs(u64::from(*seconds));
        let before = jar.len();
        let delta = jar.receive(&url, [line], now);
        assert!(jar.len() <= before + 1, "a line made several cookies");
        for change in delta.changes() {
            if let CookieChange::Set(cookie) = change {
                may_be_set(&cookie, &url, now);
            }
        }
        stored.apply(&delta);
        joined = joined.then(delta);
        // Asked at every step, so that what is remembered of the step before must be forgotten.
        sends_what_it_should(&mut jar, &url, now);
    }
    for byte in 0..64 {
        sends_what_it_should(&mut jar, &place(byte), now);
    }
    assert_eq!(jar, stored, "a change does the same elsewhere");
    let mut at_once = Jar::default();
    at_once.apply(&joined);
    assert_eq!(jar, at_once, "changes joined are changes made one by one");
    let text = serde_json::to_string(&jar).expect("a jar is JSON");
    let read: Jar = serde_json::from_str(&text).expect("what was stored reads back");
    assert_eq!(jar, read);
    exports_read_back(&jar, now);
}

/// What RFC 6265bis, section 5.7, lets a response from `url` set.
fn may_be_set(cookie: &Cookie, url: &CookieUrl<'_>, now: Timestamp) {
    let (name, value) = (cookie.name().as_bytes(), cookie.value().as_bytes());
    assert!(name.len() + value.len() <= 4096 && !(name.is_empty() && value.is_empty()));
    assert!(!name.contains(&b'='));
    for octet in name.iter().chain(value) {
        assert!(*octet != b';' && (*octet == b'\t' || !octet.is_ascii_control()));
    }
    match cookie.host_only() {
        true => assert_eq!(cookie.domain(), url.host),
        false => assert!(is_within(url.host, cookie.domain())),
    }
    assert!(cookie.path().starts_with('/'));
    assert!(url.secure || !cookie.secure(), "Secure over http");
    assert!(!cookie.is_expired(now));
    let latest = now + Duration::from_hours(400 * 24);
    assert!(cookie.expires().is_none_or(|expires| expires <= latest));
    let begins = |prefix: &[u8]| {
        name.len() >= prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix)
    };
    if begins(b"__secure-") || begins(b"__host-") {
        assert!(cookie.secure());
    }
    if begins(b"__host-") {
        assert!(cookie.host_only() && cookie.path() == "/");
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        && domain.contains('.')
        && domain != "co.uk"
        && !host.starts_with('[')
}

/// Section 5.8.3 as the RFC writes it.
fn sends_what_it_should(jar: &mut Jar, url: &CookieUrl<'_>, now: Timestamp) {
    // Partitions are compared with the model of the unit tests.
    let partitioned = jar.live(now).any(|cookie| cookie.partition().is_some());
    let mut cookies: Vec<&Cookie> = jar.live(now).filter(|cookie| is_for(cookie, url)).collect();
    cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path().len()));
    let wanted: Vec<Vec<u8>> = cookies.into_iter().map(pair).collect();
    let wanted = wanted.join(&b"; "[..]);
    let fresh = jar.clone().header_for(url, [], now);
    let sent = jar.header_for(url, [], now);
    assert_eq!(sent, fresh, "what was remembered of {url:?} is stale");
    if !partitioned {
        let sent = sent.as_ref().map_or(&b""[..], |sent| sent.as_bytes());
        assert_eq!(sent, wanted, "to {url:?}");
    }
}

fn is_for(cookie: &Cookie, url: &CookieUrl<'_>) -> bool {
    let host = match cookie.host_only() {
        true => cookie.domain() == url.host,
        false => is_within(url.host, cookie.domain()),
    };
    let path = url.path == cookie.path()
        || url
            .path
            .strip_prefix(cookie.path())
            .is_some_and(|rest| cookie.path().ends_with('/') || rest.starts_with('/'));
    host && path && (url.secure || !cookie.secure())
}

fn pair(cookie: &Cookie) -> Vec<u8> {
    let (name, value) = (cookie.name().as_bytes(), cookie.value().as_bytes());
    match name {
        [] => value.to_vec(),
        name => [name, value].join(&b'='),
    }
}

/// A client's Cookie lines, to a session that has cookies, some of them replaced and deleted. A first byte, then lines.
pub(crate) fn cookie_merge(data: &[u8]) {
    let [at, client @ ..] = data else { return };
    let url = CookieUrl {
        host: "shop.example",
        ..place(*at)
    };
    let mut jar = Jar::default();
    let lines: [&[u8]; 7] = [
        b"a=old",
        b"a=new",
        b"b=gone",
        b"b=; Max-Age=0",
        b"c=1; Path=/a",
        b"d=2; Secure",
        b"e=kept",
    ];
    let https = CookieUrl {
        secure: true,
        host: "shop.example",
        path: "/",
    };
    jar.receive(&https, lines, NOW);
    let client: Vec<&[u8]> = client.split(|byte| *byte == b'\n').take(8).collect();
    let valid = client
        .iter()
        .all(|line| http::HeaderValue::from_bytes(line).is_ok());
    let own = jar.header_for(&url, [], NOW);
    let own = own.as_ref().map_or(&b""[..], |own| own.as_bytes());
    let merged = jar.header_for(&url, client.iter().copied(), NOW);
    let sent = merged.as_ref().map_or(&b""[..], |merged| merged.as_bytes());
    let has = |pairs: &[u8], pair: &[u8]| pairs_of(pairs).any(|one| one == pair);
    assert!(!has(sent, b"a=old") && !has(sent, b"b=gone"), "stale");
    if !valid {
        // What no field can hold did not come in one; the session's own is what is left.
        return;
    }
    let joined = client.join(&b"; "[..]);
    for pair in pairs_of(own) {
        let name = name_of(pair);
        let overridden = pairs_of(&joined).any(|other| {
            name_of(other) == name && !matches!(other, b"a=old" | b"b=gone") && name.is_some()
        });
        assert!(
            overridden || has(sent, pair),
            "{} is missing",
            pair.escape_ascii()
        );
    }
    for pair in pairs_of(&joined).filter(|pair| !pair.is_empty()) {
        let stale = matches!(judged(pair), (b"a", b"old") | (b"b", b"gone"));
        assert!(
            stale || has(sent, pair),
            "{} is missing",
            pair.escape_ascii()
        );
    }
    if let Some(merged) = &merged {
        let again = jar.header_for(&url, [merged.as_bytes()], NOW);
        assert_eq!(again.as_ref(), Some(merged), "what was merged is whole");
    }
    let mut empty = Jar::default();
    let untouched = empty.header_for(&url, client.iter().copied(), NOW);
    assert_eq!(
        untouched.as_ref().map(|value| value.as_bytes()),
        Some(&joined[..])
    );
}

fn pairs_of(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|octet| *octet == b';').map(trim)
}

fn trim(octets: &[u8]) -> &[u8] {
    let space = |octet: &u8| matches!(octet, b' ' | b'\t');
    let begin = octets.iter().position(|octet| !space(octet));
    let end = octets.iter().rposition(|octet| !space(octet));
    match (begin, end) {
        (Some(begin), Some(end)) => &octets[begin..=end],
        _ => &[],
    }
}

fn judged(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|octet| *octet == b'=') {
        Some(at) => (trim(&pair[..at]), trim(&pair[at + 1..])),
        None => (&[], trim(pair)),
    }
}

fn name_of(pair: &[u8]) -> Option<&[u8]> {
    pair.contains(&b'=').then(|| judged(pair).0)
}

/// A `cookies.txt`.
pub(crate) fn netscape(data: &[u8]) {
    let Ok(cookies) = cookies_txt::parse(data, NOW) else {
        return;
    };
    let mut jar = Jar::default();
    jar.put(cookies, NOW);
    assert!(jar.len() <= 3000);
    exports_read_back(&jar, NOW);
}

/// JSON that is an array of Playwright's cookies, or a `storageState`.
pub(crate) fn playwright(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else {
        return;
    };
    if let Ok(cookies) = objects::cookies_from_json(&value, NOW) {
        let mut jar = Jar::default();
        jar.put(cookies, NOW);
        exports_read_back(&jar, NOW);
    }
    if let Ok(state) = objects::state_from_json(&value, NOW) {
        let mut jar = Jar::default();
        jar.put(state.cookies, NOW);
        let shown = objects::state_to_json(&jar, &state.storage, NOW);
        let again = objects::state_from_json(&shown, NOW).expect("what was shown reads back");
        assert_eq!(again.storage, state.storage);
    }
}

/// Either export of a jar reads back, and is then the same export.
fn exports_read_back(jar: &Jar, now: Timestamp) {
    let shown = objects::cookies_to_json(jar, now);
    let cookies = objects::cookies_from_json(&shown, now).expect("what was shown reads back");
    let mut again = Jar::default();
    again.put(cookies, now);
    // JSON shows octets that are no text as U+FFFD, and two names of them may look the same.
    let is_text = jar
        .live(now)
        .all(|cookie| std::str::from_utf8(cookie.name().as_bytes()).is_ok());
    if is_text {
        assert_eq!(objects::cookies_to_json(&again, now), shown);
    }

    let printed = cookies_txt::print(jar, now);
    let cookies = cookies_txt::parse(&printed, now).expect("what was printed reads back");
    let mut again = Jar::default();
    again.put(cookies, now);
    // The format has no partitions, so that cookies of two of them may be one.
    let partitioned = jar.live(now).any(|cookie| cookie.partition().is_some());
    if !partitioned {
        assert_eq!(
            cookies_txt::print(&again, now).escape_ascii().to_string(),
            printed.escape_ascii().to_string()
        );
    }
}
