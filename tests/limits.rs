//! A session's limits: rate, concurrency, the line of those who wait, and an origin's `Retry-After`.

use std::time::{Duration, Instant};

use crate::support::problem::assert_fault;
use crate::support::{Answer, Burdock, Gate, Origin, Reply};

async fn shop() -> Origin {
    Origin::tls("shop.example").start().await
}

/// A burdock whose sessions have these `[sessions.rate_limit]` settings.
async fn limited(origins: &[&Origin], settings: &str) -> Burdock {
    let builder = origins
        .iter()
        .fold(Burdock::new(), |builder, origin| builder.connect_to(origin));
    builder
        .config(&format!("[sessions.rate_limit]\n{settings}"))
        .start()
        .await
}

async fn visit(burdock: &Burdock, id: &str) -> Answer {
    burdock.visitor(id).get("https://shop.example/").await
}

/// Seconds in `Retry-After`.
fn retry_after(answer: &Answer) -> u64 {
    assert_fault(answer, "rate-limited", 429);
    answer
        .field("retry-after")
        .expect("Retry-After")
        .parse()
        .expect("seconds")
}

#[tokio::test]
async fn reject_answers_429_with_retry_after() {
    let shop = shop().await;
    let burdock = limited(
        &[&shop],
        "requests_per_second = 0.1\nburst = 2\non_limit = 'reject'",
    )
    .await;
    assert_eq!(visit(&burdock, "a").await.status, 200);
    assert_eq!(visit(&burdock, "a").await.status, 200);
    let refused = visit(&burdock, "a").await;
    assert!((1..=10).contains(&retry_after(&refused)), "{refused:?}");
    assert_eq!(refused.field("x-session-id"), Some("a"));
    assert_eq!(shop.requests().len(), 2);
    assert_eq!(
        visit(&burdock, "b").await.status,
        200,
        "another session has a limit of its own"
    );
    assert_eq!(
        burdock.client().get("https://shop.example/").await.status,
        200
    );
}

#[tokio::test]
async fn wait_spaces_requests_by_the_rate() {
    let shop = shop().await;
    let burdock = limited(&[&shop], "requests_per_second = 10\nburst = 1").await;
    let begun = Instant::now();
    for _ in 0..4 {
        assert_eq!(visit(&burdock, "a").await.status, 200);
    }
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(290),
        "4 requests at 10 a second took {took:?}"
    );
}

#[tokio::test]
async fn a_wait_that_cannot_fit_is_refused_at_once() {
    let shop = shop().await;
    let burdock = limited(
        &[&shop],
        "requests_per_second = 0.01\nburst = 1\nmax_wait = '20s'",
    )
    .await;
    visit(&burdock, "a").await;
    let begun = Instant::now();
    assert!(retry_after(&visit(&burdock, "a").await) > 20);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_waiting_request_keeps_its_place() {
    let gate = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/first", Reply::text("").after(&gate))
        .start()
        .await;
    let burdock = limited(&[&shop], "concurrency = 1").await;
    let mut running = tokio::task::JoinSet::new();
    for path in ["/first", "/2", "/3", "/4", "/5"] {
        let mut client = burdock.visitor("a");
        client.open("https://shop.example/").await;
        running.spawn(async move {
            client
                .get(&format!("https://shop.example{path}"))
                .await
                .status
        });
        // Nothing tells from outside that a request waits; its arrival takes far less than this.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gate.let_pass(1);
    while let Some(status) = running.join_next().await {
        assert_eq!(status.expect("it ends"), 200);
    }
    let order: Vec<_> = shop
        .requests()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    assert_eq!(order, ["/first", "/2", "/3", "/4", "/5"]);
}

#[tokio::test]
async fn no_more_requests_than_the_concurrency_are_in_flight() {
    let gate = Gate::closed();
    let held = gate.clone();
    let shop = Origin::tls("shop.example")
        .respond(move |_| Reply::text("").after(&held))
        .start()
        .await;
    let other = Origin::plain("other.example").start().await;
    let burdock = limited(&[&shop, &other], "concurrency = 2").await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let mut client = burdock.visitor("a");
        running.spawn(async move { client.get("https://shop.example/").await.status });
    }
    for done in 0..5 {
        let wanted = (done + 2).min(5);
        assert_eq!(shop.seen(wanted).await.len(), wanted);
        // Another session's whole exchange gives a third request every chance to slip through.
        burdock.visitor("b").get("http://other.example/").await;
        assert_eq!(shop.requests().len(), wanted, "in flight: 2");
        gate.let_pass(1);
        assert_eq!(
            running
                .join_next()
                .await
                .expect("one ends")
                .expect("it ends well"),
            200
        );
    }
}

#[tokio::test]
async fn a_place_is_free_again_when_its_client_leaves() {
    let gate = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/stuck", Reply::text("").after(&gate))
        .start()
        .await;
    let burdock = limited(&[&shop], "concurrency = 1").await;
    let (mut wire, _) = burdock
        .client()
        .tunnel_session("a")
        .tls_tunnel("shop.example:443")
        .await;
    wire.send("GET /stuck HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    shop.seen(1).await;
    drop(wire);
    assert_eq!(visit(&burdock, "a").await.status, 200);
}

#[tokio::test]
async fn a_place_is_taken_until_the_body_has_ended() {
    let shop = Origin::tls("shop.example")
        .on("/big", Reply::zeros(64 << 20))
        .start()
        .await;
    let burdock = limited(&[&shop], "concurrency = 1\non_limit = 'reject'").await;
    let (mut wire, _) = burdock
        .client()
        .tunnel_session("a")
        .tls_tunnel("shop.example:443")
        .await;
    wire.send("GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    wire.head().await;
    retry_after(&visit(&burdock, "a").await);
    wire.skip(64 << 20).await;
    let free = crate::support::eventually("a free place", async || {
        (visit(&burdock, "a").await.status == 200).then_some(())
    });
    free.await;
}

#[tokio::test]
async fn a_request_that_waits_for_a_place_gives_up_at_its_deadline() {
    let gate = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/stuck", Reply::text("").after(&gate))
        .start()
        .await;
    let burdock = limited(&[&shop], "concurrency = 1\nmax_wait = '1s'").await;
    let mut stuck = burdock.visitor("a");
    let stuck = tokio::spawn(async move { stuck.get("https://shop.example/stuck").await.status });
    shop.seen(1).await;
    let begun = Instant::now();
    retry_after(&visit(&burdock, "a").await);
    let waited = begun.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(4)).contains(&waited),
        "{waited:?}"
    );
    gate.let_pass(1);
    assert_eq!(stuck.await.expect("it ends"), 200);
}

#[tokio::test]
async fn the_rate_applies_to_each_host_by_itself_where_asked() {
    let shop = shop().await;
    let bank = Origin::tls("bank.example").start().await;
    let settings = "requests_per_second = 0.1\nburst = 1\non_limit = 'reject'\nper_host = true";
    let burdock = limited(&[&shop, &bank], settings).await;
    assert_eq!(visit(&burdock, "a").await.status, 200);
    assert_eq!(
        burdock
            .visitor("a")
            .get("https://bank.example/")
            .await
            .status,
        200
    );
    retry_after(&visit(&burdock, "a").await);
    retry_after(&burdock.visitor("a").get("https://bank.example/").await);
}

#[tokio::test]
async fn a_sessions_own_limit_replaces_the_default_and_a_patch_changes_it_at_once() {
    let shop = shop().await;
    let burdock = limited(&[&shop], "requests_per_second = 1000\nburst = 1000").await;
    let own = r#"{"id":"a","rateLimit":{"requestsPerSecond":0.1,"burst":1,"onLimit":"reject"}}"#;
    assert_eq!(
        burdock.api("POST", "/api/v1/sessions", own).await.status,
        201
    );
    assert_eq!(visit(&burdock, "a").await.status, 200);
    retry_after(&visit(&burdock, "a").await);
    let patch = r#"{"rateLimit":null}"#;
    assert_eq!(
        burdock
            .api("PATCH", "/api/v1/sessions/a", patch)
            .await
            .status,
        200
    );
    assert_eq!(visit(&burdock, "a").await.status, 200);
}

/// An origin that asks for a pause on `/busy`, in one of both ways that `Retry-After` has.
async fn busy(name: &str, status: u16, retry_after: &str) -> Origin {
    Origin::tls(name)
        .on(
            "/busy",
            Reply::status(status).field("Retry-After", retry_after),
        )
        .start()
        .await
}

#[tokio::test]
async fn an_origins_retry_after_pauses_the_session_for_that_host() {
    let shop = busy("shop.example", 503, "2").await;
    let bank = Origin::tls("bank.example").start().await;
    let burdock = limited(&[&shop, &bank], "").await;
    let mut client = burdock.visitor("a");
    assert_eq!(
        client.get("https://shop.example/busy").await.status,
        503,
        "the answer is the origin's"
    );
    let begun = Instant::now();
    assert_eq!(
        burdock
            .visitor("a")
            .get("https://bank.example/")
            .await
            .status,
        200
    );
    assert_eq!(
        visit(&burdock, "b").await.status,
        200,
        "another session is not paused"
    );
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(client.get("https://shop.example/").await.status, 200);
    assert!(
        begun.elapsed() >= Duration::from_millis(1900),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_pause_is_refused_where_limits_are() {
    let shop = busy("shop.example", 429, "100").await;
    let burdock = limited(&[&shop], "on_limit = 'reject'").await;
    let theirs = burdock.visitor("a").get("https://shop.example/busy").await;
    assert_eq!((theirs.status, theirs.field("proxy-status")), (429, None));
    assert!((90..=100).contains(&retry_after(&visit(&burdock, "a").await)));
    assert_eq!(shop.requests().len(), 1);
}

#[tokio::test]
async fn a_pause_may_be_a_date() {
    let shop = busy("shop.example", 429, "Fri, 01 Jan 2100 00:00:00 GMT").await;
    let burdock = limited(&[&shop], "on_limit = 'reject'").await;
    burdock.visitor("a").get("https://shop.example/busy").await;
    assert!(retry_after(&visit(&burdock, "a").await) > 3600);
}

#[tokio::test]
async fn a_pause_is_ignored_where_it_is_not_honoured() {
    let shop = busy("shop.example", 503, "100").await;
    let burdock = limited(&[&shop], "honor_retry_after = false").await;
    burdock.visitor("a").get("https://shop.example/busy").await;
    assert_eq!(visit(&burdock, "a").await.status, 200);
}

#[tokio::test]
async fn the_counters_say_what_happened() {
    let shop = Origin::tls("shop.example")
        .on("/five", Reply::text("12345"))
        .start()
        .await;
    let own = r#"{"id":"a","rateLimit":{"requestsPerSecond":5,"burst":1,"maxWaitMs":250}}"#;
    let burdock = limited(&[&shop], "").await;
    burdock.api("POST", "/api/v1/sessions", own).await;
    let mut client = burdock.visitor("a");
    assert_eq!(
        client.post("https://shop.example/five", "123").await.status,
        200
    );
    assert_eq!(
        client.get("https://shop.example/five").await.status,
        200,
        "delayed"
    );
    assert_eq!(
        burdock
            .visitor("a")
            .get("http://nowhere.invalid/")
            .await
            .status,
        502,
        "delayed, and failed"
    );
    let strict = r#"{"rateLimit":{"requestsPerSecond":0.01,"burst":1,"onLimit":"reject"}}"#;
    burdock.api("PATCH", "/api/v1/sessions/a", strict).await;
    crate::support::eventually("a refusal", async || {
        (client.get("https://shop.example/five").await.status == 429).then_some(())
    })
    .await;
    let counters = crate::support::eventually("the counters", async || {
        let counters = burdock.session("a").await["counters"].clone();
        (counters["rejected"] == 1 && counters["failed"] == 1).then_some(counters)
    })
    .await;
    let count = |name: &str| counters[name].as_u64().expect("a number");
    assert!(count("requests") >= 3, "{counters}");
    assert!(count("delayed") >= 1, "{counters}");
    assert!(count("bytesIn") >= 10, "{counters}");
    assert!(count("bytesOut") >= 3, "{counters}");
    assert_eq!(count("rendered"), 0);
}

#[tokio::test]
async fn the_limiter_is_shown() {
    let shop = shop().await;
    let burdock = limited(&[&shop], "requests_per_second = 0.1\nburst = 3").await;
    visit(&burdock, "a").await;
    let limiter = burdock.session("a").await["limiter"].clone();
    assert_eq!(limiter["available"], 2, "{limiter}");
}
