//! Sticky egress: each session leaves by its own upstream proxy, always by the same, and never directly.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::burdock::Builder;
use crate::support::problem::{assert_fault, fault, proxy_error};
use crate::support::proxies::{Kind, PASSWORD, TlsBefore, UpstreamProxy};
use crate::support::{Answer, Burdock, Gate, Origin, Raw, Reply, eventually};

/// A burdock that leaves by these proxies.
fn behind(proxies: &[String]) -> Builder {
    Burdock::new().config(&format!("upstream.proxies = {proxies:?}"))
}

/// The URL of a plain origin by its address, under which proxies find it as well.
fn by_address(origin: &Origin, path: &str) -> String {
    format!("http://{}{path}", origin.address())
}

/// What `GET /api/v1/egress` says of its proxies, in their order.
async fn health(burdock: &Burdock) -> Vec<Value> {
    let answer = burdock.api("GET", "/api/v1/egress", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let Value::Array(proxies) = answer.json()["proxies"].take() else {
        panic!("a list in {answer:?}")
    };
    proxies
}

fn assert_came_from(origin: &Origin, outgoing: IpAddr) {
    let peers = origin.peers();
    assert!(!peers.is_empty(), "somebody came");
    assert!(
        peers.iter().all(|peer| *peer == outgoing),
        "{peers:?}, not {outgoing}"
    );
}

/// Everything that goes through one proxy: plain, TLS, HTTP/2, a changed protocol, a tunnel whose server speaks first.
async fn everything_goes_through(proxy: &str, outgoing: IpAddr, forwards: Option<&str>) {
    let plain = Origin::plain("plain.example")
        .on(
            "/chat",
            Reply::wire("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                .then_echo(),
        )
        .start()
        .await;
    let (shop, fast) = (
        Origin::tls("shop.example").start().await,
        Origin::h2("fast.example").start().await,
    );
    let mail = Origin::tcp("mail.example", |mut wire: Raw| async move {
        wire.send("220 mail\r\n").await;
        let said = wire.until(b"\r\n").await;
        wire.send(said).await;
    })
    .await;
    let burdock = behind(&[proxy.to_owned()])
        .connect_to(&shop)
        .connect_to(&fast)
        .start()
        .await;

    let mut visitor = burdock.visitor("a");
    for round in 0..2 {
        let answer = visitor.get(&by_address(&plain, "/page")).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "ok"),
            "{proxy}: {answer:?}"
        );
        let seen = plain.last();
        assert_eq!(seen.target, "/page", "{proxy}");
        assert_eq!(seen.field("proxy-authorization"), None, "{proxy}");
        let via = seen.field("via").unwrap_or_default();
        assert!(
            via.contains(forwards.unwrap_or_default()),
            "{proxy}: Via: {via}"
        );
        for origin in [&shop, &fast] {
            let answer = visitor.get(&origin.url("/")).await;
            assert_eq!(answer.status, 200, "{proxy}, round {round}: {answer:?}");
        }
    }
    assert!(fast.last().h2, "{proxy}");
    assert_eq!(
        (shop.connections(), fast.connections()),
        (1, 1),
        "{proxy}: connections are kept"
    );
    assert_eq!(shop.last().field("via"), None, "{proxy}");

    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send(format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nX-Session-ID: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        by_address(&plain, "/chat"),
        plain.address()
    ))
    .await;
    let answer = wire.answer().await;
    assert_eq!(answer.head.status(), 101, "{proxy}: {answer:?}");
    wire.send(b"\x81\x05hello").await;
    assert_eq!(wire.take(7).await, b"\x81\x05hello", "{proxy}");

    // Named on the CONNECT, and not at all.
    for client in [burdock.client().tunnel_session("a"), burdock.client()] {
        let mut tunnel = client.tunnel(&mail.address().to_string()).await;
        assert_eq!(tunnel.until(b"\r\n").await, b"220 mail\r\n", "{proxy}");
        tunnel.send("QUIT\r\n").await;
        assert_eq!(tunnel.until(b"\r\n").await, b"QUIT\r\n", "{proxy}");
    }
    for origin in [&plain, &shop, &fast, &mail] {
        assert_came_from(origin, outgoing);
    }
    let answer = burdock.api("GET", "/api/v1/egress", "").await.text();
    let metrics = burdock.api("GET", "/metrics", "").await.text();
    let session = burdock.session("a").await;
    for text in [&answer, &metrics, &session.to_string(), &burdock.log()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let proxy = &health(&burdock).await[0];
    assert_eq!(proxy["url"], session["egress"], "{answer}");
    assert_eq!(
        (&proxy["healthy"], &proxy["failures"], &proxy["sessions"]),
        (&json!(true), &json!(0), &json!(1))
    );
    assert!(
        proxy["lastUsedAt"].is_string() && proxy.get("lastError").is_none(),
        "{answer}"
    );
    assert!(
        metrics.contains("burdock_egress_sessions{proxy="),
        "{metrics}"
    );
}

#[tokio::test]
async fn everything_goes_through_squid() {
    let (open, closed) = tokio::join!(
        UpstreamProxy::open(Kind::Squid, 21),
        UpstreamProxy::closed(Kind::Squid, 22)
    );
    for proxy in [open, closed] {
        everything_goes_through(&proxy.url("http"), proxy.outgoing, Some("squid")).await;
    }
}

#[tokio::test]
async fn everything_goes_through_tinyproxy() {
    for proxy in [
        UpstreamProxy::open(Kind::Tinyproxy, 23).await,
        UpstreamProxy::closed(Kind::Tinyproxy, 24).await,
    ] {
        everything_goes_through(&proxy.url("http"), proxy.outgoing, Some("tinyproxy")).await;
    }
}

#[tokio::test]
async fn everything_goes_through_socks() {
    let dante = UpstreamProxy::open(Kind::Dante, 25).await;
    let microsocks = UpstreamProxy::closed(Kind::Microsocks, 26).await;
    for proxy in [dante, microsocks] {
        for scheme in ["socks5", "socks5h"] {
            everything_goes_through(&proxy.url(scheme), proxy.outgoing, None).await;
        }
    }
}

#[tokio::test]
async fn everything_goes_through_a_proxy_that_speaks_tls() {
    let squid = UpstreamProxy::closed(Kind::Squid, 27).await;
    let proxy = TlsBefore::new(&squid).await;
    everything_goes_through(&proxy.url, squid.outgoing, Some("squid")).await;
}

#[tokio::test]
async fn a_proxy_may_have_an_ipv6_address() {
    if tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
        .await
        .is_err()
    {
        return;
    }
    let shop = Origin::tls("shop.example").start().await;
    let proxy = UpstreamProxy::start(Kind::Microsocks, 28, true, Ipv6Addr::LOCALHOST.into()).await;
    for scheme in ["socks5", "socks5h"] {
        let burdock = behind(&[proxy.url(scheme)]).connect_to(&shop).start().await;
        assert_eq!(burdock.visitor("a").get(&shop.url("/")).await.status, 200);
    }
    assert_came_from(&shop, proxy.outgoing);
}

#[tokio::test]
async fn wrong_credentials_are_a_fault_of_the_proxy_and_name_it() {
    let plain = Origin::plain("plain.example").start().await;
    let shop = Origin::tls("shop.example").start().await;
    for (kind, scheme) in [
        (Kind::Squid, "http"),
        (Kind::Tinyproxy, "http"),
        (Kind::Microsocks, "socks5h"),
    ] {
        let proxy = UpstreamProxy::closed(kind, 29).await;
        let wrong = format!("{scheme}://somebody:s3cret-but-wrong@{}", proxy.address);
        let none = format!("{scheme}://{}", proxy.address);
        for url in [wrong, none] {
            let burdock = behind(std::slice::from_ref(&url))
                .connect_to(&shop)
                .start()
                .await;
            let mut visitor = burdock.visitor("a");
            let mut answers = vec![visitor.get(&shop.url("/")).await];
            let (refused, _) = burdock
                .client()
                .tunnel_session("a")
                .connect("shop.example:443")
                .await;
            answers.push(refused.into());
            // tinyproxy answers wrong ones with 401, which in place of an origin's answer cannot be told from one.
            if kind != Kind::Tinyproxy {
                answers.push(visitor.get(&by_address(&plain, "/")).await);
            }
            for answer in answers {
                assert_fault(&answer, "connect-failed", 502);
                assert_eq!(
                    proxy_error(&answer),
                    "proxy_configuration_error",
                    "{kind:?}"
                );
                let (.., detail) = fault(&answer);
                let shown = url.replace(":s3cret-but-wrong", "");
                assert!(
                    detail.contains(&shown) && !detail.contains("s3cret"),
                    "{detail}"
                );
                assert_eq!(answer.field("proxy-authenticate"), None);
            }
            let health = &health(&burdock).await[0];
            assert_eq!(
                health["healthy"], true,
                "it is there, if unwilling: {health}"
            );
            assert!(health["failures"].as_u64() >= Some(2), "{health}");
            assert!(
                health["lastError"]
                    .as_str()
                    .is_some_and(|error| error.contains("credentials")),
                "{health}"
            );
        }
    }
    assert_eq!((plain.connections(), shop.connections()), (0, 0));
}

#[tokio::test]
async fn what_a_proxy_cannot_reach_is_told_from_what_an_origin_answers() {
    let shop = Origin::tls("shop.example")
        .on("/503", Reply::status(503))
        .on("/407", Reply::status(407))
        .start()
        .await;
    // A port at which nobody listens, kept from others.
    let nobody = tokio::net::TcpSocket::new_v4().expect("a socket");
    nobody
        .bind((Ipv4Addr::LOCALHOST, 0).into())
        .expect("a free port");
    let nobody = nobody.local_addr().expect("bound");
    for (kind, scheme, wanted) in [
        (Kind::Squid, "http", "destination_unavailable"),
        (Kind::Tinyproxy, "http", "destination_unavailable"),
        (Kind::Microsocks, "socks5", "connection_refused"),
    ] {
        let proxy = UpstreamProxy::open(kind, 30).await;
        let burdock = behind(&[proxy.url(scheme)])
            .connect_to(&shop)
            .config("upstream.egress_failure = \"rehome\"")
            .start()
            .await;
        let mut visitor = burdock.visitor("a");
        for (path, status) in [("/503", 503), ("/407", 407)] {
            let answer = visitor.get(&shop.url(path)).await;
            assert_eq!(answer.status, status, "{kind:?}: the origin's own");
            assert_eq!(answer.field("proxy-status"), None);
        }
        let (refused, _) = burdock
            .client()
            .tunnel_session("a")
            .connect(&nobody.to_string())
            .await;
        let refused = Answer::from(refused);
        assert_fault(&refused, "connect-failed", 502);
        assert_eq!(proxy_error(&refused), wanted, "{kind:?}");
        let (.., detail) = fault(&refused);
        assert!(
            detail.contains(&nobody.to_string()) && detail.contains(&proxy.url(scheme)),
            "{detail}"
        );
        let health = &health(&burdock).await[0];
        assert_eq!(
            (&health["healthy"], &health["failures"]),
            (&json!(true), &json!(0)),
            "the proxy did what it should"
        );
    }
}

/// Three proxies that go out from 127.0.0.`first` and the two after it.
async fn three(first: u8) -> [UpstreamProxy; 3] {
    let start = |number| UpstreamProxy::open(Kind::Microsocks, number);
    let (one, two, other) = tokio::join!(start(first), start(first + 1), start(first + 2));
    [one, two, other]
}

/// An origin that says whose visit each is, and from where it came.
struct Visits {
    origin: Origin,
}

impl Visits {
    async fn new() -> Self {
        let origin = Origin::tls("shop.example").start().await;
        Self { origin }
    }

    /// The address that the origin sees of a session, by one request on a connection that is new or kept.
    async fn address_of(&self, burdock: &Burdock, session: &str) -> (IpAddr, Answer) {
        let path = format!("/{session}");
        let answer = burdock.visitor(session).get(&self.origin.url(&path)).await;
        assert_eq!(answer.status, 200, "{session}: {answer:?}");
        let requests = self.origin.requests();
        let seen = requests
            .iter()
            .rfind(|seen| seen.target == path)
            .expect("it arrived");
        (self.origin.peers()[seen.connection], answer)
    }
}

/// A burdock that keeps its sessions in `folder`.
fn keeping(folder: &TempDir, proxies: &[String]) -> Builder {
    behind(proxies).config(&format!(
        "adapters.file.path = {:?}\nsessions.default_adapter = \"file\"",
        folder.path().join("sessions.db").display().to_string()
    ))
}

#[tokio::test]
async fn a_session_always_leaves_by_the_same_proxy_after_a_restart_and_with_another_in_the_pool() {
    let proxies = three(31).await;
    let fourth = UpstreamProxy::open(Kind::Microsocks, 34).await;
    let visits = Visits::new().await;
    let folder = TempDir::with_prefix("burdock-egress-").expect("a temporary folder");
    let mut urls: Vec<String> = proxies.iter().map(|proxy| proxy.url("socks5h")).collect();
    let mut homes = BTreeMap::new();
    let sessions: Vec<String> = (0..50).map(|number| format!("s{number}")).collect();

    let mut burdock = keeping(&folder, &urls)
        .connect_to(&visits.origin)
        .start()
        .await;
    for session in &sessions {
        let (home, answer) = visits.address_of(&burdock, session).await;
        assert_eq!(answer.field("x-burdock-egress"), None);
        assert_eq!(visits.address_of(&burdock, session).await.0, home);
        homes.insert(session.clone(), home);
    }
    for proxy in &proxies {
        let count = homes
            .values()
            .filter(|home| **home == proxy.outgoing)
            .count();
        assert!((3..35).contains(&count), "{count} of 50 by one of three");
    }
    let bound: u64 = health(&burdock)
        .await
        .iter()
        .filter_map(|proxy| proxy["sessions"].as_u64())
        .sum();
    assert_eq!(bound, 50);

    burdock.signal(rustix::process::Signal::TERM);
    burdock.exited().await;
    urls.insert(1, fourth.url("socks5h"));
    let mut burdock = keeping(&folder, &urls)
        .connect_to(&visits.origin)
        .start()
        .await;
    for (session, home) in &homes {
        let (now, answer) = visits.address_of(&burdock, session).await;
        assert_eq!(
            (now, answer.field("x-burdock-egress")),
            (*home, None),
            "{session}"
        );
    }

    // One leaves the configuration: those that were bound to it move and are told once, nobody else does.
    burdock.signal(rustix::process::Signal::TERM);
    burdock.exited().await;
    urls.retain(|url| *url != proxies[0].url("socks5h"));
    let burdock = keeping(&folder, &urls)
        .connect_to(&visits.origin)
        .start()
        .await;
    for (session, home) in &homes {
        let before = burdock.session(session).await["egress"].clone();
        let (now, answer) = visits.address_of(&burdock, session).await;
        let (_, again) = visits.address_of(&burdock, session).await;
        assert_eq!(again.field("x-burdock-egress"), None, "{session}");
        let bound = burdock.session(session).await["egress"].clone();
        if *home == proxies[0].outgoing {
            assert_ne!(now, *home, "{session}");
            assert_eq!(
                answer.field("x-burdock-egress"),
                Some("rebound"),
                "{session}"
            );
            assert_ne!(bound, before);
        } else {
            assert_eq!(
                (now, answer.field("x-burdock-egress")),
                (*home, None),
                "{session}"
            );
            assert_eq!(bound, before);
        }
    }
    assert!(!visits.origin.peers().contains(&Ipv4Addr::LOCALHOST.into()));
}

/// Kills the proxy whose connections come from `home`, and gives its place.
fn kill(proxies: &mut [UpstreamProxy], home: IpAddr) -> usize {
    let at = proxies
        .iter()
        .position(|proxy| proxy.outgoing == home)
        .expect("one of them");
    proxies[at].kill();
    at
}

#[tokio::test]
async fn a_session_whose_proxy_is_gone_fails_until_it_is_back() {
    let mut proxies = three(35).await;
    let visits = Visits::new().await;
    let urls: Vec<String> = proxies.iter().map(|proxy| proxy.url("socks5")).collect();
    let burdock = behind(&urls).connect_to(&visits.origin).start().await;
    let (home, _) = visits.address_of(&burdock, "a").await;
    let gone = kill(&mut proxies, home);
    for _ in 0..2 {
        let answer = burdock.visitor("a").get(&visits.origin.url("/a")).await;
        assert_fault(&answer, "connect-failed", 502);
        assert_eq!(proxy_error(&answer), "connection_refused");
        assert!(fault(&answer).2.contains(&urls[gone]), "{answer:?}");
    }
    let down = &health(&burdock).await[gone];
    assert_eq!(
        (&down["url"], &down["healthy"]),
        (&json!(urls[gone]), &json!(false))
    );
    assert!(down["failures"].as_u64() >= Some(2), "{down}");
    proxies[gone].run().await;
    eventually("a probe finds it", async || {
        (health(&burdock).await[gone]["healthy"] == true).then_some(())
    })
    .await;
    assert_eq!(visits.address_of(&burdock, "a").await.0, home);
    assert!(!visits.origin.peers().contains(&Ipv4Addr::LOCALHOST.into()));
}

#[tokio::test]
async fn a_session_whose_proxy_is_gone_is_bound_to_the_next_where_it_may_be_and_is_told_so() {
    let mut proxies = three(38).await;
    let gate = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/slow", Reply::text("late").after(&gate))
        .start()
        .await;
    let visits = Visits { origin: shop };
    let folder = TempDir::with_prefix("burdock-egress-").expect("a temporary folder");
    let urls: Vec<String> = proxies.iter().map(|proxy| proxy.url("socks5h")).collect();
    let builder = || {
        keeping(&folder, &urls)
            .config("upstream.egress_failure = \"rehome\"")
            .connect_to(&visits.origin)
    };
    let mut burdock = builder().start().await;
    let (home, _) = visits.address_of(&burdock, "a").await;
    let before = burdock.session("a").await["egress"].clone();

    // In mid-flight: what the origin may have done is not done again behind the client's back.
    let mut visitor = burdock.visitor("a");
    let url = visits.origin.url("/slow");
    let slow = async {
        visitor
            .send(
                crate::support::client::request("POST", &url)
                    .body("once".into())
                    .expect("a request"),
            )
            .await
    };
    let killed = async {
        visits.origin.seen(2).await;
        kill(&mut proxies, home)
    };
    let (answer, gone) = tokio::join!(slow, killed);
    assert_fault(&answer, "upstream-protocol", 502);
    let posts = visits
        .origin
        .requests()
        .iter()
        .filter(|seen| seen.method == "POST")
        .count();
    assert_eq!(posts, 1);

    // Those that come at once move together.
    let all = futures_util::future::join_all(
        (0..4).map(|_| async { burdock.visitor("a").get(&visits.origin.url("/x")).await }),
    )
    .await;
    assert!(all.iter().all(|answer| answer.status == 200), "{all:?}");
    assert!(
        all.iter()
            .any(|answer| answer.field("x-burdock-egress") == Some("rehomed")),
        "{all:?}"
    );
    let (now, answer) = visits.address_of(&burdock, "a").await;
    assert_eq!(answer.field("x-burdock-egress"), None, "told once");
    assert_ne!(now, home);
    let after = burdock.session("a").await["egress"].clone();
    assert_ne!(after, before);
    assert_eq!(before, json!(urls[gone]));

    // A CONNECT is told as well, and requests without a session move on too.
    let mut ids = 0..;
    let other = eventually("a session bound to the dead one", async || {
        let id = format!("t{}", ids.next()?);
        let client = burdock.client().tunnel_session(&id);
        let (answer, _tunnel) = client.connect("shop.example:443").await;
        assert_eq!(answer.head.status(), 200, "{answer:?}");
        (answer.head.field("x-burdock-egress") == Some("rehomed")).then_some(id)
    })
    .await;
    assert_ne!(burdock.session(&other).await["egress"], before);
    for _ in 0..6 {
        assert_eq!(
            burdock
                .client()
                .get(&visits.origin.url("/nobody"))
                .await
                .status,
            200
        );
    }

    // It stays where it is, when its first proxy is back and after a restart.
    proxies[gone].run().await;
    assert_eq!(visits.address_of(&burdock, "a").await.0, now);
    burdock.signal(rustix::process::Signal::TERM);
    burdock.exited().await;
    let burdock = builder().start().await;
    assert_eq!(visits.address_of(&burdock, "a").await.0, now);
    assert_eq!(burdock.session("a").await["egress"], after);

    // With none left it is not torn from its own.
    for proxy in &mut proxies {
        proxy.kill();
    }
    let answer = burdock.visitor("a").get(&visits.origin.url("/a")).await;
    assert_fault(&answer, "connect-failed", 502);
    assert_eq!(burdock.session("a").await["egress"], after);
    assert!(!visits.origin.peers().contains(&Ipv4Addr::LOCALHOST.into()));
}

#[tokio::test]
async fn a_proxy_of_the_sessions_own_wins_over_pool_and_rules_and_is_never_exchanged() {
    let pool = UpstreamProxy::open(Kind::Microsocks, 41).await;
    let mut own = UpstreamProxy::closed(Kind::Squid, 42).await;
    let visits = Visits::new().await;
    let burdock = behind(&[pool.url("socks5")])
        .config("upstream.egress_failure = \"rehome\"\n[[upstream.rules]]\nmatch = \"shop.example\"\nvia = \"direct\"")
        .connect_to(&visits.origin)
        .start()
        .await;
    let body = json!({ "id": "a", "upstreamProxy": own.url("http") });
    let made = burdock
        .api("POST", "/api/v1/sessions", &body.to_string())
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["egress"], made.json()["upstreamProxy"]);
    assert!(!made.text().contains("s3cret"), "{}", made.text());
    assert_eq!(visits.address_of(&burdock, "a").await.0, own.outgoing);
    // Without it the rule decides, and the session has one of the pool for everything else.
    let patched = burdock
        .api("PATCH", "/api/v1/sessions/a", r#"{"upstreamProxy": null}"#)
        .await;
    assert_eq!(
        patched.json()["egress"],
        json!(pool.url("socks5")),
        "{patched:?}"
    );
    assert_eq!(
        visits.address_of(&burdock, "a").await.0,
        IpAddr::from(Ipv4Addr::LOCALHOST)
    );
    assert!(
        burdock
            .api("PATCH", "/api/v1/sessions/a", r#"{"egress": "http://x:1"}"#)
            .await
            .status
            == 400
    );
    let body = json!({ "upstreamProxy": own.url("http") }).to_string();
    burdock.api("PATCH", "/api/v1/sessions/a", &body).await;
    assert_eq!(
        visits.address_of(&burdock, "a").await.0,
        own.outgoing,
        "and back, by a new connection"
    );

    own.kill();
    let answer = burdock.visitor("a").get(&visits.origin.url("/a")).await;
    assert_fault(&answer, "connect-failed", 502);
    assert_eq!(answer.field("x-burdock-egress"), None);
    assert!(!answer.text().contains("s3cret") && !burdock.log().contains("s3cret"));
}

#[tokio::test]
async fn requests_without_a_session_leave_by_the_pool_and_rules_say_what_does_not() {
    let proxies = three(43).await;
    let urls: Vec<String> = proxies.iter().map(|proxy| proxy.url("socks5h")).collect();
    let (shop, near) = (
        Origin::tls("shop.example").start().await,
        Origin::tls("near.example").start().await,
    );
    let burdock = behind(&urls)
        .config("[[upstream.rules]]\nmatch = \"https://near.example\"\nvia = \"direct\"")
        .connect_to(&shop)
        .connect_to(&near)
        .start()
        .await;
    for number in 0..12 {
        let mut client = burdock.client();
        assert_eq!(client.get(&shop.url("/")).await.status, 200);
        let last = *shop.peers().last().expect("it came");
        let peers = shop.connections();
        assert_eq!(client.get(&shop.url("/again")).await.status, 200);
        assert_eq!(
            shop.connections(),
            peers,
            "{number}: one connection of one client"
        );
        assert!(proxies.iter().any(|proxy| proxy.outgoing == last), "{last}");
    }
    assert!(!shop.peers().contains(&Ipv4Addr::LOCALHOST.into()));
    for visit in [None, Some("a")] {
        let mut client = visit.map_or_else(|| burdock.client(), |id| burdock.visitor(id));
        assert_eq!(client.get(&near.url("/")).await.status, 200);
    }
    assert_came_from(&near, Ipv4Addr::LOCALHOST.into());
    let rules = burdock.api("GET", "/api/v1/egress", "").await.json()["rules"].clone();
    assert_eq!(
        rules,
        json!([{ "match": "https://near.example", "via": "direct" }])
    );
}

/// A proxy that answers for all origins itself, and keeps the heads that it was sent.
struct Scripted {
    server: Origin,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Answers CONNECT with `connect`, and everything else with 200.
    async fn new(connect: &'static str) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let server = Origin::tcp("proxy.example", move |mut wire: Raw| {
            let kept = Arc::clone(&kept);
            async move {
                while let Some((raw, head)) = wire.next_head().await {
                    kept.lock()
                        .expect("no holder panics")
                        .push(crate::support::raw::text(&raw));
                    let answer = match head.start.starts_with("CONNECT") {
                        true => connect,
                        false => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                    };
                    if wire.try_send(answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        Self { server, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no holder panics").clone()
    }
}

#[tokio::test]
async fn the_sessions_id_goes_into_the_user_name_that_asks_for_it() {
    let proxy = Scripted::new("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
    let url = format!(
        "http://customer-x-session-{{session}}:pw@{}",
        proxy.server.address()
    );
    let burdock = behind(&[url]).start().await;
    for session in ["shop-1", "b"] {
        let answer = burdock
            .visitor(session)
            .get("http://shop.example/x?y")
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let user = format!("customer-x-session-{session}:pw");
        let wanted = format!(
            "Proxy-Authorization: Basic {}\r\n",
            BASE64_STANDARD.encode(user)
        );
        let head = proxy.heads().pop().expect("it came");
        assert!(
            head.starts_with("GET http://shop.example/x?y HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains(&wanted), "{head}");
        let answer = burdock.visitor(session).get("https://shop.example/").await;
        assert_fault(&answer, "connect-failed", 502);
        let head = proxy.heads().pop().expect("it came");
        assert!(
            head.starts_with("CONNECT shop.example:443 HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains(&wanted), "{head}");
        let shown = burdock.session(session).await["egress"].clone();
        assert!(
            shown
                .as_str()
                .is_some_and(|shown| shown.contains("-{session}@")),
            "{shown}"
        );
    }
    // No session, no id of one, and still somebody: of one client connection always the same.
    let mut client = burdock.client();
    client.get("http://shop.example/").await;
    client.get("http://shop.example/").await;
    let heads = proxy.heads();
    let user = |head: &String| {
        let (_, rest) = head.split_once("Basic ").expect("credentials");
        let text = BASE64_STANDARD
            .decode(rest.split("\r\n").next().expect("a line"))
            .expect("base64");
        String::from_utf8(text).expect("ASCII")
    };
    let last: Vec<String> = heads[heads.len() - 2..].iter().map(user).collect();
    assert!(
        last[0].starts_with("customer-x-session-c") && last[0] == last[1],
        "{last:?}"
    );
}

#[tokio::test]
async fn a_request_that_the_proxy_would_have_credentials_for_is_not_taken_for_the_origins() {
    let refusing = Origin::tcp("proxy.example", |mut wire: Raw| async move {
        while wire.next_head().await.is_some() {
            let answer = "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n";
            if wire.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let burdock = behind(&[format!("http://{}", refusing.address())])
        .start()
        .await;
    let answer = burdock.visitor("a").get("http://shop.example/").await;
    assert_fault(&answer, "connect-failed", 502);
    assert_eq!(
        answer.field("proxy-authenticate"),
        None,
        "the client is not asked for what is none of its business"
    );
}

#[tokio::test]
async fn a_proxy_that_answers_nothing_or_nonsense_is_named_in_time() {
    let silent = Origin::tcp("proxy.example", |mut wire: Raw| async move {
        // Until the other side gives up.
        wire.take_whenever(1 << 20).await;
    })
    .await;
    let odd = Origin::tcp("proxy.example", |mut wire: Raw| async move {
        // Whatever it is, it is no proxy.
        if wire
            .try_send("220 mail.example ESMTP\r\n\r\n")
            .await
            .is_ok()
        {
            wire.take_whenever(1 << 20).await;
        }
    })
    .await;
    for (proxy, scheme, name, status) in [
        (&silent, "http", "connect-timeout", 504),
        (&silent, "socks5h", "connect-timeout", 504),
        (&odd, "http", "connect-failed", 502),
        (&odd, "socks5h", "connect-failed", 502),
    ] {
        let url = format!("{scheme}://u:s3cret@{}", proxy.address());
        let burdock = behind(std::slice::from_ref(&url))
            .config("upstream.connect_timeout = \"500ms\"")
            .start()
            .await;
        let answer = burdock.visitor("a").get("https://shop.example/").await;
        assert_fault(&answer, name, status);
        let (.., detail) = fault(&answer);
        assert!(detail.contains(&url.replace(":s3cret", "")), "{detail}");
    }
}

#[tokio::test]
async fn names_are_resolved_where_the_scheme_says() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let socks = Origin::tcp("proxy.example", move |mut wire: Raw| {
        let kept = Arc::clone(&kept);
        async move {
            let Some(_methods) = wire.take_whenever(3).await else {
                return;
            };
            wire.send([5, 0]).await;
            let Some(head) = wire.take_whenever(4).await else {
                return;
            };
            let address = match head[3] {
                1 => wire.take_whenever(4).await,
                4 => wire.take_whenever(16).await,
                _ => match wire.take_whenever(1).await {
                    Some(length) => wire.take_whenever(length[0].into()).await,
                    None => None,
                },
            };
            let Some(_port) = wire.take_whenever(2).await else {
                return;
            };
            kept.lock()
                .expect("no holder panics")
                .push((head[3], address.expect("an address")));
            wire.send([5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        }
    })
    .await;
    for (scheme, wanted) in [
        ("socks5h", vec![(3, b"shop.localhost".to_vec())]),
        (
            "socks5",
            vec![
                (1, vec![127, 0, 0, 1]),
                (4, Ipv6Addr::LOCALHOST.octets().to_vec()),
            ],
        ),
    ] {
        asked.lock().expect("no holder panics").clear();
        let burdock = behind(&[format!("{scheme}://{}", socks.address())])
            .start()
            .await;
        let answer = burdock.visitor("a").get("https://shop.localhost/").await;
        assert_fault(&answer, "connect-failed", 502);
        assert_eq!(proxy_error(&answer), "destination_unavailable");
        assert_eq!(*asked.lock().expect("no holder panics"), wanted, "{scheme}");
    }
}

#[tokio::test]
async fn a_connect_that_names_no_session_waits_for_the_request_that_does() {
    let pool = UpstreamProxy::open(Kind::Microsocks, 46).await;
    let own = UpstreamProxy::open(Kind::Microsocks, 47).await;
    let shop = Origin::tls("shop.example").start().await;
    let burdock = behind(&[pool.url("socks5")])
        .connect_to(&shop)
        .start()
        .await;
    let body = json!({ "id": "a", "upstreamProxy": own.url("socks5h") });
    assert_eq!(
        burdock
            .api("POST", "/api/v1/sessions", &body.to_string())
            .await
            .status,
        201
    );
    // Named inside: by nobody else's proxy before.
    assert_eq!(burdock.visitor("a").get(&shop.url("/")).await.status, 200);
    assert_eq!(shop.peers(), [own.outgoing]);
    // Silence is no session's. What is said in the end is still by its own.
    let tunnel = burdock.client().tunnel("shop.example:443").await;
    eventually(
        "a connection for a server that may speak first",
        async || (shop.connections() == 2).then_some(()),
    )
    .await;
    assert_eq!(shop.peers()[1], pool.outgoing);
    drop(tunnel);
    // It is answered at once, even where nobody could be reached.
    drop(pool);
    let (answer, _tunnel) = burdock.client().connect("shop.example:443").await;
    assert_eq!(answer.head.status(), 200);
    let answer = burdock.client().get(&shop.url("/")).await;
    assert_fault(&answer, "connect-failed", 502);
    assert!(!shop.peers().contains(&Ipv4Addr::LOCALHOST.into()));
}

#[tokio::test]
async fn plain_http_in_a_tunnel_to_port_80_is_given_to_the_proxy_as_requests() {
    // squid refuses CONNECT to port 80, as most do.
    let proxy = Scripted::new("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let burdock = behind(&[format!("http://{}", proxy.server.address())])
        .start()
        .await;
    let mut tunnel = burdock
        .client()
        .tunnel_session("a")
        .tunnel("shop.example:80")
        .await;
    tunnel
        .send("GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    assert_eq!(tunnel.answer().await.head.status(), 200);
    let head = proxy.heads().pop().expect("it came");
    assert!(
        head.starts_with("GET http://shop.example/x HTTP/1.1\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn the_egress_policy_judges_proxies_and_what_is_asked_of_them() {
    let proxy = UpstreamProxy::open(Kind::Microsocks, 48).await;
    let plain = Origin::plain("plain.example").start().await;
    // The proxy itself is denied.
    let burdock = behind(&[proxy.url("socks5h")])
        .config("upstream.deny = [\"127.0.0.1/32\"]")
        .start()
        .await;
    let answer = burdock.visitor("a").get("http://198.51.100.1/").await;
    assert_fault(&answer, "destination-denied", 403);
    assert!(
        fault(&answer).2.contains(&proxy.url("socks5h")),
        "{answer:?}"
    );
    // The destination is, as an address, by a name that is known, and after the resolver.
    for scheme in ["socks5", "socks5h"] {
        let burdock = behind(&[proxy.url(scheme)])
            .config("upstream.deny = [\"127.0.0.9/32\", \"::1/128\"]")
            .start()
            .await;
        let mut visitor = burdock.visitor("a");
        for url in [
            "http://127.0.0.9/",
            "http://[::1]/",
            "http://169.254.169.254/latest",
        ] {
            assert_fault(&visitor.get(url).await, "destination-denied", 403);
        }
        let itself = format!("http://{}/", burdock.admin);
        assert_fault(&visitor.get(&itself).await, "loop-detected", 508);
        assert_eq!(visitor.get(&by_address(&plain, "/")).await.status, 200);
    }
    // Burdock is no upstream proxy of its own.
    let burdock = Burdock::new().start().await;
    let body = json!({ "id": "a", "upstreamProxy": format!("http://{}", burdock.proxy) });
    burdock
        .api("POST", "/api/v1/sessions", &body.to_string())
        .await;
    assert_fault(
        &burdock.visitor("a").get("http://shop.example/").await,
        "loop-detected",
        508,
    );
}

#[tokio::test]
async fn a_proxy_in_a_private_range_may_be_used_where_the_proxy_is_open_to_others() {
    let proxy = Scripted::new("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
    let burdock = behind(&[format!("http://{}", proxy.server.address())])
        .flag("--listen")
        .flag("0.0.0.0:0")
        .config("proxy.auth.tokens = [\"t\"]")
        .start()
        .await;
    let mut client = crate::support::Client::new(
        (Ipv4Addr::LOCALHOST, burdock.proxy.port()).into(),
        &burdock.ca_pem(),
    )
    .credentials("a", "t");
    assert_eq!(client.get("http://shop.example/").await.status, 200);
    assert_fault(
        &client.get("http://127.0.0.77/").await,
        "destination-denied",
        403,
    );
    assert_eq!(proxy.heads().len(), 1);
}

#[tokio::test]
async fn passwords_of_proxies_are_in_no_message_about_a_wrong_configuration() {
    let (code, said) = Burdock::new()
        .config(&format!(
            "upstream.proxies = [\"ftp://u:{PASSWORD}@h:1\", \"http://u:{PASSWORD}@h:1/x\"]"
        ))
        .refused()
        .await;
    assert_eq!(code, Some(2));
    assert!(
        said.contains("upstream.proxies") && !said.contains(PASSWORD),
        "{said}"
    );
}
