//! What becomes of header fields on their way: which stop at the proxy, and how the rest arrives.

use crate::support::client::{basic, request};
use crate::support::head::Head;
use crate::support::raw::RawAnswer;
use crate::support::{Burdock, Origin, Raw, Reply};

/// Fields of a request that end at the proxy, and one that `Connection` names.
const STOPPED: &str = "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n\
                       Proxy-Connection: keep-alive\r\nTE: trailers, deflate\r\nX-Session-ID: a\r\n\
                       X-Proxy-Token: hunter2\r\nX-Burdock-Render: http\r\nX-Burdock-Anything: 1\r\n";

async fn exchange(wire: &mut Raw, target: &str, fields: &str) -> RawAnswer {
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n"
    ))
    .await;
    wire.answer().await
}

fn without(head: &Head, names: &[&str]) -> Vec<String> {
    let kept = |line: &&String| {
        !names.iter().any(|name| {
            line.to_ascii_lowercase()
                .starts_with(&format!("{}:", name.to_ascii_lowercase()))
        })
    };
    head.lines.iter().filter(kept).cloned().collect()
}

#[tokio::test]
async fn hop_by_hop_and_control_fields_of_a_request_stop_here() {
    let plain = Origin::plain("shop.example").start().await;
    let tls = Origin::tls("shop.example").start().await;
    let h2 = Origin::h2("fast.example").start().await;
    let burdock = Burdock::before(&[&plain, &tls, &h2]).await;
    let mut wire = Raw::connect(burdock.proxy).await;
    let credentials = format!("Proxy-Authorization: {}\r\n", basic("a", "hunter2"));
    let fields = format!("{credentials}{STOPPED}X-Stays: yes\r\n");
    assert_eq!(
        exchange(&mut wire, "http://shop.example/", &fields)
            .await
            .head
            .status(),
        200
    );
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    assert_eq!(exchange(&mut wire, "/", &fields).await.head.status(), 200);
    let (mut wire, _) = burdock.client().tls_tunnel("fast.example:443").await;
    wire.send(format!(
        "GET / HTTP/1.1\r\nHost: fast.example\r\n{fields}\r\n"
    ))
    .await;
    assert_eq!(wire.answer().await.head.status(), 200);
    for origin in [&plain, &tls, &h2] {
        let head = origin.last().head;
        for name in head.names().iter().map(|name| name.to_ascii_lowercase()) {
            let fine = ["host", ":authority", "x-stays", "te"].contains(&name.as_str());
            assert!(fine, "`{name}` reached {}", origin.authority());
        }
        // `TE: trailers` may be burdock's own word for its own hop.
        assert!(
            [None, Some("trailers")].contains(&head.field("te")),
            "{head:?}"
        );
        assert_eq!(head.field("x-stays"), Some("yes"));
    }
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_response_stop_here() {
    let shop = Origin::tls("shop.example")
        .respond(|_| {
            Reply::wire(
                "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Connection: x\r\n\
                 Proxy-Authenticate: Basic\r\nX-Stays: yes\r\nContent-Length: 2\r\n\r\nok",
            )
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    for client in [burdock.client(), burdock.client().http2()] {
        let mut client = client;
        let answer = client.get("https://shop.example/").await;
        assert_eq!(answer.field("x-stays"), Some("yes"));
        for name in ["x-hop", "keep-alive", "proxy-connection"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
    }
}

#[tokio::test]
async fn names_keep_their_case_and_lines_their_order_on_http_1() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    let fields = "User-Agent: Mine/1.0\r\nACCEPT: */*\r\nx-lower: 1\r\nX-MiXeD: 2\r\nAccept-Language: de\r\n\
                  DNT: 1\r\nX-Empty:\r\nX-Spaced:    inner  spaces stay   \r\n";
    exchange(&mut wire, "/", fields).await;
    let wanted = "Host: shop.example\r\nUser-Agent: Mine/1.0\r\nACCEPT: */*\r\nx-lower: 1\r\nX-MiXeD: 2\r\n\
                  Accept-Language: de\r\nDNT: 1\r\nX-Empty:\r\nX-Spaced: inner  spaces stay";
    let arrived: Vec<_> = shop
        .last()
        .head
        .lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect();
    assert_eq!(arrived.join("\r\n"), wanted);
}

#[tokio::test]
async fn host_stays_where_the_client_put_it() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    wire.send("GET / HTTP/1.1\r\nUser-Agent: x\r\nHost: shop.example\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n")
        .await;
    wire.answer().await;
    assert_eq!(shop.last().head.names(), ["User-Agent", "Host", "Accept"]);
}

#[tokio::test]
async fn repeated_fields_stay_repeated_and_in_their_order() {
    let shop = Origin::tls("shop.example")
        .respond(|_| {
            Reply::text("")
                .field("X-Many", "1")
                .field("X-Many", "2")
                .cookie("a=1")
                .cookie("b=2")
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    let answer = exchange(&mut wire, "/", "X-List: one\r\nX-List: two, three\r\n").await;
    assert_eq!(shop.last().head.fields("x-list"), ["one", "two, three"]);
    assert_eq!(answer.head.fields("x-many"), ["1", "2"]);
    assert_eq!(answer.head.fields("set-cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn bytes_outside_ascii_pass_in_values() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::text("").field("X-Back", "gr\u{fc}n"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    wire.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-There: bl\xe5\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.head.field("x-back"), Some("gr\u{fc}n"));
    assert_eq!(shop.last().field("x-there"), Some("bl\u{e5}"));
}

#[tokio::test]
async fn nothing_of_a_response_is_changed_but_what_the_contract_names() {
    let head = "HTTP/1.1 203 As It Was\r\nServer: Mine\r\nX-UPPER: 1\r\nx-lower: 2\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\n\
                Content-Encoding: gzip\r\nETag: W/\"1\"\r\nVary: *\r\nContent-Type: application/x-odd\r\n\
                Strict-Transport-Security: max-age=9\r\nAlt-Svc: h3=\":443\"\r\nVia: 1.1 other\r\nContent-Length: 4\r\n\r\n";
    let reply = Reply::wire([head.as_bytes(), b"\x1f\x8b\x00\xff"].concat());
    let shop = Origin::tls("shop.example")
        .respond(move |_| reply.clone())
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    let answer = exchange(&mut wire, "/", "X-Session-ID: a\r\n").await;
    assert_eq!(answer.body, b"\x1f\x8b\x00\xff");
    assert_eq!(answer.head.start, "HTTP/1.1 203 As It Was");
    assert_eq!(answer.head.field("x-session-id"), Some("a"));
    assert_eq!(answer.head.field("x-burdock-route"), Some("http"));
    let sent = Head::parse(head.as_bytes());
    let kept = without(&answer.head, &["x-session-id", "x-burdock-route"]);
    assert_eq!(kept, sent.lines);
}

#[tokio::test]
async fn a_response_without_a_date_gets_none_and_one_without_a_type_neither() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::wire("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    let answer = exchange(&mut wire, "/", "").await;
    assert_eq!(
        without(&answer.head, &["x-burdock-route"]),
        ["Content-Length: 2"]
    );
}

#[tokio::test]
async fn a_chunked_body_with_trailers_passes_both_ways() {
    let shop = Origin::tls("shop.example")
        .respond(|_| {
            Reply::wire(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                 4;ext=1\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n",
            )
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    wire.send(
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    )
    .await;
    let head = wire.head().await;
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    let body = wire.until(b"\r\n\r\n").await;
    let body = crate::support::raw::text(&body);
    assert!(body.starts_with("4\r\nbody\r\n0\r\n"), "{body:?}");
    assert!(
        body.to_ascii_lowercase().contains("x-sum: 42"),
        "the trailer arrives: {body:?}"
    );
    assert_eq!(shop.last().body, b"hello world");
}

#[tokio::test]
async fn expect_100_continue_is_the_origins_to_answer() {
    let shop = Origin::tcp("shop.example", |mut wire| async move {
        let head = wire.head().await;
        assert_eq!(head.field("expect"), Some("100-continue"));
        wire.send("HTTP/1.1 417 No Thanks\r\nContent-Length: 0\r\n\r\n")
            .await;
        wire.rest().await;
    })
    .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send(
        "PUT http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    )
    .await;
    assert_eq!(
        wire.head().await.status(),
        417,
        "no 100 of burdock's own comes before the origin's answer"
    );
}

#[tokio::test]
async fn a_body_that_waits_for_100_continue_is_sent_when_the_origin_asks() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    wire.send(
        "PUT / HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    )
    .await;
    assert_eq!(wire.head().await.status(), 100);
    wire.send("hello").await;
    assert_eq!(wire.answer().await.head.status(), 200);
    assert_eq!(shop.last().body, b"hello");
}

#[tokio::test]
async fn cookie_crumbs_of_h2_are_joined_for_an_http_1_origin() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.client().http2();
    let crumbs = request("GET", "https://shop.example/")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    client
        .send(crumbs.body("".into()).expect("a valid request"))
        .await;
    assert_eq!(shop.last().head.fields("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn burdock_adds_nothing_that_tells_the_origin_of_it() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock
        .client()
        .tunnel_session("a")
        .tls_tunnel("shop.example:443")
        .await;
    exchange(&mut wire, "/", "").await;
    assert_eq!(
        shop.last().raw,
        "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    );
}
