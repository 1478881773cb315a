//! Each error that burdock answers with itself (docs/INTERFACE.md, section 5), provoked over a real socket.

use std::net::SocketAddr;

use crate::support::client::basic;
use crate::support::problem::{assert_fault, proxy_error};
use crate::support::{Answer, Burdock, Gate, Origin, Raw, Reply};

/// What comes back for these raw bytes on the proxy port.
async fn send(burdock: &Burdock, bytes: &str) -> Answer {
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send(bytes).await;
    wire.answer().await.into()
}

async fn get(burdock: &Burdock, url: &str) -> Answer {
    burdock.visitor("f").get(url).await
}

#[tokio::test]
async fn bad_request() {
    let burdock = Burdock::new().start().await;
    for bytes in [
        "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "GET ftp://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://user@/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://shop.example:99999/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "CONNECT shop.example HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "CONNECT shop.example:0 HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "CONNECT /path HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\nX-Session-ID: not valid\r\n\r\n",
    ] {
        let answer = send(&burdock, bytes).await;
        assert_fault(&answer, "bad-request", 400);
        assert_eq!(proxy_error(&answer), "http_request_error", "{bytes:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_get_400_and_the_end() {
    let burdock = Burdock::new().start().await;
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    assert_eq!(wire.answer().await.head.status(), 400);
    wire.closed().await;
}

#[tokio::test]
async fn session_required() {
    let burdock = Burdock::new()
        .config("sessions.on_missing = 'reject'")
        .start()
        .await;
    assert_fault(
        &burdock.client().get("http://shop.example/").await,
        "session-required",
        400,
    );
}

#[tokio::test]
async fn unknown_session() {
    let burdock = Burdock::new()
        .config("sessions.on_unknown = 'reject'")
        .start()
        .await;
    assert_fault(
        &get(&burdock, "http://shop.example/").await,
        "unknown-session",
        404,
    );
}

#[tokio::test]
async fn proxy_auth_required() {
    let shop = Origin::plain("shop.example").start().await;
    let tls = Origin::tls("shop.example").start().await;
    let builder = Burdock::new().connect_to(&shop).connect_to(&tls);
    let burdock = builder
        .config("proxy.auth.tokens = ['first-token', 'second-token']")
        .start()
        .await;
    let wrong = basic("a", "wrong");
    let fields = [
        "",
        &format!("Proxy-Authorization: {wrong}\r\n"),
        "X-Proxy-Token: wrong\r\n",
        "Proxy-Authorization: Bearer x\r\n",
    ];
    for fields in fields {
        let answer = send(
            &burdock,
            &format!("GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n"),
        )
        .await;
        assert_fault(&answer, "proxy-auth-required", 407);
        let challenge = answer.field("proxy-authenticate").expect("a challenge");
        assert!(challenge.starts_with("Basic "), "{challenge}");
        let answer = send(
            &burdock,
            &format!("CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n{fields}\r\n"),
        )
        .await;
        assert_fault(&answer, "proxy-auth-required", 407);
    }
    assert_eq!((shop.connections(), tls.connections()), (0, 0));
    for token in ["first-token", "second-token"] {
        let answer = burdock
            .client()
            .credentials("a", token)
            .get("https://shop.example/")
            .await;
        assert_eq!(
            (answer.status, answer.field("x-session-id")),
            (200, Some("a"))
        );
        let answer = burdock
            .client()
            .with("X-Proxy-Token", token)
            .get("http://shop.example/")
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(shop.last().field("x-proxy-token"), None);
    }
}

#[tokio::test]
async fn destination_denied() {
    let burdock = Burdock::new()
        .config("upstream.deny = ['127.0.0.9/32']")
        .start()
        .await;
    let answer = get(&burdock, "http://127.0.0.9/").await;
    assert_fault(&answer, "destination-denied", 403);
    assert_eq!(proxy_error(&answer), "destination_ip_prohibited");
}

#[tokio::test]
async fn headers_too_large() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::new()
        .connect_to(&shop)
        .config("proxy.max_header_bytes = '16KiB'")
        .start()
        .await;
    let head = |length: usize| {
        format!(
            "Host: shop.example\r\nX-Long: {}\r\n\r\n",
            "x".repeat(length)
        )
    };
    let answer = send(
        &burdock,
        &format!("GET http://shop.example/ HTTP/1.1\r\n{}", head(17 << 10)),
    )
    .await;
    assert_fault(&answer, "headers-too-large", 431);
    let (mut wire, _) = burdock.client().tls_tunnel("shop.example:443").await;
    wire.send(format!("GET / HTTP/1.1\r\n{}", head(15 << 10)))
        .await;
    assert_eq!(wire.answer().await.head.status(), 200);
    wire.send(format!("GET / HTTP/1.1\r\n{}", head(17 << 10)))
        .await;
    assert_fault(&wire.answer().await.into(), "headers-too-large", 431);
}

#[tokio::test]
async fn dns_failed() {
    let burdock = Burdock::new().start().await;
    let answer = get(&burdock, "http://nowhere.invalid/").await;
    assert_fault(&answer, "dns-failed", 502);
    assert_eq!(proxy_error(&answer), "dns_error");
    assert!(
        answer.text().contains("nowhere.invalid"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn connect_failed() {
    let burdock = Burdock::new().start().await;
    let answer = get(&burdock, "http://127.0.0.1:1/").await;
    assert_fault(&answer, "connect-failed", 502);
    assert_eq!(proxy_error(&answer), "connection_refused");
}

#[tokio::test]
async fn upstream_tls() {
    let config = crate::support::tls::UNTRUSTED.server("shop.example", &["h2", "http/1.1"]);
    let shop = Origin::with_tls("shop.example", config).start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = get(&burdock, "https://shop.example/").await;
    assert_fault(&answer, "upstream-tls", 502);
    assert_eq!(proxy_error(&answer), "tls_certificate_error");
    let mut over_h2 = burdock.visitor("f").http2();
    assert_fault(
        &over_h2.get("https://shop.example/").await,
        "upstream-tls",
        502,
    );
}

#[tokio::test]
async fn upstream_tls_where_the_origin_speaks_none() {
    let plain = Origin::tcp("shop.example", |mut wire| async move {
        wire.try_send("HTTP/1.1 400 Plain\r\n\r\n").await.ok();
    })
    .await;
    let route = format!("shop.example:443:127.0.0.1:{}", plain.address().port());
    // Intercepted although the server speaks first: the client's own call for TLS came in time, or the
    // bytes are relayed. Either way the client is not left hanging; with /api/scrape there is no tunnel.
    let burdock = Burdock::new()
        .config(&format!("upstream.connect_to = [{route:?}]"))
        .start()
        .await;
    let answer = burdock
        .api("POST", "/api/scrape", r#"{"url":"https://shop.example/"}"#)
        .await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.json()["type"], "urn:burdock:error:upstream-tls");
}

#[tokio::test]
async fn upstream_protocol() {
    for reply in [
        Reply::hang_up(),
        Reply::wire("what is this\r\n\r\n").closing(),
        Reply::wire("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").closing(),
        Reply::wire("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").closing(),
        Reply::wire("HTTP/1.1 200 OK\r\nHalf a head").closing(),
    ] {
        let shop = Origin::tls("shop.example")
            .respond(move |_| reply.clone())
            .start()
            .await;
        let burdock = Burdock::before(&[&shop]).await;
        assert_fault(
            &get(&burdock, "https://shop.example/").await,
            "upstream-protocol",
            502,
        );
    }
}

#[tokio::test]
async fn store_unavailable() {
    let burdock = Burdock::new().start().await;
    let answer = burdock
        .api("POST", "/api/v1/sessions", r#"{"adapter":"redis"}"#)
        .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:burdock:error:store-unavailable");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("redis")),
        "{problem}"
    );
}

#[tokio::test]
async fn too_many_sessions() {
    let burdock = Burdock::new()
        .config("sessions.max_active_sessions = 1")
        .start()
        .await;
    burdock.api("POST", "/api/v1/sessions", "").await;
    let answer = get(&burdock, "http://shop.example/").await;
    assert_fault(&answer, "too-many-sessions", 503);
    assert!(answer.field("retry-after").is_some());
}

#[tokio::test]
async fn connect_timeout() {
    let deaf = Deaf::new();
    let burdock = Burdock::new()
        .config("upstream.connect_timeout = '500ms'")
        .start()
        .await;
    let answer = get(&burdock, &format!("http://{}/", deaf.address)).await;
    assert_fault(&answer, "connect-timeout", 504);
    assert_eq!(proxy_error(&answer), "connection_timeout");
    let (tunnel, _) = burdock.client().connect(&deaf.address.to_string()).await;
    assert_fault(&tunnel.into(), "connect-timeout", 504);
}

#[tokio::test]
async fn upstream_timeout() {
    let gate = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/slow", Reply::text("").after(&gate))
        .start()
        .await;
    let burdock = Burdock::new()
        .connect_to(&shop)
        .config("upstream.response_header_timeout = '500ms'")
        .start()
        .await;
    let answer = get(&burdock, "https://shop.example/slow").await;
    assert_fault(&answer, "upstream-timeout", 504);
    assert_eq!(proxy_error(&answer), "http_response_timeout");
    assert_eq!(get(&burdock, "https://shop.example/").await.status, 200);
    assert_eq!(
        shop.last().connection,
        1,
        "the connection that did not answer is not used again"
    );
}

#[tokio::test]
async fn loop_detected() {
    let burdock = Burdock::new().start().await;
    let answer = get(&burdock, &format!("http://{}/", burdock.proxy)).await;
    assert_fault(&answer, "loop-detected", 508);
    assert_eq!(proxy_error(&answer), "proxy_loop_detected");
}

#[tokio::test]
async fn a_fault_names_the_session_of_its_request() {
    let burdock = Burdock::new().start().await;
    let answer = get(&burdock, "http://127.0.0.1:1/").await;
    assert_eq!(answer.json()["sessionId"], "f");
    assert_eq!(answer.field("x-session-id"), Some("f"));
    let (tunnel, _) = burdock
        .client()
        .tunnel_session("t")
        .connect("127.0.0.1:1")
        .await;
    let tunnel: Answer = tunnel.into();
    assert_eq!(tunnel.json()["sessionId"], "t");
}

#[tokio::test]
async fn a_fault_answers_a_head_request_without_a_body() {
    let burdock = Burdock::new().start().await;
    let mut wire = Raw::connect(burdock.proxy).await;
    for _ in 0..2 {
        wire.send("HEAD http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
            .await;
        assert_eq!(wire.answer_to("HEAD").await.head.status(), 502);
    }
}

#[tokio::test]
async fn a_fault_leaves_the_connection_open_for_the_next_request() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = Raw::connect(burdock.proxy).await;
    for _ in 0..2 {
        let body = "POST http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Length: 4\r\n\r\nbody";
        wire.send(body).await;
        assert_eq!(wire.answer().await.head.status(), 502);
        wire.send("GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        assert_eq!(wire.answer().await.head.status(), 200);
    }
}

/// A listener whose queue is full: nothing answers, nothing refuses.
pub(crate) struct Deaf {
    pub(crate) address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl Deaf {
    pub(crate) fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&any.into()).expect("a free port");
        listener.listen(0).expect("it listens");
        let address = listener
            .local_addr()
            .expect("bound")
            .as_socket()
            .expect("IPv4");
        // Linux takes one more than it was told; those after it get no answer.
        let queued = (0..4)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                socket.set_nonblocking(true).expect("it can be");
                // In progress or connected; what counts is that the queue is full afterwards.
                let _ = socket.connect(&address.into());
                socket
            })
            .collect();
        Self {
            address,
            _listener: listener,
            _queued: queued,
        }
    }
}
