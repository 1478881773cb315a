//! What holds for every jar: it agrees with the model, deltas merge associatively, limits hold, nothing panics.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::evict::{MAX_OF_SESSION, MAX_OF_SITE};
use super::super::{CookieUrl, Jar};
use super::model::{DATES, Model};
use super::{NOW, header};
use crate::session::delta::CookieDelta;

const HOSTS: [&str; 9] = [
    "shop.example",
    "www.shop.example",
    "a.www.shop.example",
    "other.example",
    "shop.co.uk",
    "co.uk",
    "a.github.io",
    "127.0.0.1",
    "example",
];
const PATHS: [&str; 6] = ["/", "/a", "/a/", "/a/b", "/ab", "/a//b"];

type Place = (bool, &'static str, &'static str);

fn places() -> impl Strategy<Value = Place> {
    (any::<bool>(), select(&HOSTS[..]), select(&PATHS[..]))
}

fn cookie_url(&(secure, host, path): &Place) -> CookieUrl<'static> {
    CookieUrl { secure, host, path }
}

fn lines() -> impl Strategy<Value = String> {
    let name = select(vec![
        "a=",
        "b=",
        "",
        "=",
        "a",
        " a = ",
        "__Host-a=",
        "__secure-a=",
        "__Host-",
    ]);
    let value = select(vec!["1", "2", "", "\"x", "x=y", "__Secure-x"]);
    let domain = select(vec![
        "",
        ".",
        "shop.example",
        ".shop.example",
        "www.shop.example",
        "WWW.Shop.Example",
        "example",
        "co.uk",
        "github.io",
        "a.github.io",
        "127.0.0.1",
        "0.0.1",
        "shop.example.",
    ]);
    let same_site = select(vec!["Strict", "Lax", "None", "x", ""]);
    let max_age = select(vec!["0", "-1", "1", "30", "99999999999", "x", ""]);
    let attribute = prop_oneof![
        3 => domain.prop_map(|domain| format!("Domain={domain}")),
        3 => select(&PATHS[..]).prop_map(|path| format!("Path={path}")),
        1 => select(vec!["Path", "path=x", "Domain", "Secure=no", "HttpOnly", "x", "", "Partitioned"]).prop_map(str::to_owned),
        3 => Just("Secure".to_owned()),
        1 => same_site.prop_map(|value| format!("SameSite={value}")),
        1 => max_age.prop_map(|value| format!("Max-Age={value}")),
        1 => select(vec![DATES[0].0, DATES[1].0, "never"]).prop_map(|date| format!("Expires={date}")),
    ];
    (
        name,
        value,
        vec(attribute, 0..4),
        select(vec!["; ", ";", " ;\t"]),
    )
        .prop_map(|(name, value, attributes, divider)| {
            [vec![format!("{name}{value}")], attributes]
                .concat()
                .join(divider)
        })
}

/// A response by place and line, or a request, so many seconds after the one before.
fn steps() -> impl Strategy<Value = Vec<(Place, Option<String>, u64)>> {
    vec(
        (
            places(),
            proptest::option::weighted(0.7, lines()),
            select(vec![0u64, 0, 0, 1, 29, 61]),
        ),
        0..24,
    )
}

/// The changes of a life: responses, and what an owner does.
fn deltas(steps: &[(Place, Option<String>, u64)]) -> (Jar, Vec<CookieDelta>) {
    let mut jar = Jar::default();
    let deltas = steps
        .iter()
        .map(|(place, line, _)| match line {
            Some(line) => jar.receive(&cookie_url(place), [line.as_bytes()], NOW),
            None => jar.clear(NOW),
        })
        .collect();
    (jar, deltas)
}

fn joined(deltas: &[CookieDelta]) -> CookieDelta {
    deltas
        .iter()
        .cloned()
        .fold(CookieDelta::default(), CookieDelta::then)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_jar_sends_what_the_model_sends(steps in steps()) {
        let (mut jar, mut model, mut now) = (Jar::default(), Model::default(), NOW);
        for (place, line, seconds) in steps {
            now = now + Duration::from_secs(seconds);
            let url = cookie_url(&place);
            if let Some(line) = line {
                jar.receive(&url, [line.as_bytes()], now);
                model.receive(&url, &line, now);
                prop_assert_eq!(jar.live(now).count(), model.len(), "after {} from {:?}", line, url);
            }
            prop_assert_eq!(header(&mut jar, &url, &[], now), model.cookie_string(&url, now), "to {:?}", url);
        }
        for host in HOSTS {
            for path in PATHS {
                let url = CookieUrl { secure: true, host, path };
                prop_assert_eq!(header(&mut jar, &url, &[], now), model.cookie_string(&url, now), "to {:?}", url);
            }
        }
    }

    #[test]
    fn deltas_merge_associatively(steps in steps(), one: prop::sample::Index, two: prop::sample::Index) {
        let (jar, deltas) = deltas(&steps);
        let (one, two) = (one.index(deltas.len() + 1), two.index(deltas.len() + 1));
        let (one, two) = (one.min(two), one.max(two));
        let [a, b, c] = [&deltas[..one], &deltas[one..two], &deltas[two..]].map(joined);
        let left = a.clone().then(b.clone()).then(c.clone());
        prop_assert_eq!(&left, &a.clone().then(b.clone().then(c.clone())));
        let (mut at_once, mut by_and_by) = (Jar::default(), Jar::default());
        at_once.apply(&left);
        for delta in [&a, &b, &c] {
            by_and_by.apply(delta);
        }
        prop_assert_eq!(&at_once, &by_and_by);
        prop_assert_eq!(&at_once, &jar);
        let json = serde_json::to_string(&left).unwrap();
        prop_assert_eq!(serde_json::from_str::<CookieDelta>(&json).unwrap(), left);
    }

    #[test]
    fn two_processes_that_exchange_deltas_hold_the_same_cookies(steps in vec((places(), lines(), any::<bool>()), 0..16)) {
        let (mut one, mut other, mut store) = (Jar::default(), Jar::default(), Jar::default());
        for (place, line, first) in steps {
            let (here, there) = if first { (&mut one, &mut other) } else { (&mut other, &mut one) };
            let delta = here.receive(&cookie_url(&place), [line.as_bytes()], NOW);
            there.apply(&delta);
            store.apply(&delta);
        }
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(&one, &store);
    }

    #[test]
    fn the_memo_answers_as_a_fresh_jar_would(steps in steps()) {
        let (mut jar, mut now) = (Jar::default(), NOW);
        for (place, line, seconds) in steps {
            now = now + Duration::from_secs(seconds);
            let url = cookie_url(&place);
            if let Some(line) = line {
                jar.receive(&url, [line.as_bytes()], now);
            }
            let fresh = header(&mut jar.clone(), &url, &[], now);
            prop_assert_eq!(header(&mut jar, &url, &[], now), fresh);
        }
    }

    #[test]
    fn the_stored_form_reads_back(steps in steps()) {
        let (jar, _) = deltas(&steps);
        let json = serde_json::to_string(&jar).unwrap();
        prop_assert_eq!(serde_json::from_str::<Jar>(&json).unwrap(), jar);
    }

    #[test]
    fn arbitrary_octets_never_panic(line: Vec<u8>, client in vec(any::<Vec<u8>>(), 0..3), place in places()) {
        let url = cookie_url(&place);
        let mut jar = Jar::default();
        jar.receive(&url, [&line[..], b"a=1", b"a=2"], NOW);
        let sent = jar.header_for(&url, client.iter().map(Vec::as_slice), NOW);
        if let Some(sent) = sent {
            prop_assert!(http::HeaderValue::from_bytes(sent.as_bytes()).is_ok());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn limits_are_never_exceeded(names in vec((0..40u16, 0..400u16, any::<bool>()), 0..4000)) {
        let mut jar = Jar::default();
        for (site, name, secure) in names {
            let host = format!("h{}.site{site}.example", name % 7);
            let line = format!("{name}=1{}", if secure { "; Secure" } else { "" });
            jar.receive(&CookieUrl { secure: true, host: &host, path: "/" }, [line.as_bytes()], NOW);
            prop_assert!(jar.len() <= MAX_OF_SESSION);
        }
        for site in 0..40 {
            let ending = format!(".site{site}.example");
            prop_assert!(jar.iter().filter(|cookie| cookie.domain().ends_with(&ending)).count() <= MAX_OF_SITE);
        }
    }
}
