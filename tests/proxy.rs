//! The proxy port: absolute-form requests, `CONNECT`, and what a destination may be.

use crate::support::client::request;
use crate::support::problem::{assert_fault, proxy_error};
use crate::support::{Burdock, Origin, Raw, Reply};

#[tokio::test]
async fn an_absolute_form_request_reaches_its_origin_in_origin_form() {
    let shop = Origin::plain("shop.example")
        .on("/a", Reply::text("from the shop"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = burdock
        .client()
        .get("http://shop.example/a?b=c%20d&e")
        .await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "from the shop")
    );
    let seen = shop.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/a?b=c%20d&e")
    );
    assert_eq!(seen.field("host"), Some("shop.example"));
}

#[tokio::test]
async fn a_path_and_query_reach_the_origin_byte_for_byte() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    for target in [
        "/",
        "/a//b/../c/./",
        "/%7Ea%2fB\"{|}?x=%00&y=%zz&z={|}",
        "/?",
        "/;a=b,c'()*!$&+=:@",
        "/?q=a/b?c",
    ] {
        let mut wire = Raw::connect(burdock.proxy).await;
        wire.send(format!(
            "GET http://shop.example{target} HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        ))
        .await;
        assert_eq!(wire.answer().await.head.status(), 200, "{target}");
        assert_eq!(shop.last().target, target);
    }
}

#[tokio::test]
async fn the_host_of_an_absolute_form_request_is_that_of_its_target() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send("GET http://shop.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.head.status(), 200);
    assert_eq!(shop.last().head.fields("host"), ["shop.example"]);
}

#[tokio::test]
async fn a_port_in_the_url_stays_in_the_host_field() {
    let shop = Origin::plain("shop.example").start().await;
    let route = format!("shop.example:8081:127.0.0.1:{}", shop.address().port());
    let burdock = Burdock::new()
        .config(&format!("upstream.connect_to = [{route:?}]"))
        .start()
        .await;
    let answer = burdock.client().get("http://shop.example:8081/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(shop.last().field("host"), Some("shop.example:8081"));
}

#[tokio::test]
async fn an_http_1_0_client_gets_its_response_and_the_end_of_the_connection() {
    let shop = Origin::plain("shop.example")
        .respond(|_| {
            Reply::wire("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n5\r\n days\r\n0\r\n\r\n")
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send("GET http://shop.example/ HTTP/1.0\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.field("transfer-encoding"),
        None,
        "HTTP/1.0 knows no chunks"
    );
    assert_eq!(wire.rest().await, b"old days");
}

#[tokio::test]
async fn a_client_keeps_its_connection_for_request_after_request_to_different_origins() {
    let shop = Origin::plain("shop.example")
        .respond(|_| Reply::text("shop"))
        .start()
        .await;
    let bank = Origin::plain("bank.example")
        .respond(|_| Reply::text("bank"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop, &bank]).await;
    let mut wire = Raw::connect(burdock.proxy).await;
    for (host, wanted) in [("shop", "shop"), ("bank", "bank"), ("shop", "shop")] {
        wire.send(format!(
            "GET http://{host}.example/ HTTP/1.1\r\nHost: {host}.example\r\n\r\n"
        ))
        .await;
        assert_eq!(wire.answer().await.body, wanted.as_bytes());
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let shop = Origin::plain("shop.example")
        .respond(|seen| Reply::text(seen.target.clone()))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = Raw::connect(burdock.proxy).await;
    let get = |path: &str| {
        format!("GET http://shop.example{path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
    };
    wire.send(get("/1") + &get("/2") + &get("/3")).await;
    for path in ["/1", "/2", "/3"] {
        assert_eq!(wire.answer().await.body, path.as_bytes());
    }
}

#[tokio::test]
async fn every_method_passes_with_its_body() {
    let shop = Origin::h2("shop.example").start().await;
    let plain = Origin::plain("plain.example").start().await;
    let burdock = Burdock::before(&[&shop, &plain]).await;
    for (origin, mut client) in [
        (&shop, burdock.client().http2()),
        (&plain, burdock.client()),
    ] {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "BREW",
        ] {
            let body = if method == "GET" { "" } else { "some=thing" };
            let call = request(method, &origin.url("/m"))
                .body(body.into())
                .expect("a valid request");
            assert_eq!(client.send(call).await.status, 200, "{method}");
            let seen = origin.last();
            assert_eq!(
                (seen.method.as_str(), seen.body.as_slice()),
                (method, body.as_bytes())
            );
        }
    }
}

#[tokio::test]
async fn the_answer_to_a_head_request_keeps_its_length_and_has_no_body() {
    let shop = Origin::tls("shop.example")
        .on("/big", Reply::zeros(123_456))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    for _ in 0..2 {
        wire.send("HEAD /big HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        let answer = wire.answer_to("HEAD").await;
        assert_eq!(answer.head.field("content-length"), Some("123456"));
    }
}

#[tokio::test]
async fn a_proxy_client_may_speak_h2c() {
    let shop = Origin::plain("shop.example")
        .respond(|_| Reply::text("by h2c"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let stream = Raw::connect(burdock.proxy).await.into_stream();
    let handshake =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(
            hyper_util::rt::TokioExecutor::new(),
            hyper_util::rt::TokioIo::new(stream),
        );
    let (mut sender, connection) = handshake.await.expect("h2c is spoken");
    tokio::spawn(connection);
    let get = http::Request::get("http://shop.example/")
        .header("x-session-id", "h")
        .body(http_body_util::Empty::new());
    let answer = crate::support::within(
        "the response",
        sender.send_request(get.expect("a valid request")),
    )
    .await;
    let answer = answer.expect("a response");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-session-id"], "h");
    assert_eq!(shop.last().field("host"), Some("shop.example"));
}

#[tokio::test]
async fn names_under_localhost_are_loopback() {
    let shop = Origin::plain("shop.example")
        .respond(|_| Reply::text("home"))
        .start()
        .await;
    let burdock = Burdock::new().start().await;
    for host in ["app.localhost", "localhost", "a.b.LOCALHOST"] {
        let answer = burdock
            .client()
            .get(&format!("http://{host}:{}/", shop.address().port()))
            .await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "home"),
            "{host}"
        );
    }
}

#[tokio::test]
async fn connect_to_dials_another_address_and_keeps_the_name() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::text("found"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = burdock.client().get("https://shop.example/").await;
    assert_eq!(answer.text(), "found");
    assert_eq!(shop.last().sni.as_deref(), Some("shop.example"));
    assert_eq!(shop.last().field("host"), Some("shop.example"));
}

#[tokio::test]
async fn connect_answers_only_once_the_target_is_reached() {
    let burdock = Burdock::new().start().await;
    let (answer, _) = burdock.client().connect("127.0.0.1:1").await;
    let answer = answer.into();
    assert_fault(&answer, "connect-failed", 502);
    assert_eq!(proxy_error(&answer), "connection_refused");
    let (answer, _) = burdock.client().connect("nowhere.invalid:443").await;
    assert_fault(&answer.into(), "dns-failed", 502);
}

#[tokio::test]
async fn a_refused_connect_leaves_the_connection_usable() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let (answer, mut wire) = burdock.client().connect("127.0.0.1:1").await;
    assert_eq!(answer.head.status(), 502);
    wire.send("GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.head.status(), 200);
}

#[tokio::test]
async fn responses_name_their_session_and_route() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let named = burdock.visitor("a").get("https://shop.example/").await;
    assert_eq!(named.field("x-session-id"), Some("a"));
    assert_eq!(named.field("x-burdock-route"), Some("http"));
    let anonymous = burdock.client().get("https://shop.example/").await;
    assert_eq!(anonymous.field("x-session-id"), None);
    let (tunnel, _) = burdock
        .client()
        .tunnel_session("t")
        .connect("shop.example:443")
        .await;
    assert_eq!(tunnel.head.field("x-session-id"), Some("t"));
}
