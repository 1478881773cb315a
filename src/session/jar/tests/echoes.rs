//! The client's own cookies beside the session's, stale echoes included.

use std::time::Duration;

use super::super::{Cookie, CookieFilter, CookieParts, CookieUrl, Jar};
use super::{NOW, SHOP, header, jar_with};

#[test]
fn the_client_wins_for_its_names_and_keeps_its_order() {
    for (session, client, wanted) in [
        (&["a=1", "b=2"][..], &[][..], "a=1; b=2"),
        (&["a=1", "b=2"], &["a=x"], "b=2; a=x"),
        (&["a=1", "b=2"], &["c=3"], "a=1; b=2; c=3"),
        (&["a=1", "b=2"], &["c=3; b=x", "a=y"], "c=3; b=x; a=y"),
        (&["a=1", "b=2"], &["b=2"], "a=1; b=2"),
        (&["a=1", "a=2; Path=/"], &["a=x; a=y"], "a=x; a=y"),
        (&["a=1", "a=2; Domain=shop.example"], &["a=x"], "a=x"),
        (&["A=1"], &["a=x"], "A=1; a=x"),
        (&["a=1"], &["a"], "a=1; a"),
        (&["nameless"], &["nameless"], "nameless; nameless"),
        (&["nameless"], &["=x"], "=x"),
        (&["a=1"], &[" b = 2 ;; c"], "a=1; b = 2; c"),
        (&["a=1"], &[""], "a=1"),
        (&["a=1"], &["\"b;c\"=d"], "a=1; \"b; c\"=d"),
        (&["a=1; Path=/other"], &["a=x ;b"], "a=x ;b"),
    ] {
        let mut jar = jar_with(session);
        assert_eq!(
            header(&mut jar, &SHOP, client, NOW),
            wanted,
            "{session:?} {client:?}"
        );
    }
}

#[test]
fn with_nothing_of_ours_the_client_s_octets_pass_unharmed() {
    let lines: [&[u8]; 3] = [b"  a=1;;b ", b"\xff=\xfe;", b""];
    let joined = b"  a=1;;b ; \xff=\xfe;; ";
    let other = CookieUrl {
        host: "other.example",
        ..SHOP
    };
    let mut stale = jar_with(&["a=1", "a=2"]);
    for jar in [&mut Jar::default(), &mut jar_with(&["a=1"]), &mut stale] {
        assert_eq!(
            jar.header_for(&other, lines, NOW).unwrap().as_bytes(),
            joined
        );
    }
    assert_eq!(
        Jar::default().header_for(&SHOP, [&b""[..]], NOW).unwrap(),
        ""
    );
    assert_eq!(Jar::default().header_for(&SHOP, [], NOW), None);
}

#[test]
fn what_cannot_be_a_field_value_leaves_the_session_s_own() {
    let mut jar = jar_with(&["a=1"]);
    assert_eq!(jar.header_for(&SHOP, [&b"b=\n"[..]], NOW).unwrap(), "a=1");
    assert_eq!(Jar::default().header_for(&SHOP, [&b"b=\n"[..]], NOW), None);
}

#[test]
fn a_replaced_value_loses_to_the_present_one() {
    let mut jar = jar_with(&["sid=1", "sid=2", "sid=3"]);
    assert_eq!(header(&mut jar, &SHOP, &["sid=1"], NOW), "sid=3");
    assert_eq!(
        header(&mut jar, &SHOP, &["x=y; sid=2; z"], NOW),
        "sid=3; x=y; z"
    );
    assert_eq!(header(&mut jar, &SHOP, &["sid=3"], NOW), "sid=3");
    assert_eq!(header(&mut jar, &SHOP, &["sid=mine"], NOW), "sid=mine");
    assert_eq!(
        header(&mut jar, &SHOP, &["sid=1; sid=mine"], NOW),
        "sid=mine"
    );
    assert_eq!(header(&mut jar, &SHOP, &["other=1"], NOW), "sid=3; other=1");
}

#[test]
fn a_deleted_value_is_dropped() {
    let mut jar = jar_with(&["sid=1", "sid=; Max-Age=0"]);
    assert_eq!(header(&mut jar, &SHOP, &["sid=1"], NOW), "");
    assert_eq!(jar.header_for(&SHOP, [&b"sid=1"[..]], NOW), None);
    assert_eq!(header(&mut jar, &SHOP, &["a=1; sid=1; b"], NOW), "a=1; b");
}

#[test]
fn the_owner_s_changes_make_values_stale_too() {
    let filter = CookieFilter {
        name: Some("sid".to_owned()),
        ..CookieFilter::default()
    };
    let mut removed = jar_with(&["sid=1"]);
    removed.remove_where(&filter, NOW);
    let mut cleared = jar_with(&["sid=1"]);
    cleared.clear(NOW);
    for jar in [&mut removed, &mut cleared] {
        assert_eq!(header(jar, &SHOP, &["sid=1"], NOW), "");
    }
    let mut put = jar_with(&["sid=1"]);
    let parts = CookieParts {
        value: b"2"[..].into(),
        ..put.live(NOW).next().unwrap().to_parts()
    };
    put.put(vec![Cookie::new(parts).unwrap()], NOW);
    assert_eq!(header(&mut put, &SHOP, &["sid=1"], NOW), "sid=2");
}

#[test]
fn a_value_set_again_is_no_longer_stale() {
    let mut jar = jar_with(&["sid=1", "sid=2", "sid=1; Max-Age=60"]);
    assert_eq!(header(&mut jar, &SHOP, &["sid=1"], NOW), "sid=1");
    assert_eq!(header(&mut jar, &SHOP, &["sid=2"], NOW), "sid=1");
    let later = NOW + Duration::from_mins(1);
    assert_eq!(
        header(&mut jar, &SHOP, &["sid=1"], later),
        "sid=1",
        "expiry alone makes nothing stale"
    );
}

#[test]
fn a_value_that_another_path_still_has_is_not_stale() {
    let mut jar = jar_with(&[
        "sid=1; Path=/a",
        "sid=1; Path=/b",
        "sid=; Path=/a; Max-Age=0",
    ]);
    assert_eq!(header(&mut jar, &SHOP, &["sid=1"], NOW), "sid=1");
}

#[test]
fn expiry_and_eviction_make_nothing_stale() {
    let mut jar = jar_with(&["sid=1; Max-Age=10"]);
    let later = NOW + Duration::from_secs(10);
    assert_eq!(header(&mut jar, &SHOP, &["sid=1"], later), "sid=1");
    jar.receive(&SHOP, [&b"sid=2"[..]], later);
    assert_eq!(header(&mut jar, &SHOP, &["sid=1"], later), "sid=1");

    let mut jar = jar_with(&["sid=1"]);
    for index in 0..180 {
        jar.receive(&SHOP, [format!("c{index}=1; Secure").as_bytes()], NOW);
    }
    assert!(jar.iter().all(|cookie| cookie.name().as_bytes() != b"sid"));
    assert!(header(&mut jar, &SHOP, &["sid=1"], NOW).ends_with("; sid=1"));
}

#[test]
fn staleness_is_the_site_s_and_reaches_every_host_of_it() {
    let mut jar = jar_with(&["sid=1; Domain=shop.example", "sid=2; Domain=shop.example"]);
    let sibling = CookieUrl {
        host: "api.shop.example",
        ..SHOP
    };
    assert_eq!(header(&mut jar, &sibling, &["sid=1"], NOW), "sid=2");
    let other = CookieUrl {
        host: "other.example",
        ..SHOP
    };
    assert_eq!(header(&mut jar, &other, &["sid=1"], NOW), "sid=1");
}

#[test]
fn staleness_travels_in_deltas_and_in_the_stored_form() {
    let mut jar = Jar::default();
    let mut elsewhere = Jar::default();
    for line in [&b"sid=1"[..], b"sid=2"] {
        let delta = jar.receive(&SHOP, [line], NOW);
        let json = serde_json::to_string(&delta).unwrap();
        elsewhere.apply(&serde_json::from_str(&json).unwrap());
    }
    let mut stored: Jar = serde_json::from_str(&serde_json::to_string(&jar).unwrap()).unwrap();
    assert_eq!(stored, jar);
    for jar in [&mut elsewhere, &mut stored] {
        assert_eq!(header(jar, &SHOP, &["sid=1"], NOW), "sid=2");
    }
}
