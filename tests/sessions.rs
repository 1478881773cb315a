//! Sessions: how a request names one, and how long it lives.

use std::time::{Duration, Instant};

use crate::support::client::{basic, request};
use crate::support::problem::assert_fault;
use crate::support::{Answer, Burdock, Client, Origin, Raw, Reply, eventually};

async fn shop() -> Origin {
    Origin::tls("shop.example").start().await
}

async fn named(mut client: Client) -> Answer {
    client.get("https://shop.example/").await
}

/// Sends raw fields to a plain origin and tells which session the response names.
async fn raw(burdock: &Burdock, fields: &str) -> Answer {
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send(format!(
        "GET http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n{fields}\r\n"
    ))
    .await;
    wire.answer().await.into()
}

#[tokio::test]
async fn the_first_carrier_that_is_present_names_the_session() {
    let shop = shop().await;
    let burdock = Burdock::before(&[&shop]).await;
    let all = burdock
        .client()
        .session("inner")
        .tunnel_session("outer")
        .credentials("user", "x");
    assert_eq!(named(all).await.field("x-session-id"), Some("inner"));
    let two = burdock
        .client()
        .tunnel_session("outer")
        .credentials("user", "x");
    assert_eq!(named(two).await.field("x-session-id"), Some("outer"));
    assert_eq!(
        named(burdock.client().credentials("user", ""))
            .await
            .field("x-session-id"),
        Some("user")
    );
    assert_eq!(named(burdock.client()).await.field("x-session-id"), None);
}

#[tokio::test]
async fn a_request_in_a_tunnel_may_name_another_session_than_its_tunnel() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::text("").cookie("sid=1"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.client().tunnel_session("outer");
    assert_eq!(
        client
            .get("https://shop.example/")
            .await
            .field("x-session-id"),
        Some("outer")
    );
    let inner = request("GET", "https://shop.example/").header("x-session-id", "inner");
    let answer = client
        .send(inner.body("".into()).expect("a valid request"))
        .await;
    assert_eq!(answer.field("x-session-id"), Some("inner"));
    assert_eq!(
        shop.last().cookie(),
        "",
        "the cookie is the outer session's"
    );
    assert_eq!(
        client
            .get("https://shop.example/")
            .await
            .field("x-session-id"),
        Some("outer")
    );
    assert_eq!(shop.last().cookie(), "sid=1");
}

#[tokio::test]
async fn user_names_with_a_vendors_prefix_are_read_as_key_value_tokens() {
    let plain = Origin::plain("plain.example").start().await;
    let burdock = Burdock::before(&[&plain]).await;
    for (user, wanted) in [
        ("a", Some("a")),
        ("shop-session-1", Some("shop-session-1")),
        ("session-a", Some("a")),
        ("session-a-country-de", Some("a")),
        ("sessid-b", Some("b")),
        ("user-x-session-c-ttl-600", Some("c")),
        ("user-x-sessid-c2", Some("c2")),
        ("customer-acme-cc-us-sessid-d-sesstime-10", Some("d")),
        ("user-only", None),
        ("customer-acme-cc-us", None),
        ("a.b_c~d-E9", Some("a.b_c~d-E9")),
    ] {
        let answer = raw(
            &burdock,
            &format!("Proxy-Authorization: {}\r\n", basic(user, "x")),
        )
        .await;
        assert_eq!(
            (answer.status, answer.field("x-session-id")),
            (200, wanted),
            "{user}"
        );
    }
}

#[tokio::test]
async fn a_user_names_ttl_applies_when_the_session_is_created_and_at_most_max_ttl() {
    let plain = Origin::plain("plain.example").start().await;
    let burdock = Burdock::new()
        .connect_to(&plain)
        .config("sessions.max_ttl = '2h'")
        .start()
        .await;
    for (user, id, ttl) in [
        ("session-s-ttl-600", "s", 600),
        ("session-m-sesstime-10", "m", 600),
        ("session-l-lifetime-3", "l", 180),
        ("session-huge-ttl-99999999", "huge", 7200),
        ("session-s-ttl-60", "s", 600),
        ("session-plain", "plain", 1800),
    ] {
        raw(
            &burdock,
            &format!("Proxy-Authorization: {}\r\n", basic(user, "x")),
        )
        .await;
        assert_eq!(burdock.session(id).await["ttl"], ttl, "{user}");
    }
}

#[tokio::test]
async fn an_invalid_id_is_400_and_reaches_no_origin() {
    let plain = Origin::plain("plain.example").start().await;
    let burdock = Burdock::before(&[&plain]).await;
    let long = "x".repeat(129);
    for id in [
        "",
        "a b",
        "a/b",
        "a,b",
        "\u{fc}",
        "a;b",
        "a%41",
        "a:b",
        long.as_str(),
    ] {
        assert_fault(
            &raw(&burdock, &format!("X-Session-ID: {id}\r\n")).await,
            "bad-request",
            400,
        );
    }
    for user in ["a b", "a/b", long.as_str(), "session-a/b"] {
        let answer = raw(
            &burdock,
            &format!("Proxy-Authorization: {}\r\n", basic(user, "")),
        )
        .await;
        assert_fault(&answer, "bad-request", 400);
    }
    assert_eq!(plain.requests().len(), 0);
    let longest = "x".repeat(128);
    assert_eq!(
        raw(&burdock, &format!("X-Session-ID: {longest}\r\n"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn two_different_ids_are_400_and_the_same_one_twice_is_one() {
    let plain = Origin::plain("plain.example").start().await;
    let burdock = Burdock::before(&[&plain]).await;
    let conflict = raw(&burdock, "X-Session-ID: a\r\nX-Session-ID: b\r\n").await;
    assert_fault(&conflict, "bad-request", 400);
    let twice = raw(&burdock, "X-Session-ID: a\r\nX-Session-ID: a\r\n").await;
    assert_eq!(
        (twice.status, twice.field("x-session-id")),
        (200, Some("a"))
    );
}

#[tokio::test]
async fn a_connect_with_an_invalid_id_is_400() {
    let burdock = Burdock::new().start().await;
    let (answer, _) = burdock
        .client()
        .tunnel_session("not valid")
        .connect("shop.example:443")
        .await;
    assert_fault(&answer.into(), "bad-request", 400);
}

#[tokio::test]
async fn the_session_header_names_no_session_where_it_is_not_trusted() {
    let shop = shop().await;
    let config = "proxy.trust_session_header = false";
    let burdock = Burdock::new()
        .connect_to(&shop)
        .config(config)
        .start()
        .await;
    let answer = named(
        burdock
            .client()
            .session("inner")
            .tunnel_session("outer")
            .credentials("user", "x"),
    )
    .await;
    assert_eq!(answer.field("x-session-id"), Some("user"));
    assert_eq!(
        shop.last().field("x-session-id"),
        None,
        "and it still never leaves"
    );
}

#[tokio::test]
async fn no_session_is_anonymous_or_refused_as_configured() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::text("").cookie("sid=1"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.client();
    client.get("https://shop.example/").await;
    client.get("https://shop.example/").await;
    assert_eq!(shop.last().cookie(), "", "an anonymous request has no jar");
    let config = "sessions.on_missing = 'reject'";
    let strict = Burdock::new()
        .connect_to(&shop)
        .config(config)
        .start()
        .await;
    assert_fault(&named(strict.client()).await, "session-required", 400);
    assert_eq!(named(strict.visitor("a")).await.status, 200);
}

#[tokio::test]
async fn an_unknown_session_is_created_or_refused_as_configured() {
    let shop = shop().await;
    let config = "sessions.on_unknown = 'reject'";
    let burdock = Burdock::new()
        .connect_to(&shop)
        .config(config)
        .start()
        .await;
    assert_fault(&named(burdock.visitor("a")).await, "unknown-session", 404);
    assert_eq!(
        burdock
            .api("POST", "/api/v1/sessions", r#"{"id":"a"}"#)
            .await
            .status,
        201
    );
    assert_eq!(named(burdock.visitor("a")).await.status, 200);
}

#[tokio::test]
async fn using_a_session_moves_its_expiry() {
    let shop = shop().await;
    let burdock = Burdock::before(&[&shop]).await;
    named(burdock.visitor("a")).await;
    let first = burdock.session("a").await;
    let later = eventually("a later expiry", async || {
        named(burdock.visitor("a")).await;
        let now = burdock.session("a").await;
        (now["expiresAt"].as_str() > first["expiresAt"].as_str()).then_some(now)
    })
    .await;
    assert_eq!(later["createdAt"], first["createdAt"]);
    assert_eq!(later["ttl"], 1800);
}

#[tokio::test]
async fn an_expired_session_is_gone_from_every_call_the_moment_it_expires() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::text("").cookie("sid=1"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    burdock
        .api("POST", "/api/v1/sessions", r#"{"id":"a","ttl":1}"#)
        .await;
    named(burdock.visitor("a")).await;
    let used = Instant::now();
    eventually("the session's end", async || {
        (burdock.api("GET", "/api/v1/sessions/a", "").await.status == 404).then_some(())
    })
    .await;
    assert!(
        used.elapsed() > Duration::from_millis(900),
        "it lived for {:?}",
        used.elapsed()
    );
    assert_eq!(
        burdock.api("GET", "/api/v1/sessions", "").await.json()["sessions"],
        serde_json::json!([])
    );
    named(burdock.visitor("a")).await;
    assert_eq!(
        shop.last().cookie(),
        "",
        "the same id is another session by now"
    );
}

#[tokio::test]
async fn max_age_ends_a_session_however_often_it_is_used() {
    let shop = shop().await;
    let burdock = Burdock::new()
        .connect_to(&shop)
        .config("sessions.on_unknown = 'reject'")
        .start()
        .await;
    burdock
        .api(
            "POST",
            "/api/v1/sessions",
            r#"{"id":"a","ttl":600,"maxAge":1}"#,
        )
        .await;
    eventually("the session's end", async || {
        (named(burdock.visitor("a")).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn more_sessions_than_allowed_are_refused_and_none_is_dropped() {
    let shop = shop().await;
    let config = "sessions.max_active_sessions = 2";
    let burdock = Burdock::new()
        .connect_to(&shop)
        .config(config)
        .start()
        .await;
    named(burdock.visitor("a")).await;
    named(burdock.visitor("b")).await;
    let refused = named(burdock.visitor("c")).await;
    assert_fault(&refused, "too-many-sessions", 503);
    assert!(refused.field("retry-after").is_some(), "{refused:?}");
    let refused = burdock.api("POST", "/api/v1/sessions", "").await;
    assert_eq!(
        (refused.status, refused.json()["type"].as_str()),
        (503, Some("urn:burdock:error:too-many-sessions"))
    );
    for id in ["a", "b"] {
        assert_eq!(named(burdock.visitor(id)).await.status, 200);
    }
    assert_eq!(
        burdock.api("DELETE", "/api/v1/sessions/a", "").await.status,
        204
    );
    assert_eq!(named(burdock.visitor("c")).await.status, 200);
}

#[tokio::test]
async fn the_sessions_user_agent_replaces_the_clients() {
    let shop = shop().await;
    let fast = Origin::h2("fast.example").start().await;
    let burdock = Burdock::before(&[&shop, &fast]).await;
    burdock
        .api(
            "POST",
            "/api/v1/sessions",
            r#"{"id":"a","browser":{"userAgent":"Custom Agent"}}"#,
        )
        .await;
    for (origin, id, wanted) in [
        (&shop, "a", "Custom Agent"),
        (&fast, "a", "Custom Agent"),
        (&shop, "b", "curl/8"),
    ] {
        burdock
            .visitor(id)
            .with("User-Agent", "curl/8")
            .get(&origin.url("/"))
            .await;
        assert_eq!(origin.last().head.fields("user-agent"), [wanted]);
    }
    burdock.visitor("a").get("https://shop.example/").await;
    assert_eq!(
        shop.last().field("user-agent"),
        Some("Custom Agent"),
        "also where the client sent none"
    );
    let off = Burdock::new()
        .connect_to(&shop)
        .config("sessions.apply_user_agent = false")
        .start()
        .await;
    off.api(
        "POST",
        "/api/v1/sessions",
        r#"{"id":"a","browser":{"userAgent":"Custom Agent"}}"#,
    )
    .await;
    off.visitor("a")
        .with("User-Agent", "curl/8")
        .get("https://shop.example/")
        .await;
    assert_eq!(shop.last().field("user-agent"), Some("curl/8"));
}

#[tokio::test]
async fn the_sessions_headers_are_added_where_the_client_sent_none_of_that_name() {
    let shop = shop().await;
    let burdock = Burdock::before(&[&shop]).await;
    let session = r#"{"id":"a","headers":{"Accept-Language":"de","X-Tag":"mine"}}"#;
    assert_eq!(
        burdock
            .api("POST", "/api/v1/sessions", session)
            .await
            .status,
        201
    );
    burdock
        .visitor("a")
        .with("accept-language", "fr")
        .get("https://shop.example/")
        .await;
    let seen = shop.last();
    assert_eq!(seen.head.fields("accept-language"), ["fr"]);
    assert_eq!(seen.head.fields("x-tag"), ["mine"]);
    assert!(
        seen.head.names().contains(&"X-Tag"),
        "in the case it was given: {:?}",
        seen.head.names()
    );
}

#[tokio::test]
async fn a_late_response_of_a_deleted_session_writes_nothing_into_its_successor() {
    let gate = crate::support::Gate::closed();
    let late = Reply::text("").cookie("old=1").after(&gate);
    let shop = Origin::tls("shop.example").on("/late", late).start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    let request = tokio::spawn(async move { client.get("https://shop.example/late").await });
    shop.seen(1).await;
    assert_eq!(
        burdock.api("DELETE", "/api/v1/sessions/a", "").await.status,
        204
    );
    named(burdock.visitor("a")).await;
    gate.let_pass(1);
    let answer = request.await.expect("it ends");
    assert_eq!(
        answer.status, 200,
        "a request admitted before ends normally"
    );
    assert_eq!(burdock.session("a").await["cookieCount"], 0);
    named(burdock.visitor("a")).await;
    assert_eq!(shop.last().cookie(), "");
}

#[tokio::test]
async fn a_deleted_session_loses_its_connections() {
    let shop = shop().await;
    let burdock = Burdock::before(&[&shop]).await;
    named(burdock.visitor("a")).await;
    burdock.api("DELETE", "/api/v1/sessions/a", "").await;
    named(burdock.visitor("a")).await;
    let seen = shop.requests();
    assert_eq!(
        (seen[1].connection, seen[1].resumes),
        (1, None),
        "a new connection, and no ticket of the old one"
    );
}
