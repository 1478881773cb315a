//! What must never be reached, read or told.

use crate::support::client::{basic, request};
use crate::support::problem::{assert_fault, assert_problem};
use crate::support::{Answer, Burdock, Origin, Raw, Reply};

async fn connect(burdock: &Burdock, target: &str) -> Answer {
    burdock.client().connect(target).await.0.into()
}

#[tokio::test]
async fn burdocks_own_listeners_are_unreachable_through_it() {
    let disguise = |address: std::net::SocketAddr| {
        format!("disguise.example:{0}:127.0.0.1:{0}", address.port())
    };
    let burdock = Burdock::new().start().await;
    for own in [burdock.proxy, burdock.admin] {
        let port = own.port();
        for host in [
            "127.0.0.1",
            "localhost",
            "x.localhost",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
        ] {
            let answer = burdock
                .client()
                .get(&format!("http://{host}:{port}/"))
                .await;
            assert_fault(&answer, "loop-detected", 508);
            assert_fault(
                &connect(&burdock, &format!("{host}:{port}")).await,
                "loop-detected",
                508,
            );
        }
    }
    // The port is only known once it listens, so a second one is disguised as the first one's origin.
    let second = Burdock::new().start().await;
    let route = disguise(second.proxy);
    let chained = Burdock::new()
        .config(&format!("upstream.connect_to = [{route:?}]"))
        .start()
        .await;
    let answer = chained
        .client()
        .get(&format!("http://disguise.example:{}/", second.proxy.port()))
        .await;
    assert_ne!(
        answer.status, 508,
        "another burdock is no loop by its address"
    );
}

#[tokio::test]
async fn link_local_addresses_are_unreachable_by_any_name() {
    let routes = "upstream.connect_to = ['meta.example:80:169.254.169.254:80', 'six.example:80:[fe80::1]:80']";
    let burdock = Burdock::new().config(routes).start().await;
    for host in [
        "169.254.169.254",
        "169.254.0.1",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "meta.example",
        "six.example",
    ] {
        let answer = burdock
            .client()
            .get(&format!("http://{host}/latest/meta-data"))
            .await;
        assert_fault(&answer, "destination-denied", 403);
        assert_fault(
            &connect(&burdock, &format!("{host}:80")).await,
            "destination-denied",
            403,
        );
    }
}

#[tokio::test]
async fn denied_networks_are_unreachable_whatever_is_allowed() {
    let shop = Origin::tls("shop.example").start().await;
    let policy = "upstream.deny = ['127.0.0.0/8']\nupstream.allow = ['127.0.0.1/32']";
    let burdock = Burdock::new()
        .connect_to(&shop)
        .config(policy)
        .start()
        .await;
    assert_fault(
        &burdock.client().get("https://shop.example/").await,
        "destination-denied",
        403,
    );
    assert_eq!(shop.connections(), 0);
}

#[tokio::test]
async fn a_proxy_for_others_reaches_no_private_address_by_any_form_or_redirect() {
    const TOKEN: &str = "a-token-of-this-test";
    let shop = Origin::plain("shop.example")
        .on("/away", Reply::redirect("http://127.0.0.2/secret"))
        .start()
        .await;
    let routes = "upstream.connect_to = ['inner.example:80:10.0.0.1:80']";
    let exposed = |config: &str| {
        let builder = Burdock::new().flag("--listen").flag("127.0.0.1:0");
        let builder = builder.flag("--listen").flag("0.0.0.0:0");
        builder.config(&format!("proxy.auth.tokens = ['{TOKEN}']\n{config}"))
    };
    let burdock = exposed(routes).start().await;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "localhost",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "169.254.169.254",
        "inner.example",
    ] {
        let port = if host == "inner.example" {
            80
        } else {
            shop.address().port()
        };
        let mut client = burdock.client().credentials("a", TOKEN);
        let answer = client.get(&format!("http://{host}:{port}/")).await;
        assert_eq!(answer.status, 403, "{host}: {answer:?}");
        assert_fault(&answer, "destination-denied", 403);
        let (refused, _) = client.connect(&format!("{host}:{port}")).await;
        assert_fault(&refused.into(), "destination-denied", 403);
    }
    assert_eq!(shop.connections(), 0);
    // What is allowed is, and nothing that it redirects to.
    let allowed = "upstream.allow = ['127.0.0.1/32']";
    let builder = exposed(allowed).connect_to(&shop);
    let burdock = builder.start().await;
    let scrape = async |path: &str| {
        let call = format!(r#"{{"url": "http://shop.example{path}"}}"#);
        burdock.api("POST", "/api/scrape", &call).await
    };
    assert_eq!(scrape("/").await.status, 200);
    assert_fault(&scrape("/away").await, "destination-denied", 403);
}

#[tokio::test]
async fn requests_that_two_parsers_could_read_differently_get_400_and_the_end() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    for fields in [
        "X-A: 1\r\n folded\r\n",
        "X-A : 1\r\n",
        "X-A: 1\rX-B: 2\r\n",
        "X-A: a\0b\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 6\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        ": empty\r\n",
        "no colon\r\n",
        "Host: other.example\r\n",
    ] {
        let mut wire = Raw::connect(burdock.proxy).await;
        wire.send(format!(
            "POST http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n"
        ))
        .await;
        let answer = wire.answer().await;
        assert_eq!(answer.head.status(), 400, "{fields:?}");
        wire.closed().await;
    }
    assert_eq!(shop.requests().len(), 0);
}

#[tokio::test]
async fn what_is_refused_is_refused_behind_another_request_as_well() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let good = "POST http://shop.example/good HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\na\n\n";
    for (at, bad) in [
        "GET http://shop.example/bad HTTP/1.1\nHost: shop.example\r\n\r\n",
        "GET http://shop.example/bad HTTP/1.1\r\nHost: shop.example\nX-A: 1\r\n\r\n",
        "POST http://shop.example/bad HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\n",
    ]
    .into_iter()
    .enumerate()
    {
        let after = "GET http://shop.example/after HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        let mut wire = Raw::connect(burdock.proxy).await;
        wire.send([good, bad, after].concat()).await;
        assert_eq!(wire.answer().await.head.status(), 200, "{bad:?}");
        assert_fault(&wire.answer().await.into(), "bad-request", 400);
        wire.closed().await;
        let seen = shop.requests();
        assert_eq!(seen.len(), at + 1, "{bad:?}: {seen:?}");
        assert!(seen.iter().all(|seen| seen.target == "/good"), "{seen:?}");
    }
    // A length and a coding: the request is answered, and nothing after it is read.
    let both = "POST http://shop.example/both HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\
                Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET http://shop.example/smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send([good, both].concat()).await;
    for _ in 0..2 {
        assert_eq!(wire.answer().await.head.status(), 200);
    }
    wire.closed().await;
    assert_eq!(shop.last().target, "/both");
}

#[tokio::test]
async fn chunked_decides_over_a_length_and_the_connection_ends_or_both_are_refused() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send(
        "POST http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n\
         GET http://shop.example/smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    )
    .await;
    let answer = wire.answer().await;
    if answer.head.status() != 400 {
        assert_eq!(answer.head.status(), 200);
        let seen = shop.last();
        assert_eq!(
            (seen.body.as_slice(), seen.field("content-length")),
            (b"ab".as_slice(), None)
        );
    }
    wire.closed().await;
    assert!(
        shop.requests()
            .iter()
            .all(|seen| seen.target != "/smuggled")
    );
}

#[tokio::test]
async fn the_admin_port_answers_only_to_its_own_names() {
    let config = "admin.allowed_hosts = ['burdock.internal']";
    let burdock = Burdock::new().config(config).start().await;
    let port = burdock.admin.port();
    let url = format!("http://{}/api/v1/sessions", burdock.admin);
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        ("localhost".to_owned(), 200),
        (format!("LOCALHOST:{port}"), 200),
        (format!("burdock.internal:{port}"), 200),
        (format!("evil.example:{port}"), 403),
        ("evil.example".to_owned(), 403),
        (format!("127.0.0.1.evil.example:{port}"), 403),
        (format!("localhost.evil.example:{port}"), 403),
    ] {
        let answer = burdock
            .api_call(request("GET", &url).header("host", &host), "")
            .await;
        assert_eq!(answer.status, status, "{host}");
        if status == 403 {
            assert_problem(&answer, "forbidden", 403);
        }
    }
}

#[tokio::test]
async fn other_sites_cannot_change_anything_through_a_browser() {
    let burdock = Burdock::new().start().await;
    let url = format!("http://{}/api/v1/sessions", burdock.admin);
    let json = |method: &str| request(method, &url).header("content-type", "application/json");
    burdock.api_call(json("POST"), r#"{"id":"keep"}"#).await;
    let text = burdock
        .api_call(
            request("POST", &url).header("content-type", "text/plain"),
            r#"{"id":"x"}"#,
        )
        .await;
    assert_problem(&text, "unsupported-media-type", 415);
    let untyped = burdock
        .api_call(request("POST", &url), r#"{"id":"x"}"#)
        .await;
    assert_problem(&untyped, "unsupported-media-type", 415);
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let answer = burdock
            .api_call(request("DELETE", &url).header(name, value), "")
            .await;
        assert_problem(&answer, "forbidden", 403);
        let answer = burdock
            .api_call(request("POST", &url).header(name, value), "")
            .await;
        assert_problem(&answer, "forbidden", 403);
    }
    let preflight = request("OPTIONS", &url).header("origin", "https://evil.example");
    let preflight = preflight.header("access-control-request-method", "DELETE");
    let answer = burdock.api_call(preflight, "").await;
    assert!(
        answer
            .fields
            .keys()
            .all(|name| !name.as_str().starts_with("access-control-")),
        "{answer:?}"
    );
    assert_eq!(burdock.session("keep").await["id"], "keep");
    let own = format!("http://{}", burdock.admin);
    let answer = burdock
        .api_call(request("DELETE", &url).header("origin", own), "")
        .await;
    assert_eq!(answer.status, 200, "the dashboard's own origin may");
}

#[tokio::test]
async fn the_admin_token_is_asked_for_where_one_is_set() {
    let burdock = Burdock::new()
        .config("admin.token = 'open-sesame'")
        .start()
        .await;
    let url = format!("http://{}/api/v1/sessions", burdock.admin);
    for credentials in [
        None,
        Some("Bearer wrong"),
        Some("Bearer "),
        Some("open-sesame"),
    ] {
        let mut call = request("GET", &url);
        if let Some(credentials) = credentials {
            call = call.header("authorization", credentials);
        }
        let answer = burdock.api_call(call, "").await;
        assert_problem(&answer, "unauthorized", 401);
        assert!(
            answer
                .field("www-authenticate")
                .is_some_and(|value| value.starts_with("Bearer")),
            "{answer:?}"
        );
    }
    let right = request("GET", &url).header("authorization", "Bearer open-sesame");
    assert_eq!(burdock.api_call(right, "").await.status, 200);
    assert_eq!(
        burdock.api("GET", "/healthz", "").await.status,
        200,
        "a probe carries no token"
    );
}

#[tokio::test]
async fn no_secret_is_in_the_log() {
    const SECRETS: [&str; 8] = [
        "cookie-of-the-origin",
        "cookie-of-the-client",
        "token-of-the-proxy",
        "token-of-the-admin",
        "password-of-an-upstream",
        "authorization-of-the-client",
        "wrong-proxy-token",
        "secret-of-a-header",
    ];
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::text("").cookie("sid=cookie-of-the-origin; Secure"))
        .start()
        .await;
    let plain = Origin::plain("shop.example")
        .respond(|_| Reply::text("").cookie("p=cookie-of-the-origin"))
        .start()
        .await;
    let config = "proxy.auth.tokens = ['token-of-the-proxy']\nadmin.token = 'token-of-the-admin'";
    let builder = Burdock::new()
        .connect_to(&shop)
        .connect_to(&plain)
        .config(config);
    let burdock = builder.flag("--log").flag("trace").start().await;
    let client = || {
        burdock
            .client()
            .with("X-Session-ID", "a")
            .with("Cookie", "mine=cookie-of-the-client")
            .with("Authorization", "Bearer authorization-of-the-client")
            .credentials("a", "token-of-the-proxy")
    };
    for mut client in [client(), client().http2()] {
        for url in [
            "https://shop.example/",
            "https://shop.example/2",
            "http://shop.example/",
            "http://nowhere.invalid/",
        ] {
            client.get(url).await;
        }
    }
    let wrong = format!(
        "GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\nProxy-Authorization: {}\r\n\r\n",
        basic("a", "wrong-proxy-token")
    );
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send(wrong).await;
    assert_eq!(wire.answer().await.head.status(), 407);
    let call = |method: &str, path: &str| {
        request(method, &format!("http://{}{path}", burdock.admin))
            .header("content-type", "application/json")
            .header("authorization", "Bearer token-of-the-admin")
    };
    let session = r#"{"id":"b","upstreamProxy":"http://u:password-of-an-upstream@127.0.0.1:1","headers":{"X-Api-Key":"secret-of-a-header"}}"#;
    let made = burdock
        .api_call(call("POST", "/api/v1/sessions"), session)
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(
        !made.text().contains("password-of-an-upstream"),
        "shown without its password"
    );
    let cookies =
        r#"[{"name":"x","value":"cookie-of-the-client","domain":"shop.example","path":"/"}]"#;
    burdock
        .api_call(call("PUT", "/api/v1/sessions/b/cookies"), cookies)
        .await;
    burdock
        .api_call(
            call("PUT", "/api/v1/sessions/b/cookies"),
            &cookies.replace("path", "wrong"),
        )
        .await;
    let wrong = request("GET", &format!("http://{}/api/v1/sessions", burdock.admin));
    burdock
        .api_call(
            wrong.header("authorization", "Bearer wrong-proxy-token"),
            "",
        )
        .await;
    burdock.logged("shop.example").await;
    let log = burdock.log();
    for secret in SECRETS {
        for form in [secret.to_owned(), basic("a", secret)[6..].to_owned()] {
            let line = log.lines().find(|line| line.contains(&form));
            assert!(line.is_none(), "{secret} is in the log: {line:?}");
        }
    }
}
