//! `CONNECT` tunnels: TLS intercepted, HTTP read, anything else relayed.

use http::Version;

use crate::support::problem::assert_fault;
use crate::support::{Burdock, Origin, Reply, tls, within};

#[tokio::test]
async fn tls_in_a_tunnel_is_intercepted_with_http_1_1_and_h2() {
    let old = Origin::tls("old.example")
        .respond(|_| Reply::text("old"))
        .start()
        .await;
    let new = Origin::h2("new.example")
        .respond(|_| Reply::text("new"))
        .start()
        .await;
    let burdock = Burdock::before(&[&old, &new]).await;
    for (origin, wanted) in [(&old, "old"), (&new, "new")] {
        for (mut client, version) in [
            (burdock.client(), Version::HTTP_11),
            (burdock.client().http2(), Version::HTTP_2),
        ] {
            let answer = client.get(&origin.url("/x?y=z")).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, wanted));
            assert_eq!(answer.version, version);
            assert_eq!(origin.last().target, "/x?y=z");
            assert_eq!(
                origin.last().h2,
                wanted == "new",
                "the origin's protocol is the origin's choice"
            );
        }
    }
}

#[tokio::test]
async fn alpn_offers_h2_and_http_1_1() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let (_, alpn) = burdock
        .client()
        .http2()
        .tls_tunnel("shop.example:443")
        .await;
    assert_eq!(alpn.as_deref(), Some("h2"));
    let (_, alpn) = burdock.client().tls_tunnel("shop.example:443").await;
    assert_eq!(alpn.as_deref(), Some("http/1.1"));
}

#[tokio::test]
async fn an_h2_origin_gets_the_authority_and_an_http_1_origin_the_host() {
    let old = Origin::tls("old.example").start().await;
    let new = Origin::h2("new.example").start().await;
    let burdock = Burdock::before(&[&old, &new]).await;
    burdock.client().http2().get("https://old.example/").await;
    assert_eq!(old.last().field("host"), Some("old.example"));
    burdock.client().get("https://new.example/").await;
    assert_eq!(new.last().field(":authority"), Some("new.example"));
    assert_eq!(new.last().field("host"), None);
}

#[tokio::test]
async fn a_tunnel_to_an_address_gets_a_certificate_for_the_address() {
    let shop = Origin::tls("127.0.0.1")
        .respond(|_| Reply::text("by address"))
        .start()
        .await;
    let burdock = Burdock::new().start().await;
    let answer = burdock
        .client()
        .get(&format!("https://{}/", shop.address()))
        .await;
    assert_eq!(answer.text(), "by address");
}

#[tokio::test]
async fn plain_http_in_a_tunnel_is_handled_as_http() {
    let shop = Origin::plain("shop.example")
        .respond(|_| Reply::text("hello").cookie("sid=1"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = burdock
        .client()
        .tunnel_session("a")
        .tunnel("shop.example:80")
        .await;
    for _ in 0..2 {
        wire.send("GET /p HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        let answer = wire.answer().await;
        assert_eq!(answer.body, b"hello");
        assert_eq!(answer.head.field("x-session-id"), Some("a"));
    }
    let cookies: Vec<_> = shop
        .requests()
        .iter()
        .map(|seen| seen.cookie().to_owned())
        .collect();
    assert_eq!(cookies, ["", "sid=1"]);
    assert_eq!(shop.last().target, "/p");
}

#[tokio::test]
async fn anything_else_in_a_tunnel_is_relayed_untouched() {
    let echo = Origin::tcp("echo.example", |mut wire| async move {
        let hello = wire.take(6).await;
        wire.send([b"<", hello.as_slice(), b">"].concat()).await;
        let rest = wire.rest().await;
        wire.send(rest).await;
        wire.finish().await;
    })
    .await;
    let burdock = Burdock::before(&[&echo]).await;
    let mut wire = burdock.client().tunnel(&echo.authority()).await;
    wire.send(b"\x00\x01\xff\xfe\r\n").await;
    assert_eq!(wire.take(8).await, b"<\x00\x01\xff\xfe\r\n>");
    // Each direction ends by itself: what comes after the client's end still arrives.
    wire.send(b"last words").await;
    wire.finish().await;
    assert_eq!(wire.rest().await, b"last words");
}

#[tokio::test]
async fn a_server_that_speaks_first_is_relayed() {
    let mail = Origin::tcp("mail.example", |mut wire| async move {
        wire.send("220 mail.example ESMTP\r\n").await;
        let line = wire.until(b"\r\n").await;
        wire.send([b"250 ", line.as_slice()].concat()).await;
    })
    .await;
    let burdock = Burdock::before(&[&mail]).await;
    let mut wire = burdock.client().tunnel(&mail.authority()).await;
    assert_eq!(wire.until(b"\r\n").await, b"220 mail.example ESMTP\r\n");
    // Words that look like HTTP are the origin's business by now.
    wire.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(wire.until(b"\r\n").await, b"250 GET / HTTP/1.1\r\n");
}

#[tokio::test]
async fn a_client_that_sends_its_first_bytes_one_by_one_is_understood() {
    let shop = Origin::plain("shop.example")
        .respond(|_| Reply::text("patient"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = burdock.client().tunnel("shop.example:80").await;
    for byte in b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n" {
        wire.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(wire.answer().await.body, b"patient");
}

#[tokio::test]
async fn the_first_bytes_may_come_with_the_connect() {
    let shop = Origin::plain("shop.example")
        .respond(|_| Reply::text("eager"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = crate::support::Raw::connect(burdock.proxy).await;
    wire.send(
        "CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example:80\r\n\r\n\
         GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer_to("CONNECT").await.head.status(), 200);
    assert_eq!(wire.answer().await.body, b"eager");
}

#[tokio::test]
async fn hosts_in_passthrough_are_not_intercepted() {
    let bank = Origin::tls("www.bank.example")
        .respond(|_| Reply::text("private"))
        .start()
        .await;
    let burdock = Burdock::new()
        .connect_to(&bank)
        .config("tls.passthrough = ['*.bank.example']")
        .start()
        .await;
    // Only the origin's own authority is trusted: burdock's certificate would be refused.
    let mut client = crate::support::Client::new(burdock.proxy, &tls::TRUSTED.pem())
        .session("a")
        .tunnel_session("a");
    let answer = client.get("https://www.bank.example/").await;
    assert_eq!(answer.text(), "private");
    assert_eq!(
        bank.last().field("x-session-id"),
        Some("a"),
        "nothing in the tunnel is read"
    );
}

#[tokio::test]
async fn a_request_for_another_host_than_the_tunnels_is_421() {
    let shop = Origin::h2("shop.example").start().await;
    let bank = Origin::h2("bank.example").start().await;
    let burdock = Burdock::before(&[&shop, &bank]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    wire.send("GET / HTTP/1.1\r\nHost: bank.example\r\n\r\n")
        .await;
    assert_fault(&wire.answer().await.into(), "misdirected", 421);
    let mut client = burdock.client().http2();
    client.get("https://shop.example/").await;
    client.reuse_tunnel("shop.example:443", "bank.example:443");
    assert_fault(
        &client.get("https://bank.example/").await,
        "misdirected",
        421,
    );
    assert_eq!(bank.requests().len(), 0);
}

#[tokio::test]
async fn the_tunnels_port_and_case_are_no_difference_of_hosts() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    for host in ["shop.example", "shop.example:443", "SHOP.Example"] {
        wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(wire.answer().await.head.status(), 200, "{host}");
    }
    wire.send("GET / HTTP/1.1\r\nHost: shop.example:444\r\n\r\n")
        .await;
    assert_fault(&wire.answer().await.into(), "misdirected", 421);
}

#[tokio::test]
async fn a_websocket_upgrade_passes() {
    let chat = Origin::tls("chat.example")
        .respond(|_| {
            Reply::wire(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: seat=4\r\n\r\n",
            )
            .then_echo()
        })
        .start()
        .await;
    let plain = Origin::plain("chat.example")
        .respond(|_| {
            Reply::wire("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                .then_echo()
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&chat, &plain]).await;
    let upgrade = "Host: chat.example\r\nX-Session-ID: w\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (tls, _) = burdock.client().tls_tunnel("chat.example:443").await;
    let absolute = crate::support::Raw::connect(burdock.proxy).await;
    let tunnelled = burdock.client().tunnel("chat.example:80").await;
    for (mut wire, target, origin) in [
        (tls, "/", &chat),
        (absolute, "http://chat.example/", &plain),
        (tunnelled, "/", &plain),
    ] {
        wire.send(format!("GET {target} HTTP/1.1\r\n{upgrade}"))
            .await;
        let answer = wire.answer().await;
        assert_eq!(answer.head.status(), 101);
        assert_eq!(answer.head.field("upgrade"), Some("websocket"));
        assert_eq!(answer.head.field("x-session-id"), Some("w"));
        wire.send(b"\x81\x05hello").await;
        assert_eq!(wire.take(7).await, b"\x81\x05hello");
        // What would be refused in HTTP is a frame like any other here.
        wire.send(b"\x82\x05a\n\0\n\n").await;
        assert_eq!(wire.take(7).await, b"\x82\x05a\n\0\n\n");
        let seen = origin.last();
        assert_eq!(seen.field("upgrade"), Some("websocket"));
        assert!(
            seen.field("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
        );
        assert_eq!(
            seen.field("sec-websocket-key"),
            Some("dGhlIHNhbXBsZSBub25jZQ==")
        );
        wire.finish().await;
        wire.closed().await;
    }
    let session = burdock.session("w").await;
    assert_eq!(session["cookieCount"], 1, "a cookie set by a 101 is kept");
}

#[tokio::test]
async fn an_upgrade_that_the_origin_refuses_is_an_ordinary_response() {
    let chat = Origin::tls("chat.example")
        .respond(|_| Reply::status(403))
        .start()
        .await;
    let burdock = Burdock::before(&[&chat]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("chat.example:443").await;
    wire.send(
        "GET / HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.head.status(), 403);
    wire.send("GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.head.status(), 403);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_at_the_origin() {
    let (told, left) = tokio::sync::oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let slow = Origin::tcp("slow.example", move |mut wire| {
        let told = told.lock().expect("no holder panics").take();
        async move {
            wire.head().await;
            wire.rest().await;
            if let Some(told) = told {
                let _ = told.send(());
            }
        }
    })
    .await;
    let burdock = Burdock::before(&[&slow]).await;
    let mut wire = crate::support::Raw::connect(burdock.proxy).await;
    wire.send("GET http://slow.example/ HTTP/1.1\r\nHost: slow.example\r\n\r\n")
        .await;
    crate::support::eventually("the origin's connection", async || {
        (slow.connections() > 0).then_some(())
    })
    .await;
    drop(wire);
    within("the origin sees the end", left).await.expect("told");
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_ca_is_named_in_the_log_with_the_remedy() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let tunnel = burdock.client().tunnel("shop.example:443").await;
    let trusts = tls::client(&tls::UNTRUSTED.pem(), &["http/1.1"]);
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(trusts));
    let name = rustls::pki_types::ServerName::try_from("shop.example").expect("a name");
    let refused = connector.connect(name, tunnel.into_stream()).await;
    assert!(
        refused.is_err(),
        "nobody vouches for burdock's certificate here"
    );
    burdock.logged("the client rejects our certificate").await;
    let log = burdock.log();
    let line = log.lines().find(|line| line.contains("rejects our"));
    let line = line.expect("it was logged");
    for part in [
        "shop.example:443",
        "127.0.0.1:",
        "burdock-ca.pem",
        "tls.passthrough",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
