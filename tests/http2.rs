//! HTTP/2 on both legs: its flow control, its refusals, and what becomes of those who abuse it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::support::client::request;
use crate::support::frames::{
    ACK, END_HEADERS, END_STREAM, Frame, Frames, STATUS_200, code, frame, kind, request_fields,
    setting,
};
use crate::support::service::{Counted, Speaks, whole};
use crate::support::{Burdock, DEADLINE, Gate, Origin, Raw, Reply, tls, within, within_time};

/// As many octets as any window may have (RFC 9113, section 6.9.1), less the 65,535 that it has at first.
const UNBOUNDED: u32 = (1 << 31) - 1 - 65_535;

/// An origin of h2 frames; `serve` gets each of its connections, counted from 0.
async fn framed<F>(
    name: &str,
    settings: &'static [(u16, u32)],
    serve: impl Fn(Frames, usize) -> F + Clone + Send + Sync + 'static,
) -> Origin
where
    F: Future<Output = ()> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    Origin::tls_tcp(name, &["h2", "http/1.1"], move |wire, alpn| {
        let connection = count.fetch_add(1, Ordering::Relaxed);
        let serve = serve.clone();
        async move {
            match alpn.as_deref() {
                Some("h2") => serve(Frames::server(wire, settings).await, connection).await,
                _ => answer_by_http_1(wire).await,
            }
        }
    })
    .await
}

async fn answer_by_http_1(mut wire: Raw) {
    while wire.next_head().await.is_some() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nHTTP/1.1";
        if wire.try_send(answer).await.is_err() {
            return;
        }
    }
}

/// The next request on an origin's connection, or nothing at its end.
async fn next_request(frames: &mut Frames) -> Option<u32> {
    Some(frames.next_of(kind::HEADERS).await?.stream)
}

/// An h2 connection of a client through a tunnel, frame by frame.
async fn tunnelled(burdock: &Burdock, host: &str, settings: &[(u16, u32)]) -> Frames {
    let client = burdock.client().http2();
    let (wire, alpn) = client.tls_tunnel(&format!("{host}:443")).await;
    assert_eq!(alpn.as_deref(), Some("h2"));
    Frames::client(wire, settings).await
}

/// Reads until stream `stream` ends; how many octets of data it had, other streams' counted in `others`.
async fn read_stream(frames: &mut Frames, stream: u32, others: &mut u64) -> u64 {
    let mut length = 0;
    loop {
        let frame = within("a frame", frames.next())
            .await
            .expect("the connection lasts");
        let data = match frame.kind {
            kind::DATA => frame.payload.len() as u64,
            _ => 0,
        };
        if frame.stream == stream {
            length += data;
        } else {
            *others += data;
        }
        assert!(frame.reset_code().is_none(), "{frame:?}");
        if frame.stream == stream && frame.ends_stream() {
            return length;
        }
    }
}

const BIG: u64 = 8 << 20;

async fn big_and_small(speaks: Speaks) -> Origin {
    Origin::serving("shop.example", speaks, async |request| {
        let body = match request.uri().path() {
            "/big" => Counted::new(BIG, true)
                .0
                .map_err(|never| match never {})
                .boxed(),
            _ => whole("small"),
        };
        http::Response::new(body)
    })
    .await
}

#[tokio::test]
async fn a_slow_reader_stalls_only_its_own_stream() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let shop = big_and_small(speaks).await;
        let burdock = Burdock::before(&[&shop]).await;
        let mut frames = tunnelled(&burdock, "shop.example", &[]).await;
        frames.credit(0, UNBOUNDED).await;
        let unread = [1, 3, 5, 7, 9, 11, 13, 15];
        for stream in unread {
            frames.get(stream, "https://shop.example/big").await;
        }
        let window = 65_535;
        let mut stalled = 0;
        while stalled < window * unread.len() as u64 {
            let frame = within("a frame", frames.next())
                .await
                .expect("the connection lasts");
            if frame.kind == kind::DATA {
                stalled += frame.payload.len() as u64;
            }
        }
        // Their windows are used up, the connection's is not.
        for stream in [17, 19, 21] {
            frames.get(stream, "https://shop.example/small").await;
            assert_eq!(
                read_stream(&mut frames, stream, &mut stalled).await,
                5,
                "{speaks:?}"
            );
        }
        assert_eq!(stalled, window * unread.len() as u64, "{speaks:?}");
        frames.credit(1, UNBOUNDED).await;
        let mut others = 0;
        let rest = read_stream(&mut frames, 1, &mut others).await;
        assert_eq!((window + rest, others), (BIG, 0), "{speaks:?}");
    }
}

#[tokio::test]
async fn a_request_that_a_goaway_left_out_is_sent_again_on_another_connection() {
    let (told, mut asked) = mpsc::unbounded_channel();
    let shop = framed("shop.example", &[], move |mut frames, connection| {
        let told = told.clone();
        async move {
            while let Some(stream) = next_request(&mut frames).await {
                told.send((connection, stream)).expect("the test listens");
                if connection == 0 && stream > 1 {
                    frames.go_away(1, code::NO_ERROR).await;
                } else {
                    frames.ok(stream, b"done").await;
                }
            }
        }
    })
    .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    // Also what is not idempotent, since the origin says that it did nothing.
    for method in ["GET", "POST"] {
        let call = request(method, "https://shop.example/").body("".into());
        let answer = client.send(call.expect("a valid request")).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "done"),
            "{method}"
        );
    }
    let asked: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
    assert_eq!(asked, [(0, 1), (0, 3), (1, 1)]);
}

/// An origin that refuses its first `refusals` requests with `code`; what it was asked comes from the channel.
async fn refusing(refusals: usize, code: u32) -> (Origin, mpsc::UnboundedReceiver<()>) {
    let (told, asked) = mpsc::unbounded_channel();
    let refused = Arc::new(AtomicUsize::new(0));
    let shop = framed("shop.example", &[], move |mut frames, _| {
        let (told, refused) = (told.clone(), Arc::clone(&refused));
        async move {
            while let Some(stream) = next_request(&mut frames).await {
                told.send(()).expect("the test listens");
                if refused.fetch_add(1, Ordering::Relaxed) < refusals {
                    frames.reset(stream, code).await;
                } else {
                    frames.ok(stream, b"done").await;
                }
            }
        }
    })
    .await;
    (shop, asked)
}

fn count(asked: &mut mpsc::UnboundedReceiver<()>) -> usize {
    std::iter::from_fn(|| asked.try_recv().ok()).count()
}

#[tokio::test]
async fn an_idle_connection_to_an_origin_closes_and_the_next_request_gets_another() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let shop = framed("shop.example", &[], move |mut frames, connection| {
        let ended = ended.clone();
        async move {
            while let Some(stream) = next_request(&mut frames).await {
                frames.ok(stream, connection.to_string().as_bytes()).await;
            }
            ended.send(connection).expect("the test listens");
        }
    })
    .await;
    let burdock = Burdock::new()
        .config("[upstream]\nidle_timeout = '1s'")
        .connect_to(&shop)
        .start()
        .await;
    let mut client = burdock.visitor("a");
    for connection in ["0", "0"] {
        let answer = client.get("https://shop.example/").await;
        assert_eq!(answer.text(), connection);
    }
    // Connections are looked through every five seconds.
    let end = within_time(3 * DEADLINE, "the end of the connection", ends.recv()).await;
    assert_eq!(end, Some(0));
    let answer = client.get("https://shop.example/").await;
    assert_eq!(answer.text(), "1");
}

#[tokio::test]
async fn a_refused_stream_is_tried_once_more_whatever_its_method() {
    for method in ["GET", "POST"] {
        let (shop, mut asked) = refusing(1, code::REFUSED_STREAM).await;
        let burdock = Burdock::before(&[&shop]).await;
        let call = request(method, "https://shop.example/").body("".into());
        let answer = burdock
            .visitor("a")
            .send(call.expect("a valid request"))
            .await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "done"),
            "{method}"
        );
        assert_eq!(count(&mut asked), 2, "{method}");
    }
    let (shop, mut asked) = refusing(2, code::REFUSED_STREAM).await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = burdock.visitor("a").get("https://shop.example/").await;
    crate::support::problem::assert_fault(&answer, "upstream-protocol", 502);
    assert_eq!(count(&mut asked), 2);
}

#[tokio::test]
async fn a_refused_request_is_sent_again_with_its_body_as_far_as_that_is_kept() {
    let (told, mut bodies) = mpsc::unbounded_channel();
    let refused = Arc::new(AtomicUsize::new(0));
    let shop = framed("shop.example", &[], move |mut frames, _| {
        let (told, refused) = (told.clone(), Arc::clone(&refused));
        async move {
            while let Some(stream) = next_request(&mut frames).await {
                // The first attempt of each request is refused once some of its body has come, the second is read.
                let first = refused.fetch_add(1, Ordering::Relaxed) % 2 == 0;
                let mut body = Vec::new();
                frames.credit(0, 1 << 20).await;
                frames.credit(stream, 1 << 20).await;
                let enough = if first { 100_000 } else { usize::MAX };
                while let Some(data) = frames.next_of(kind::DATA).await {
                    if data.stream == stream {
                        body.extend_from_slice(&data.payload);
                        if data.ends_stream() || body.len() >= enough {
                            break;
                        }
                    }
                }
                told.send(body.len()).expect("the test listens");
                match first {
                    true => frames.reset(stream, code::REFUSED_STREAM).await,
                    false => frames.ok(stream, &body).await,
                }
            }
        }
    })
    .await;
    let burdock = Burdock::before(&[&shop]).await;
    for mut client in [burdock.visitor("a"), burdock.visitor("b").http2()] {
        let body = "an order".repeat(1000);
        let answer = client.post("https://shop.example/", &body).await;
        assert_eq!((answer.status, answer.text()), (200, body));
        let sent = [bodies.try_recv(), bodies.try_recv()];
        assert_eq!(sent, [Ok(8000), Ok(8000)]);
    }
    let large = "an order".repeat(50_000);
    let answer = burdock
        .visitor("c")
        .post("https://shop.example/", &large)
        .await;
    crate::support::problem::assert_fault(&answer, "upstream-protocol", 502);
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("did not process the request"), "{detail}");
}

#[tokio::test]
async fn an_origin_that_wants_http_1_gets_it_from_then_on() {
    let (shop, mut asked) = refusing(usize::MAX, code::HTTP_1_1_REQUIRED).await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    for _ in 0..3 {
        let answer = client.get("https://shop.example/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "HTTP/1.1"));
    }
    assert_eq!(count(&mut asked), 1);
}

#[tokio::test]
async fn an_origin_that_breaks_h2_is_asked_by_http_1_from_then_on() {
    let breaks: [(&str, Vec<u8>); 4] = [
        ("data on the connection", frame(kind::DATA, 0, 0, b"x")),
        (
            "settings of a wrong size",
            frame(kind::SETTINGS, 0, 0, b"x"),
        ),
        (
            "a field section that is none",
            frame(kind::HEADERS, END_HEADERS, 1, &[0x80]),
        ),
        (
            "a stream that nobody opened",
            frame(kind::HEADERS, END_HEADERS, 8, &[0x88]),
        ),
    ];
    for (what, broken) in breaks {
        let (told, mut asked) = mpsc::unbounded_channel();
        let shop = framed("shop.example", &[], move |mut frames, _| {
            let (told, broken) = (told.clone(), broken.clone());
            async move {
                if next_request(&mut frames).await.is_some() {
                    told.send(()).expect("the test listens");
                    frames.try_send(&broken).await.expect("burdock reads");
                    while frames.next().await.is_some() {}
                }
            }
        })
        .await;
        let burdock = Burdock::before(&[&shop]).await;
        let mut client = burdock.visitor("a");
        for _ in 0..2 {
            let answer = client.get("https://shop.example/").await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "HTTP/1.1"),
                "{what}"
            );
        }
        assert_eq!(count(&mut asked), 1, "{what}");
    }
}

#[tokio::test]
async fn no_more_streams_are_open_at_an_origin_than_it_allows() {
    const ALLOWED: usize = 2;
    const WANTED: usize = 6;
    let (told, mut opened) = mpsc::unbounded_channel();
    let gate = Gate::closed();
    let waiting = gate.clone();
    let settings = &[(setting::MAX_CONCURRENT_STREAMS, ALLOWED as u32)];
    let shop = framed("shop.example", settings, move |mut frames, _| {
        let (told, gate) = (told.clone(), waiting.clone());
        async move {
            let mut open = std::collections::VecDeque::new();
            loop {
                tokio::select! {
                    stream = next_request(&mut frames) => {
                        let Some(stream) = stream else { return };
                        open.push_back(stream);
                        told.send(open.len()).expect("the test listens");
                    }
                    () = gate.pass(), if !open.is_empty() => {
                        let stream = open.pop_front().expect("it is not empty");
                        frames.ok(stream, b"done").await;
                    }
                }
            }
        }
    })
    .await;
    let burdock = Burdock::before(&[&shop]).await;
    gate.let_pass(1);
    // The first request waits for no settings; its response tells that they have been seen.
    assert_eq!(
        burdock
            .visitor("a")
            .get("https://shop.example/")
            .await
            .status,
        200
    );
    assert_eq!(opened.try_recv(), Ok(1));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..WANTED {
        let mut client = burdock.visitor("a");
        requests.spawn(async move { client.get("https://shop.example/").await });
    }
    for wanted in 1..=ALLOWED {
        assert_eq!(within("a stream", opened.recv()).await, Some(wanted));
    }
    // Time enough for one too many, which nothing holds up but the limit.
    let more = tokio::time::timeout(Duration::from_millis(500), opened.recv()).await;
    assert!(more.is_err(), "{more:?} streams are open");
    gate.let_pass(WANTED);
    while let Some(answer) = within("the answers", requests.join_next()).await {
        assert_eq!(answer.expect("no panic").status, 200);
    }
    let open: Vec<usize> = std::iter::from_fn(|| opened.try_recv().ok()).collect();
    assert_eq!(open.len(), WANTED - ALLOWED);
    assert!(open.iter().all(|open| *open <= ALLOWED), "{open:?}");
}

#[tokio::test]
async fn a_stream_that_the_client_resets_is_reset_at_the_origin() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let shop = framed("shop.example", &[], move |mut frames, _| {
        let told = told.clone();
        async move {
            while let Some(frame) = frames.next().await {
                if matches!(frame.kind, kind::HEADERS | kind::RST_STREAM) {
                    told.send(frame).expect("the test listens");
                }
            }
        }
    })
    .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut frames = tunnelled(&burdock, "shop.example", &[]).await;
    frames.get(1, "https://shop.example/").await;
    let head: Frame = within("the request", seen.recv()).await.expect("a frame");
    frames.reset(1, code::CANCEL).await;
    let reset: Frame = within("the reset", seen.recv()).await.expect("a frame");
    assert_eq!(
        (reset.stream, reset.reset_code()),
        (head.stream, Some(code::CANCEL))
    );
}

#[tokio::test]
async fn a_client_is_told_how_many_streams_it_may_have_and_that_connect_is_not_extended() {
    let shop = Origin::h2("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut frames = tunnelled(&burdock, "shop.example", &[]).await;
    let settings = within("settings", frames.next_of(kind::SETTINGS)).await;
    let settings = settings.expect("settings").settings();
    assert!(
        settings.contains(&(setting::MAX_CONCURRENT_STREAMS, 250)),
        "{settings:?}"
    );
    let extended =
        |(name, value): &(u16, u32)| *name == setting::ENABLE_CONNECT_PROTOCOL && *value != 0;
    assert!(!settings.iter().any(extended), "{settings:?}");
}

/// A client of the proxy port that speaks HTTP/2 without having been asked to.
async fn prior_knowledge(burdock: &Burdock) -> http2::SendRequest<Empty<Bytes>> {
    let stream = within("connect", TcpStream::connect(burdock.proxy))
        .await
        .expect("connected");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = within("the preface", handshake)
        .await
        .expect("h2 is spoken");
    tokio::spawn(connection);
    sender
}

fn call(method: &str, target: &str) -> Request<Empty<Bytes>> {
    let call = Request::builder().method(method).uri(target);
    call.header("x-session-id", "a")
        .body(Empty::new())
        .expect("a valid request")
}

#[tokio::test]
async fn requests_in_absolute_form_over_h2c_reach_plain_and_tls_origins() {
    let plain = Origin::plain("plain.example")
        .respond(|seen| Reply::text(seen.target.clone()))
        .start()
        .await;
    let shop = Origin::h2("shop.example")
        .respond(|seen| Reply::text(seen.target.clone()))
        .start()
        .await;
    let burdock = Burdock::before(&[&plain, &shop]).await;
    let mut sender = prior_knowledge(&burdock).await;
    for origin in [&plain, &shop, &plain] {
        let answer = within(
            "the response",
            sender.send_request(call("GET", &origin.url("/a?b"))),
        )
        .await;
        let answer = answer.expect("a response");
        assert_eq!(answer.headers()["x-session-id"], "a");
        let body = within("the body", answer.into_body().collect()).await;
        assert_eq!(body.expect("a whole body").to_bytes(), "/a?b");
    }
    assert_eq!(plain.last().field("host"), Some("plain.example"));
    assert_eq!(shop.last().field(":authority"), Some("shop.example"));
}

#[tokio::test]
async fn connect_over_h2c_opens_tunnels_side_by_side() {
    let shop = Origin::h2("shop.example").start().await;
    let echo = Origin::tcp("echo.example", async |mut wire| {
        let said = wire.rest().await;
        wire.send(said).await;
        wire.finish().await;
    })
    .await;
    let burdock = Burdock::before(&[&shop, &echo]).await;
    let mut sender = prior_knowledge(&burdock).await;
    let mut tunnels = Vec::new();
    for target in ["echo.example:80", "shop.example:443"] {
        let answer = within("the response", sender.send_request(call("CONNECT", target))).await;
        let answer = answer.expect("a response");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-session-id"]),
            (200, &"a".parse().expect("a value"))
        );
        let tunnel = within("the tunnel", hyper::upgrade::on(answer)).await;
        tunnels.push(TokioIo::new(tunnel.expect("the stream is a tunnel")));
    }
    let (inside, echoing) = (tunnels.pop().expect("two"), tunnels.pop().expect("two"));
    let connector = TlsConnector::from(Arc::new(tls::client(&burdock.ca_pem(), &["http/1.1"])));
    let name = ServerName::try_from("shop.example").expect("a host name");
    let stream = within("the TLS handshake", connector.connect(name, inside)).await;
    let mut wire = Raw::over(stream.expect("burdock's certificate is good"));
    wire.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    let answer = wire.answer().await;
    assert_eq!(
        (answer.body.as_slice(), answer.head.field("x-session-id")),
        (&b"ok"[..], Some("a"))
    );
    let mut wire = Raw::over(echoing);
    wire.send("\x01 no HTTP").await;
    wire.finish().await;
    assert_eq!(wire.rest().await, b"\x01 no HTTP");
    let refused = within(
        "the refusal",
        sender.send_request(call("CONNECT", "127.0.0.1:1")),
    )
    .await;
    assert_eq!(refused.expect("a response").status(), 502);
}

/// More frames of nothing than any client has reason to send.
const FLOOD: usize = 20_000;

#[tokio::test]
async fn a_client_that_floods_loses_its_connection_and_others_do_not_notice() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let open = |stream: u32, flags: u8| {
        let fields = request_fields("POST", "http://shop.example/");
        frame(kind::HEADERS, flags, stream, &fields)
    };
    let same = |bytes: Vec<u8>| bytes.repeat(FLOOD);
    let reset = |number: u32| {
        let stream = 2 * number + 1;
        let reset = frame(kind::RST_STREAM, 0, stream, &code::CANCEL.to_be_bytes());
        [open(stream, END_HEADERS | END_STREAM), reset].concat()
    };
    let floods: [(&str, Vec<u8>); 7] = [
        ("rapid reset", (0..FLOOD as u32).flat_map(reset).collect()),
        ("PING", same(frame(kind::PING, 0, 0, b"pingpong"))),
        ("SETTINGS", same(frame(kind::SETTINGS, 0, 0, &[]))),
        ("SETTINGS ACK", same(frame(kind::SETTINGS, ACK, 0, &[]))),
        (
            "empty DATA",
            [open(1, END_HEADERS), same(frame(kind::DATA, 0, 1, &[]))].concat(),
        ),
        (
            "CONTINUATION",
            [open(1, 0), same(frame(kind::CONTINUATION, 0, 1, &[]))].concat(),
        ),
        (
            "PRIORITY",
            same(frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 7])),
        ),
    ];
    let mut neighbour = burdock.client();
    for (what, flood) in floods {
        let wire = Raw::connect(burdock.proxy).await;
        let mut attack = Frames::client(wire, &[]).await;
        let attacking = tokio::spawn(async move {
            // It fails where burdock has closed, which is what shall happen.
            let _ = attack.try_send(&flood).await;
            while attack.next().await.is_some() {}
        });
        let visits = async {
            loop {
                assert_eq!(
                    neighbour.get("http://shop.example/").await.text(),
                    "ok",
                    "{what}"
                );
                if attacking.is_finished() {
                    break;
                }
            }
        };
        within(
            &format!("the end of the connection that floods with {what}"),
            visits,
        )
        .await;
    }
}

#[tokio::test]
async fn what_came_of_a_response_before_it_broke_off_comes_before_the_reset() {
    let plain = Origin::tls_tcp("old.example", &["http/1.1"], |mut wire, _| async move {
        if wire.next_head().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                .await;
        }
    })
    .await;
    let modern = framed("new.example", &[], |mut frames, _| async move {
        while let Some(stream) = next_request(&mut frames).await {
            let frames_at_once = [
                frame(kind::HEADERS, END_HEADERS, stream, STATUS_200),
                frame(kind::DATA, 0, stream, b"hello"),
                frame(kind::RST_STREAM, 0, stream, &code::CANCEL.to_be_bytes()),
            ];
            frames
                .try_send(&frames_at_once.concat())
                .await
                .expect("burdock reads");
        }
    })
    .await;
    let burdock = Burdock::before(&[&plain, &modern]).await;
    for host in ["old.example", "new.example"] {
        let mut frames = tunnelled(&burdock, host, &[]).await;
        for stream in (1..100).step_by(2) {
            frames.get(stream, &format!("https://{host}/")).await;
            let mut came = Vec::new();
            let mut kinds = Vec::new();
            loop {
                let frame = within("a frame", frames.next())
                    .await
                    .expect("the connection lasts");
                if frame.stream != stream {
                    continue;
                }
                kinds.push(frame.kind);
                assert!(!frame.ends_stream(), "{host}: it looks complete");
                if frame.reset_code().is_some() {
                    break;
                }
                if frame.kind == kind::DATA {
                    came.extend_from_slice(&frame.payload);
                }
            }
            assert_eq!(kinds[0], kind::HEADERS, "{host}: {kinds:?}");
            assert_eq!(came, b"hello", "{host}: {kinds:?}");
        }
    }
}
