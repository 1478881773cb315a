//! Connections to origins: kept, retried where that is safe, and TLS verified.

use crate::support::client::request;
use crate::support::problem::assert_fault;
use crate::support::{Burdock, Client, Gate, Origin, Raw, Reply, tls, within};

/// An origin that answers one request a connection and closes without saying so.
async fn one_shot(name: &str) -> Origin {
    Origin::tls(name)
        .respond(|seen| Reply::text(seen.connection.to_string()).closing())
        .start()
        .await
}

async fn send(client: &mut Client, method: &str, url: &str) -> crate::support::Answer {
    client
        .send(
            request(method, url)
                .body("".into())
                .expect("a valid request"),
        )
        .await
}

#[tokio::test]
async fn a_session_keeps_its_connection_whatever_connection_the_client_comes_by() {
    let shop = Origin::tls("shop.example").start().await;
    let fast = Origin::h2("fast.example").start().await;
    let burdock = Burdock::before(&[&shop, &fast]).await;
    for _ in 0..4 {
        for origin in [&shop, &fast] {
            // Named on the CONNECT: burdock need not dial before it knows whose connection to use.
            let mut client = burdock.client().tunnel_session("a");
            client.get(&origin.url("/")).await;
        }
    }
    assert_eq!((shop.connections(), fast.connections()), (1, 1));
}

#[tokio::test]
async fn a_stale_pooled_connection_is_retried_for_an_idempotent_request() {
    let shop = one_shot("shop.example").await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    for method in ["GET", "GET", "PUT", "DELETE", "OPTIONS", "GET"] {
        assert_eq!(
            send(&mut client, method, "https://shop.example/")
                .await
                .status,
            200,
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_pooled_connection_that_dies_under_a_get_is_retried_once() {
    // The second request of each connection is read and hung up upon.
    let shop = Origin::tls("shop.example")
        .respond(|seen| {
            if seen.target == "/die" {
                Reply::hang_up()
            } else {
                Reply::text("ok")
            }
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    assert_eq!(client.get("https://shop.example/").await.status, 200);
    let answer = client.get("https://shop.example/die").await;
    assert_fault(&answer, "upstream-protocol", 502);
    let tries = shop
        .requests()
        .iter()
        .filter(|seen| seen.target == "/die")
        .count();
    assert_eq!(tries, 2, "once on the pooled connection, once on a new one");
}

#[tokio::test]
async fn a_post_that_was_sent_is_not_sent_again() {
    let shop = Origin::tls("shop.example")
        .respond(|seen| {
            if seen.target == "/buy" {
                Reply::hang_up()
            } else {
                Reply::text("ok")
            }
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    client.get("https://shop.example/").await;
    let answer = client.post("https://shop.example/buy", "order=1").await;
    assert_fault(&answer, "upstream-protocol", 502);
    let orders = shop
        .requests()
        .iter()
        .filter(|seen| seen.target == "/buy")
        .count();
    assert_eq!(orders, 1);
}

#[tokio::test]
async fn a_new_connection_that_dies_is_not_retried() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::hang_up())
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    assert_fault(
        &burdock.visitor("a").get("https://shop.example/").await,
        "upstream-protocol",
        502,
    );
    assert_eq!(shop.requests().len(), 1);
}

#[tokio::test]
async fn a_connection_is_kept_only_when_its_response_was_read_to_the_end() {
    let shop = Origin::tls("shop.example")
        .on("/big", Reply::zeros(64 << 20))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock
        .client()
        .tunnel_session("a")
        .tls_tunnel("shop.example:443")
        .await;
    wire.send("GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    wire.head().await;
    wire.take(1000).await;
    drop(wire);
    let answer = burdock.visitor("a").get("https://shop.example/next").await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(
        shop.last().connection,
        1,
        "the half-read connection is not used again"
    );
}

#[tokio::test]
async fn a_response_ends_early_for_the_client_where_it_ends_early_at_the_origin() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::wire("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").closing())
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    wire.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.field("content-length"), Some("10"));
    assert_eq!(
        wire.rest().await,
        b"half",
        "the end of the connection says that it was not all"
    );
}

#[tokio::test]
async fn a_body_delimited_by_the_end_of_the_connection_arrives_whole() {
    let shop = Origin::plain("shop.example")
        .respond(|_| Reply::wire("HTTP/1.0 200 OK\r\n\r\nto the end").closing())
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    assert_eq!(
        burdock.client().get("http://shop.example/").await.text(),
        "to the end"
    );
}

#[tokio::test]
async fn an_upstream_certificate_that_nobody_vouches_for_is_refused() {
    let config = tls::UNTRUSTED.server("shop.example", &["http/1.1"]);
    let shop = Origin::with_tls("shop.example", config).start().await;
    let burdock = Burdock::before(&[&shop]).await;
    assert_fault(
        &burdock.client().get("https://shop.example/").await,
        "upstream-tls",
        502,
    );
    assert_eq!(shop.requests().len(), 0);
}

#[tokio::test]
async fn an_upstream_certificate_for_another_name_is_refused() {
    let config = tls::TRUSTED.server("other.example", &["http/1.1"]);
    let shop = Origin::with_tls("shop.example", config).start().await;
    let burdock = Burdock::before(&[&shop]).await;
    assert_fault(
        &burdock.client().get("https://shop.example/").await,
        "upstream-tls",
        502,
    );
    assert_eq!(shop.requests().len(), 0);
}

/// What the answer to a request to `shop.example` says of the certificate that `params` makes, signed by `authority`.
async fn refusal(authority: &tls::Authority, names: &[&str], days: (i64, i64)) -> String {
    let config = authority.server_valid(names, &["http/1.1"], days);
    let shop = Origin::with_tls("shop.example", config).start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = burdock.client().get("https://shop.example/").await;
    assert_fault(&answer, "upstream-tls", 502);
    let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains("TLS with `shop.example:443`"), "{detail}");
    detail
}

#[tokio::test]
async fn a_refused_certificate_is_explained_by_host_chain_and_reason() {
    let year = |days: i64| {
        let then = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        then.date().to_string()
    };
    let expired = refusal(&tls::TRUSTED, &["shop.example"], (-30, -2)).await;
    let ended = format!("the certificate ended at {}", year(-2));
    let issued = "by `CN=burdock test origins`";
    assert!(
        expired.contains(&ended) && expired.contains(issued),
        "{expired}"
    );
    let early = refusal(&tls::TRUSTED, &["shop.example"], (2, 30)).await;
    let begins = format!("the certificate begins at {}", year(2));
    assert!(early.contains(&begins), "{early}");
    let other = refusal(
        &tls::TRUSTED,
        &["other.example", "www.other.example"],
        (-1, 30),
    )
    .await;
    assert!(
        other.contains("other.example") && other.contains("www.other.example"),
        "{other}"
    );
    let unknown = refusal(&tls::UNTRUSTED, &["shop.example"], (-1, 30)).await;
    assert!(
        unknown.contains("`CN=nobody knows me` is not known here"),
        "{unknown}"
    );
    assert!(unknown.contains("tls.upstream_ca_files"), "{unknown}");
}

#[tokio::test]
async fn insecure_hosts_are_not_verified_and_others_still_are() {
    let make = |name: &str| tls::UNTRUSTED.server(name, &["http/1.1"]);
    let dev = Origin::with_tls("www.dev.example", make("www.dev.example"))
        .start()
        .await;
    let shop = Origin::with_tls("shop.example", make("shop.example"))
        .start()
        .await;
    let builder = Burdock::new().connect_to(&dev).connect_to(&shop);
    let burdock = builder
        .config("tls.insecure_hosts = ['*.dev.example']")
        .start()
        .await;
    assert_eq!(
        burdock
            .client()
            .get("https://www.dev.example/")
            .await
            .status,
        200
    );
    assert_fault(
        &burdock.client().get("https://shop.example/").await,
        "upstream-tls",
        502,
    );
}

#[tokio::test]
async fn a_slow_reader_slows_its_origin_down() {
    let shop = Origin::tls("shop.example")
        .on("/big", Reply::zeros(256 << 20))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let before = burdock.resident();
    let mut wires = Vec::new();
    for _ in 0..4 {
        let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
        wire.send("GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        wire.head().await;
        wires.push(wire);
    }
    // The first reader takes all of its 256 MiB; meanwhile nothing of the others' may pile up.
    crate::support::within_time(
        std::time::Duration::from_secs(60),
        "the download",
        wires[0].skip(256 << 20),
    )
    .await;
    let grown = burdock.resident().saturating_sub(before) >> 20;
    assert!(
        grown < 16,
        "{grown} MiB more with three readers that do not read"
    );
}

#[tokio::test]
async fn a_request_without_a_session_does_not_share_its_connection_with_other_clients() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut first = Raw::connect(burdock.proxy).await;
    let mut second = Raw::connect(burdock.proxy).await;
    for _ in 0..2 {
        for wire in [&mut first, &mut second] {
            wire.send("GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n")
                .await;
            wire.answer().await;
        }
    }
    let by: Vec<_> = shop.requests().iter().map(|seen| seen.connection).collect();
    assert_eq!(by, [0, 1, 0, 1]);
}

/// Answers each request with its target; after one for `/first` sends a whole answer that nobody asked for, once `late` opens.
async fn late_bytes(mut wire: Raw, late: Gate, sent: Gate) {
    while let Some((_, head)) = wire.next_head().await {
        let target = head.start.split(' ').nth(1).unwrap_or_default();
        let reply = Reply::text(target);
        let answer = [reply.head_bytes(), target.into()].concat();
        if wire.try_send(answer).await.is_err() {
            return;
        }
        if target.starts_with("/first") {
            late.pass().await;
            let wrong = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
            // burdock may have closed it by then, which is as well.
            let _ = wire.try_send(wrong).await;
            sent.let_pass(1);
        }
    }
}

#[tokio::test]
async fn what_comes_on_an_idle_connection_is_nobodys_answer() {
    let (late, sent) = (Gate::closed(), Gate::closed());
    let gates = (late.clone(), sent.clone());
    let plain = Origin::tcp("shop.example", move |wire| {
        late_bytes(wire, gates.0.clone(), gates.1.clone())
    })
    .await;
    let gates = (late.clone(), sent.clone());
    let tls = Origin::tls_tcp("shop.example", &["http/1.1"], move |wire, _| {
        late_bytes(wire, gates.0.clone(), gates.1.clone())
    })
    .await;
    let burdock = Burdock::before(&[&plain, &tls]).await;
    for round in 0..40 {
        let shop = [&plain, &tls][round % 2];
        let mut client = burdock.visitor("a");
        let first = client.get(&shop.url(&format!("/first/{round}"))).await;
        assert_eq!(first.text(), format!("/first/{round}"));
        late.let_pass(1);
        within("the late bytes", sent.pass()).await;
        let second = client.get(&shop.url(&format!("/second/{round}"))).await;
        assert_eq!(second.text(), format!("/second/{round}"));
    }
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_is_not_tried_with_a_body_that_can_be_sent_once() {
    let closed = Gate::closed();
    let closing = closed.clone();
    let shop = Origin::tcp("shop.example", move |mut wire| {
        let closed = closing.clone();
        async move {
            let Some((_, head)) = wire.next_head().await else {
                return;
            };
            wire.body(head.framing()).await;
            let _ = wire
                .try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            drop(wire);
            closed.let_pass(1);
        }
    })
    .await;
    let burdock = Burdock::before(&[&shop]).await;
    for _ in 0..20 {
        let mut client = burdock.visitor("a");
        let answer = client.post(&shop.url("/"), "an order").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        within("the end of the connection", closed.pass()).await;
    }
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_goes_on_sending() {
    let burdock = Burdock::new().start().await;
    for _ in 0..20 {
        let mut wire = Raw::connect(burdock.proxy).await;
        let head = "POST http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\nContent-Length: +1\r\n\r\n";
        wire.send(head).await;
        // Closed without a look at these, the connection would be reset, and the answer thrown away by this side's kernel.
        for _ in 0..16 {
            wire.send(vec![b'x'; 64 << 10]).await;
        }
        let answer = wire.answer().await;
        assert_eq!(answer.head.status(), 400);
        wire.closed().await;
    }
}

/// An origin whose connections, not whose requests, are somebody's: its NTLM has two messages, the second of which names who.
async fn by_connection(name: &str) -> Origin {
    Origin::tcp(name, |mut wire| async move {
        let mut who = None;
        while let Some((_, head)) = wire.next_head().await {
            let said = head.field("authorization").unwrap_or_default();
            let (status, extra) = match (said.strip_prefix("NTLM "), &who) {
                (Some("negotiate"), _) => {
                    ("401 Unauthorized", "WWW-Authenticate: NTLM challenge\r\n")
                }
                (Some(name), _) => {
                    who = Some(name.to_owned());
                    ("200 OK", "")
                }
                (None, Some(_)) => ("200 OK", ""),
                (None, None) => ("401 Unauthorized", "WWW-Authenticate: NTLM\r\n"),
            };
            let body = who.as_deref().unwrap_or("nobody");
            let answer = format!(
                "HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if wire.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_ntlm_authenticated_is_its_clients_alone() {
    let intranet = by_connection("intranet.example").await;
    let burdock = Burdock::before(&[&intranet]).await;
    let url = intranet.url("/");
    let mut alice = burdock.visitor("a");
    let mut other = burdock.visitor("a");
    assert_eq!(alice.get(&url).await.status, 401);
    for (said, status, who) in [
        ("NTLM negotiate", 401, "nobody"),
        ("NTLM alice", 200, "alice"),
    ] {
        let call = request("GET", &url).header("authorization", said);
        let answer = alice
            .send(call.body("".into()).expect("a valid request"))
            .await;
        assert_eq!((answer.status, answer.text().as_str()), (status, who));
    }
    for _ in 0..3 {
        // Of the same session, but by another connection: nobody there has said who they are.
        let answer = other.get(&url).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, "nobody"));
        let answer = alice.get(&url).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "alice"));
    }
}
