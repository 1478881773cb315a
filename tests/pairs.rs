//! Every feature of a message, by every pair of protocols of client and origin.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::support::client::{Body, request};
use crate::support::frames::{END_HEADERS, Frames, STATUS_200, code, fields, kind, request_fields};
use crate::support::raw::text;
use crate::support::service::{Broken, Counted, Speaks, Streamed, channel, read_pattern, whole};
use crate::support::{Burdock, Client, Gate, Origin, Raw, Reply, tls, tool, within, within_time};

/// One burdock before one service that is there by every protocol.
struct Pairs {
    burdock: Burdock,
    _origins: [Origin; 3],
}

/// A client of one protocol, and the URL of an origin of another.
struct Pair {
    name: &'static str,
    client: Client,
    client_http2: bool,
    origin_http2: bool,
    base: &'static str,
}

impl Pair {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

async fn pairs<F>(service: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static) -> Pairs
where
    F: Future<Output = Response<Streamed>> + Send + 'static,
{
    let origins = [
        Origin::serving("plain.example", Speaks::Plain, service.clone()).await,
        Origin::serving("old.example", Speaks::Http1, service.clone()).await,
        Origin::serving("new.example", Speaks::Http2, service).await,
    ];
    let burdock = Burdock::before(&origins.each_ref()).await;
    Pairs {
        burdock,
        _origins: origins,
    }
}

impl Pairs {
    /// All pairs, with a new client each.
    fn each(&self) -> impl Iterator<Item = Pair> {
        let pairs = [
            ("plain HTTP/1.1", false, "http://plain.example", false),
            ("HTTP/1.1 to HTTP/1.1", false, "https://old.example", false),
            ("HTTP/1.1 to h2", false, "https://new.example", true),
            ("h2 to HTTP/1.1", true, "https://old.example", false),
            ("h2 to h2", true, "https://new.example", true),
        ];
        pairs
            .into_iter()
            .map(|(name, client_http2, base, origin_http2)| {
                let client = self.burdock.client();
                Pair {
                    name,
                    client: if client_http2 { client.http2() } else { client },
                    client_http2,
                    origin_http2,
                    base,
                }
            })
    }

    /// HTTP/1.1 connections by which each origin is reached, and the request target for it there.
    async fn wires(&self) -> [(Raw, &'static str, &'static str); 3] {
        let (old, _) = self.burdock.client().tls_tunnel("old.example:443").await;
        let (new, _) = self.burdock.client().tls_tunnel("new.example:443").await;
        [
            (
                Raw::connect(self.burdock.proxy).await,
                "http://plain.example/",
                "plain.example",
            ),
            (old, "/", "old.example"),
            (new, "/", "new.example"),
        ]
    }
}

fn answer(body: Streamed) -> Response<Streamed> {
    Response::new(body)
}

fn empty() -> Body {
    "".into()
}

fn data<E>(text: &'static str) -> Result<Frame<Bytes>, E> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailer<E>(name: &'static str, value: &str) -> Result<Frame<Bytes>, E> {
    let mut fields = HeaderMap::new();
    fields.insert(name, value.parse().expect("a field value"));
    Ok(Frame::trailers(fields))
}

/// Answers with the request's trailer `x-sum` in a trailer `x-back`; `announce` says so beforehand.
async fn mirror_trailer(request: Request<Incoming>, announce: bool) -> Response<Streamed> {
    let sent = request.into_body().collect().await.expect("a whole body");
    let sum = sent.trailers().and_then(|fields| fields.get("x-sum"));
    let sum = sum
        .map_or("none", |sum| sum.to_str().expect("ASCII"))
        .to_owned();
    let (frames, body) = channel();
    tokio::spawn(async move {
        // A client that is gone wants no trailers.
        let _ = frames.send(data("body")).await;
        let _ = frames.send(trailer("x-back", &sum)).await;
    });
    let mut response = answer(body.boxed());
    if announce {
        let name = "x-back".parse().expect("a field value");
        response.headers_mut().insert("trailer", name);
    }
    response
}

async fn trailer_round_trip(pair: &mut Pair, announce: bool) -> Option<String> {
    let (frames, body) = channel::<Infallible>();
    let mut call = request("POST", &pair.url("/")).header("te", "trailers");
    if announce {
        call = call.header("trailer", "x-sum");
    }
    tokio::spawn(async move {
        let _ = frames.send(data("sent")).await;
        let _ = frames.send(trailer("x-sum", "42")).await;
    });
    let call = call.body(Body::stream(body)).expect("a valid request");
    let response = pair.client.stream(call).await.expect("a tunnel");
    let received = within("the body", response.into_body().collect()).await;
    let received = received.expect("a whole body");
    let back = received.trailers().and_then(|fields| fields.get("x-back"));
    let back = back.map(|value| value.to_str().expect("ASCII").to_owned());
    assert_eq!(received.to_bytes(), "body", "{}", pair.name);
    back
}

#[tokio::test]
async fn trailers_that_are_announced_pass_both_ways() {
    let pairs = pairs(|request| mirror_trailer(request, true)).await;
    for mut pair in pairs.each() {
        let back = trailer_round_trip(&mut pair, true).await;
        assert_eq!(back.as_deref(), Some("42"), "{}", pair.name);
    }
}

#[tokio::test]
async fn trailers_that_nobody_announced_pass_where_both_sides_speak_h2() {
    let pairs = pairs(|request| mirror_trailer(request, false)).await;
    let mut pair = pairs.each().last().expect("h2 to h2");
    let back = trailer_round_trip(&mut pair, false).await;
    assert_eq!(back.as_deref(), Some("42"), "{}", pair.name);
}

/// An origin that records request bodies as they were on the wire, and answers with a trailer.
async fn raw_trailers(trailer: &'static str) -> (Origin, mpsc::UnboundedReceiver<String>) {
    let (told, bodies) = mpsc::unbounded_channel();
    let old = Origin::tls_tcp("old.example", &["http/1.1"], move |mut wire, _| {
        let told = told.clone();
        async move {
            wire.head().await;
            let body = wire.until(b"\r\n\r\n").await;
            told.send(text(&body)).expect("the test listens");
            wire.send(format!(
                "HTTP/1.1 200 OK\r\n{trailer}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 42\r\n\r\n"
            ))
            .await;
            wire.rest().await;
        }
    })
    .await;
    (old, bodies)
}

/// What an origin and a client get of trailers on HTTP/1.1, as it is on the wire.
async fn trailers_on_http_1(te: &str, trailer: &'static str) -> (String, String) {
    let (old, mut bodies) = raw_trailers(trailer).await;
    let burdock = Burdock::before(&[&old]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("old.example:443").await;
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: old.example\r\n{te}{trailer}Transfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n"
    ))
    .await;
    let sent = within("the upload", bodies.recv()).await;
    assert_eq!(wire.head().await.status(), 200);
    let received = text(&wire.until(b"\r\n\r\n").await);
    (sent.expect("a body"), received.to_ascii_lowercase())
}

/// RFC 9110, section 6.5.1, allows both; hyper's HTTP/1.1 writes no trailers but those.
#[tokio::test]
async fn http_1_carries_announced_trailers_only_and_to_clients_only_where_te_asks_for_them() {
    let (asks, announced) = ("TE: trailers\r\n", "Trailer: X-Sum\r\n");
    let sent = [
        "5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n",
    ];
    let received = ["1\r\nx\r\n0\r\n\r\n", "1\r\nx\r\n0\r\nx-sum: 42\r\n\r\n"];
    for (te, trailer, there, back) in [
        (asks, announced, true, true),
        (asks, "", false, false),
        ("", announced, true, false),
        ("", "", false, false),
    ] {
        let found = trailers_on_http_1(te, trailer).await;
        let wanted = (sent[usize::from(there)], received[usize::from(back)]);
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            wanted,
            "{te:?} {trailer:?}"
        );
    }
}

#[tokio::test]
async fn head_204_304_and_ranges_keep_their_fields_and_have_the_body_they_should() {
    let pairs = pairs(async |request: Request<Incoming>| {
        let response = Response::builder();
        let response = match (request.method(), request.uri().path()) {
            (&Method::HEAD, _) => response.header("content-length", "12345").body(whole("")),
            (_, "/204") => response.status(204).body(whole("")),
            (_, "/304") => response.status(304).header("etag", "\"e\"").body(whole("")),
            _ => response
                .status(206)
                .header("content-range", "bytes 5-9/20")
                .header("x-asked", &request.headers()["range"])
                .body(whole("56789")),
        };
        response.expect("a valid response")
    })
    .await;
    for mut pair in pairs.each() {
        let name = pair.name;
        let mut ask = async |method: &str, path: &str| {
            let call = request(method, &pair.url(path)).header("range", "bytes=5-9");
            pair.client
                .send(call.body(empty()).expect("a valid request"))
                .await
        };
        let head = ask("HEAD", "/").await;
        assert_eq!(head.field("content-length"), Some("12345"), "{name}");
        assert_eq!((head.status, head.body.len()), (200, 0), "{name}");
        let none = ask("GET", "/204").await;
        assert_eq!((none.status, none.body.len()), (204, 0), "{name}");
        assert_eq!(none.field("content-length"), None, "{name}");
        assert_eq!(none.field("transfer-encoding"), None, "{name}");
        let unchanged = ask("GET", "/304").await;
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{name}");
        assert_eq!(unchanged.field("etag"), Some("\"e\""), "{name}");
        assert_eq!(unchanged.field("transfer-encoding"), None, "{name}");
        let part = ask("GET", "/part").await;
        assert_eq!(
            (part.status, part.text().as_str()),
            (206, "56789"),
            "{name}"
        );
        assert_eq!(part.field("content-range"), Some("bytes 5-9/20"), "{name}");
        assert_eq!(part.field("content-length"), Some("5"), "{name}");
        assert_eq!(part.field("x-asked"), Some("bytes=5-9"), "{name}");
    }
}

#[tokio::test]
async fn a_known_length_is_kept_and_an_unknown_one_is_not_made_up() {
    let pairs = pairs(async |request: Request<Incoming>| {
        let field = |name| {
            let value = request.headers().get(name);
            value
                .map_or("none", |value| value.to_str().expect("ASCII"))
                .to_owned()
        };
        let (length, coding) = (field("content-length"), field("transfer-encoding"));
        let known = request.uri().path() == "/known";
        let sent = read_pattern(request.into_body()).await;
        let (body, _) = Counted::new(sent, known);
        let body = body.map_err(|never| match never {}).boxed();
        let response = Response::builder()
            .header("x-length", length)
            .header("x-coding", coding);
        response.body(body).expect("a valid response")
    })
    .await;
    const LENGTH: u64 = 100_000;
    for mut pair in pairs.each() {
        let name = pair.name;
        for path in ["/known", "/unknown"] {
            let (body, _) = Counted::new(LENGTH, path == "/known");
            let call = request("PUT", &pair.url(path)).body(Body::stream(body));
            let response = pair.client.stream(call.expect("a valid request")).await;
            let (parts, body) = response.expect("a tunnel").into_parts();
            assert_eq!(
                within("the body", read_pattern(body)).await,
                LENGTH,
                "{name}"
            );
            let field = |name| {
                let value: Option<&http::HeaderValue> = parts.headers.get(name);
                value.map(|value| value.to_str().expect("ASCII"))
            };
            let chunked = |http2: bool| if http2 { None } else { Some("chunked") };
            let wanted = match path {
                "/known" => (Some("100000"), "none", Some("100000"), None),
                _ => {
                    let there = chunked(pair.origin_http2).unwrap_or("none");
                    (Some("none"), there, None, chunked(pair.client_http2))
                }
            };
            let found = (
                field("x-length"),
                field("x-coding").unwrap_or("absent"),
                field("content-length"),
                field("transfer-encoding"),
            );
            assert_eq!(found, wanted, "{name} {path}");
        }
    }
}

#[tokio::test]
async fn an_event_stream_gives_its_first_event_at_once() {
    let gate = Gate::closed();
    let waiting = gate.clone();
    let pairs = pairs(move |_| {
        let gate = waiting.clone();
        async move {
            let (frames, body) = channel();
            tokio::spawn(async move {
                let _ = frames.send(data("data: 1\n\n")).await;
                gate.pass().await;
                let _ = frames.send(data("data: 2\n\n")).await;
            });
            let response = Response::builder().header("content-type", "text/event-stream");
            response.body(body.boxed()).expect("a valid response")
        }
    })
    .await;
    for mut pair in pairs.each() {
        let call = request("GET", &pair.url("/")).body(empty());
        let response = pair.client.stream(call.expect("a valid request")).await;
        let mut body = response.expect("a tunnel").into_body();
        let mut read = async || {
            let frame = within("an event", body.frame()).await?;
            Some(
                frame
                    .expect("the stream goes on")
                    .into_data()
                    .expect("an event"),
            )
        };
        assert_eq!(
            read().await.as_deref(),
            Some(&b"data: 1\n\n"[..]),
            "{}",
            pair.name
        );
        gate.let_pass(1);
        assert_eq!(
            read().await.as_deref(),
            Some(&b"data: 2\n\n"[..]),
            "{}",
            pair.name
        );
        let rest = within("the end", body.collect())
            .await
            .expect("a whole body");
        assert_eq!(rest.to_bytes(), "", "{}", pair.name);
    }
}

#[tokio::test]
async fn encoded_bodies_arrive_untouched_whatever_the_coding() {
    let pairs = pairs(async |request: Request<Incoming>| {
        let accepted = &request.headers()["accept-encoding"];
        let response = Response::builder()
            .header("content-encoding", accepted)
            .header("etag", "\"strong\"");
        let body = Bytes::from_static(b"\x1f\x8b\x08\x00 not really\x00\xff");
        response.body(whole(body)).expect("a valid response")
    })
    .await;
    for mut pair in pairs.each() {
        for coding in ["gzip", "br", "zstd", "gzip, br;q=0.5"] {
            let call = request("GET", &pair.url("/")).header("accept-encoding", coding);
            let answer = pair
                .client
                .send(call.body(empty()).expect("a valid request"))
                .await;
            assert_eq!(
                answer.body,
                &b"\x1f\x8b\x08\x00 not really\x00\xff"[..],
                "{}",
                pair.name
            );
            assert_eq!(
                answer.field("content-encoding"),
                Some(coding),
                "{}",
                pair.name
            );
            assert_eq!(answer.field("etag"), Some("\"strong\""), "{}", pair.name);
            assert_eq!(answer.field("content-length"), Some("17"), "{}", pair.name);
        }
    }
}

const COOKIES: [&str; 3] = [
    "b=2; Path=/; Expires=Tue, 24 Nov 2037 10:00:00 GMT",
    "a=1; HttpOnly",
    "c=3,4; SameSite=Lax",
];

#[tokio::test]
async fn set_cookie_lines_stay_lines_and_cookie_crumbs_become_one() {
    let pairs = pairs(async |request: Request<Incoming>| {
        let lines = request.headers().get_all("cookie").iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().expect("ASCII")).collect();
        let mut response = answer(whole(lines.join("\n")));
        for cookie in COOKIES {
            let cookie = cookie.parse().expect("a field value");
            response.headers_mut().append("set-cookie", cookie);
        }
        response
    })
    .await;
    for mut pair in pairs.each() {
        let call = request("GET", &pair.url("/"))
            .header("cookie", "z=1")
            .header("cookie", "y=2; x=3");
        let answer = pair
            .client
            .send(call.body(empty()).expect("a valid request"))
            .await;
        assert_eq!(answer.text(), "z=1; y=2; x=3", "{}", pair.name);
        let lines: Vec<_> = answer.fields.get_all("set-cookie").iter().collect();
        assert_eq!(lines, COOKIES, "{}", pair.name);
    }
}

#[tokio::test]
async fn fields_keep_the_order_of_their_first_occurrence_both_ways() {
    let pairs = pairs(async |request: Request<Incoming>| {
        let mut response = answer(whole(own(request.headers())));
        for (name, value) in [
            ("x-late", "1"),
            ("x-early", "2"),
            ("x-b", "3"),
            ("x-a", "4"),
        ] {
            let value = value.parse().expect("a field value");
            response.headers_mut().append(name, value);
        }
        response
    })
    .await;
    for mut pair in pairs.each() {
        let call = request("GET", &pair.url("/"))
            .header("x-zebra", "1")
            .header("x-ape", "2")
            .header("x-same", "3")
            .header("x-lion", "4")
            .header("x-same", "5");
        let answer = pair
            .client
            .send(call.body(empty()).expect("a valid request"))
            .await;
        assert_eq!(
            answer.text(),
            "x-zebra=1 x-ape=2 x-same=3 x-same=5 x-lion=4",
            "{}",
            pair.name
        );
        let wanted = "x-late=1 x-early=2 x-b=3 x-a=4 x-burdock-route=http";
        assert_eq!(own(&answer.fields), wanted, "{}", pair.name);
    }
}

/// The fields whose names begin with `x-`, in their order.
fn own(fields: &HeaderMap) -> String {
    let own = fields
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-"));
    let shown = own.map(|(name, value)| format!("{name}={}", value.to_str().expect("ASCII")));
    shown.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_repeated_name_is_grouped_at_its_first_place_on_http_1_and_an_h2_name_gets_capitals() {
    let old = Origin::tls("old.example").start().await;
    let reply = Reply::text("").field("x-odd-name", "1");
    let new = Origin::h2("new.example").on("/", reply).start().await;
    let burdock = Burdock::before(&[&old, &new]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("old.example:443").await;
    wire.send("GET / HTTP/1.1\r\nHost: old.example\r\nX-a: 1\r\nX-B: 2\r\nx-A: 3\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.head.status(), 200);
    assert_eq!(
        old.last().head.lines,
        ["Host: old.example", "X-a: 1", "x-A: 3", "X-B: 2"]
    );
    let (mut wire, _) = burdock.client().tls_tunnel("new.example:443").await;
    wire.send("GET / HTTP/1.1\r\nHost: new.example\r\n\r\n")
        .await;
    let head = wire.answer().await.head;
    assert!(head.names().contains(&"X-Odd-Name"), "{head:?}");
}

#[tokio::test]
async fn an_early_response_reaches_a_client_that_is_still_uploading() {
    let pairs = pairs(async |_| {
        let mut response = answer(whole("too much"));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        response
    })
    .await;
    for mut pair in pairs.each() {
        let (frames, body) = channel::<Infallible>();
        frames
            .send(data("the first of many"))
            .await
            .expect("room for one");
        let call = request("POST", &pair.url("/")).body(Body::stream(body));
        let answer = pair.client.send(call.expect("a valid request")).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (413, "too much"),
            "{}",
            pair.name
        );
        drop(frames);
    }
}

const BIG: u64 = 20 << 20;

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    let pairs = pairs(async |request: Request<Incoming>| {
        let sent = read_pattern(request.into_body()).await;
        let (body, _) = Counted::new(sent, false);
        answer(body.map_err(|never| match never {}).boxed())
    })
    .await;
    for mut pair in pairs.each() {
        let (body, _) = Counted::new(BIG, false);
        let call = request("POST", &pair.url("/")).body(Body::stream(body));
        let call = call.expect("a valid request");
        let response = pair.client.stream(call).await.expect("a tunnel");
        let received = within("the download", read_pattern(response.into_body())).await;
        assert_eq!(received, BIG, "{}", pair.name);
    }
}

/// More than all sockets and windows on the way could hold.
const ENDLESS: u64 = 1 << 30;
/// What the sockets and windows on the way may hold: the kernel's buffers, six mebibytes and less each, most of it.
const ON_THE_WAY: u64 = 32 << 20;

/// What was taken of a body once nothing more is.
async fn settled(taken: &AtomicU64) -> u64 {
    let quiet = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = taken.load(Ordering::Relaxed);
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
    };
    within("a body that nobody reads stops", quiet).await
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_origin() {
    let (told, mut bodies) = mpsc::unbounded_channel();
    let pairs = pairs(move |_| {
        let (body, taken) = Counted::new(ENDLESS, true);
        told.send(taken).expect("the test listens");
        async move { answer(body.map_err(|never| match never {}).boxed()) }
    })
    .await;
    for mut pair in pairs.each() {
        let call = request("GET", &pair.url("/")).body(empty());
        let response = pair.client.stream(call.expect("a valid request")).await;
        let mut body = response.expect("a tunnel").into_body();
        let taken = bodies.recv().await.expect("a request arrived");
        let stopped_at = settled(&taken).await;
        assert!(stopped_at < ON_THE_WAY, "{}: {stopped_at}", pair.name);
        // It is the reader that it waits for.
        let mut read = 0;
        while read <= stopped_at {
            let frame = within("more of the body", body.frame()).await;
            let frame = frame.expect("the body goes on").expect("the body goes on");
            read += frame.into_data().expect("data").len() as u64;
        }
        assert!(taken.load(Ordering::Relaxed) > stopped_at, "{}", pair.name);
    }
}

#[tokio::test]
async fn an_origin_that_stops_reading_stops_the_client() {
    let gate = Gate::closed();
    let waiting = gate.clone();
    let pairs = pairs(move |request: Request<Incoming>| {
        let gate = waiting.clone();
        async move {
            gate.pass().await;
            answer(whole(read_pattern(request.into_body()).await.to_string()))
        }
    })
    .await;
    const LENGTH: u64 = 64 << 20;
    for mut pair in pairs.each() {
        let (body, taken) = Counted::new(LENGTH, true);
        let call = request("POST", &pair.url("/")).body(Body::stream(body));
        let call = call.expect("a valid request");
        let upload = tokio::spawn(async move { pair.client.send(call).await });
        let stopped_at = settled(&taken).await;
        assert!(stopped_at < ON_THE_WAY, "{}: {stopped_at}", pair.name);
        gate.let_pass(1);
        let answer = within("the upload", upload).await.expect("no panic");
        assert_eq!(answer.text(), LENGTH.to_string(), "{}", pair.name);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_does_not_look_complete() {
    let gate = Gate::closed();
    let waiting = gate.clone();
    let pairs = pairs(move |request: Request<Incoming>| {
        let gate = waiting.clone();
        async move {
            let (frames, body) = channel::<Broken>();
            tokio::spawn(async move {
                let _ = frames.send(data("half")).await;
                gate.pass().await;
                let _ = frames.send(Err("the test breaks it off".into())).await;
            });
            let mut response = answer(body.boxed());
            if request.uri().path() == "/known" {
                let length = "8".parse().expect("a field value");
                response.headers_mut().insert("content-length", length);
            }
            response
        }
    })
    .await;
    for mut pair in pairs.each() {
        for path in ["/known", "/unknown"] {
            let call = request("GET", &pair.url(path)).body(empty());
            let response = pair.client.stream(call.expect("a valid request")).await;
            let mut body = response.expect("a tunnel").into_body();
            let first = within("the first half", body.frame())
                .await
                .expect("a frame");
            let first = first
                .expect("it is whole so far")
                .into_data()
                .expect("data");
            assert_eq!(first, "half", "{} {path}", pair.name);
            gate.let_pass(1);
            let read = within("the end", body.collect()).await;
            assert!(read.is_err(), "{} {path}: {read:?}", pair.name);
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_does_not_look_complete() {
    let (told, mut uploads) = mpsc::unbounded_channel();
    let pairs = pairs(move |request: Request<Incoming>| {
        let told = told.clone();
        async move {
            let mut body = request.into_body();
            let first = body.frame().await;
            told.send(first.is_some_and(|frame| frame.is_ok()))
                .expect("the test listens");
            let rest = body.collect().await;
            told.send(rest.is_ok()).expect("the test listens");
            answer(whole(""))
        }
    })
    .await;
    for (mut wire, target, host) in pairs.wires().await {
        wire.send(format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
        ))
        .await;
        assert_eq!(
            within("the first half", uploads.recv()).await,
            Some(true),
            "{host}"
        );
        drop(wire);
        assert_eq!(
            within("the end", uploads.recv()).await,
            Some(false),
            "{host}"
        );
    }
    for host in ["old.example", "new.example"] {
        let tunnel = pairs.burdock.client().http2();
        let (wire, _) = tunnel.tls_tunnel(&format!("{host}:443")).await;
        let mut frames = Frames::client(wire, &[]).await;
        let head = request_fields("POST", &format!("https://{host}/"));
        frames.send(kind::HEADERS, END_HEADERS, 1, &head).await;
        frames.send(kind::DATA, 0, 1, b"half").await;
        assert_eq!(
            within("the first half", uploads.recv()).await,
            Some(true),
            "{host}"
        );
        frames.reset(1, code::CANCEL).await;
        assert_eq!(
            within("the end", uploads.recv()).await,
            Some(false),
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_client_that_ends_its_half_after_the_request_is_answered() {
    let (told, mut arrived) = mpsc::unbounded_channel();
    let gate = Gate::closed();
    let waiting = gate.clone();
    let pairs = pairs(move |_| {
        let (told, gate) = (told.clone(), waiting.clone());
        async move {
            told.send(()).expect("the test listens");
            gate.pass().await;
            answer(whole("still there"))
        }
    })
    .await;
    for (mut wire, target, host) in pairs.wires().await {
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        within("the request", arrived.recv())
            .await
            .expect("a request");
        wire.finish().await;
        gate.let_pass(1);
        assert_eq!(wire.answer().await.body, b"still there", "{host}");
    }
}

/// An origin that says 103, and 200 once the gate lets it.
async fn hinting(name: &str, http2: bool, gate: &Gate) -> Origin {
    let gate = gate.clone();
    let alpn: &[&str] = if http2 { &["h2"] } else { &["http/1.1"] };
    Origin::tls_tcp(name, alpn, move |mut wire, _| {
        let gate = gate.clone();
        async move {
            if http2 {
                let mut frames = Frames::server(wire, &[]).await;
                let Some(head) = frames.next_of(kind::HEADERS).await else {
                    return;
                };
                let hint = fields(&[(":status", "103"), ("link", "</a.css>; rel=preload")]);
                frames
                    .send(kind::HEADERS, END_HEADERS, head.stream, &hint)
                    .await;
                gate.pass().await;
                frames.ok(head.stream, b"page").await;
                while frames.next().await.is_some() {}
            } else if wire.next_head().await.is_some() {
                wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
                    .await;
                gate.pass().await;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")
                    .await;
                wire.rest().await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_103_passes_at_once_from_http_1_to_http_1_and_is_dropped_elsewhere() {
    let gate = Gate::closed();
    let old = hinting("old.example", false, &gate).await;
    let new = hinting("new.example", true, &gate).await;
    let burdock = Burdock::before(&[&old, &new]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("old.example:443").await;
    wire.send("GET / HTTP/1.1\r\nHost: old.example\r\n\r\n")
        .await;
    let hint = wire.head().await;
    assert_eq!(hint.status(), 103);
    assert_eq!(hint.field("link"), Some("</a.css>; rel=preload"));
    gate.let_pass(1);
    let head = wire.head().await;
    assert_eq!((head.status(), head.field("link")), (200, None));
    assert_eq!(wire.take(4).await, b"page");

    gate.let_pass(1);
    let (mut wire, _) = burdock.client().tls_tunnel("new.example:443").await;
    wire.send("GET / HTTP/1.1\r\nHost: new.example\r\n\r\n")
        .await;
    let head = wire.head().await;
    assert_eq!((head.status(), head.field("link")), (200, None));

    for host in ["old.example", "new.example"] {
        gate.let_pass(1);
        let tunnel = burdock.client().http2();
        let (wire, _) = tunnel.tls_tunnel(&format!("{host}:443")).await;
        let mut frames = Frames::client(wire, &[]).await;
        frames.get(1, &format!("https://{host}/")).await;
        let mut heads = Vec::new();
        let mut body = Vec::new();
        while !body.ends_with(b"page") {
            let frame = within("a frame", frames.next())
                .await
                .expect("the connection lasts");
            match frame.kind {
                kind::HEADERS => heads.push(frame.payload),
                kind::DATA => body.extend(frame.payload),
                _ => {}
            }
        }
        assert_eq!(heads.len(), 1, "{host}");
        assert!(heads[0].starts_with(STATUS_200), "{host}");
    }
}

#[tokio::test]
async fn a_body_that_waits_for_100_continue_is_asked_for_at_once_where_the_origin_speaks_h2() {
    let new = Origin::h2("new.example").start().await;
    let burdock = Burdock::before(&[&new]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("new.example:443").await;
    wire.send(
        "PUT / HTTP/1.1\r\nHost: new.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    )
    .await;
    assert_eq!(wire.head().await.status(), 100);
    wire.send("hello").await;
    assert_eq!(wire.answer().await.head.status(), 200);
    assert_eq!(new.last().body, b"hello");
}

#[tokio::test]
async fn an_origin_that_ignores_the_expectation_gets_the_body_after_a_second() {
    let old = Origin::tls_tcp("old.example", &["http/1.1"], async |mut wire, _| {
        let head = wire.head().await;
        assert_eq!(head.field("expect"), Some("100-continue"));
        assert_eq!(wire.take(5).await, b"hello");
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        wire.rest().await;
    })
    .await;
    let burdock = Burdock::before(&[&old]).await;
    let (mut wire, _) = burdock.client().tls_tunnel("old.example:443").await;
    wire.send(
        "PUT / HTTP/1.1\r\nHost: old.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    )
    .await;
    assert_eq!(wire.head().await.status(), 100);
    wire.send("hello").await;
    assert_eq!(wire.answer().await.head.status(), 200);
}

#[tokio::test]
async fn an_upgrade_goes_by_http_1_also_to_an_origin_that_prefers_h2() {
    let reply = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Extensions: x-mine; a=1\r\n\
                 Set-Cookie: seat=4\r\nSet-Cookie: row=7\r\n\r\n";
    let new = Origin::h2("new.example")
        .on("/page", Reply::text("page"))
        .respond(move |_| Reply::wire(reply).then_echo())
        .start()
        .await;
    let burdock = Burdock::before(&[&new]).await;
    let mut client = burdock.visitor("a");
    client.get("https://new.example/page").await;
    assert!(new.last().h2);
    let (mut wire, _) = burdock.client().tls_tunnel("new.example:443").await;
    wire.send(
        "GET / HTTP/1.1\r\nHost: new.example\r\nX-Session-ID: a\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Protocol: chat.v1, chat.v2\r\n\r\n",
    )
    .await;
    let head = wire.answer().await.head;
    assert_eq!(head.start, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.field("upgrade"), Some("WebSocket"));
    assert_eq!(head.field("sec-websocket-protocol"), Some("chat.v2"));
    assert_eq!(head.field("sec-websocket-extensions"), Some("x-mine; a=1"));
    assert_eq!(head.fields("set-cookie"), ["seat=4", "row=7"]);
    wire.send("any bytes").await;
    assert_eq!(wire.take(9).await, b"any bytes");
    let seen = new.last();
    assert!(!seen.h2);
    assert_eq!(
        seen.field("sec-websocket-protocol"),
        Some("chat.v1, chat.v2")
    );
}

#[tokio::test]
async fn an_upgrade_that_the_origin_refuses_arrives_as_the_refusal_it_is() {
    let refusal = "HTTP/1.1 426 Not Like That\r\nUpgrade: h3\r\nConnection: Upgrade\r\nX-Why: version\r\n\
                   Set-Cookie: no=1\r\nContent-Length: 7\r\n\r\nrefused";
    let old = Origin::tls("old.example")
        .respond(move |_| Reply::wire(refusal))
        .start()
        .await;
    let plain = Origin::plain("plain.example")
        .respond(move |_| Reply::wire(refusal))
        .start()
        .await;
    let burdock = Burdock::before(&[&old, &plain]).await;
    let (tunnel, _) = burdock.client().tls_tunnel("old.example:443").await;
    let direct = Raw::connect(burdock.proxy).await;
    for (mut wire, target, host) in [
        (tunnel, "/", "old.example"),
        (direct, "http://plain.example/", "plain.example"),
    ] {
        // Twice, as the connection stays an HTTP connection.
        for _ in 0..2 {
            wire.send(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            ))
            .await;
            let answer = wire.answer().await;
            assert_eq!(answer.head.start, "HTTP/1.1 426 Not Like That", "{host}");
            assert_eq!(answer.head.field("x-why"), Some("version"), "{host}");
            assert_eq!(answer.head.fields("set-cookie"), ["no=1"], "{host}");
            assert_eq!(answer.body, b"refused", "{host}");
        }
    }
}

#[tokio::test]
async fn a_websocket_client_and_server_agree_and_talk_plain_and_intercepted() {
    let burdock = Burdock::new().start().await;
    let (certificate, key) = tls::TRUSTED.leaf(&["chat.localhost"]);
    let mut files = Vec::new();
    for (name, pem) in [("chat.pem", certificate), ("chat.key", key)] {
        let file = burdock.folder().join(name);
        std::fs::write(&file, pem).expect("the folder is ours");
        files.push(file);
    }
    let mut command = tool::command(&tool::python());
    command
        .arg(tool::script("websocket_pairs.py"))
        .arg(format!("http://{}", burdock.proxy))
        .arg(burdock.ca_file())
        .args(files);
    let patience = Duration::from_secs(60);
    let found = within_time(patience, "the conversation", tool::stdout(command)).await;
    let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
    let wanted = serde_json::json!({
        "subprotocol": "chat.v2",
        "extensions": true,
        "cookies": ["seat=4"],
        "echo": "gr\u{fc}\u{df}e",
        "close": [4001, "as you wish"],
        "refusal": [403, "not today"],
    });
    assert_eq!(found["ws"], wanted);
    assert_eq!(found["wss"], wanted);
}
