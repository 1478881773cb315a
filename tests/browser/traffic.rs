//! What a page loads goes through burdock: its policy, its certificates, its accounting, and no way round them.

use serde_json::json;

use super::app::App;
use super::{assert_shows, awaiting, before, create, out, page, renderer, state};
use crate::support::problem::assert_fault;
use crate::support::{Origin, tls};

#[tokio::test]
async fn pages_of_every_kind_of_origin_load_with_their_parts() {
    let one = App::start().await;
    let two = App::on(Origin::h2("two.example")).await;
    let plain = App::on(Origin::plain("plain.example")).await;
    let local = App::on(Origin::plain("shop.localhost")).await;
    let burdock = before(&[&one, &two, &plain, &local]).start().await;
    let mut browser = renderer(&burdock, "a");
    for app in [&one, &two, &plain, &local] {
        assert_shows(&browser.get(&app.url("/spa/1")).await, "<li>item 4</li>");
        assert_eq!(
            (
                app.hits("/spa/1"),
                app.hits("/spa.js"),
                app.hits("/api/items")
            ),
            (1, 1, 1),
            "{}",
            app.url("/")
        );
    }
    let script = &one.requests("/spa.js")[0];
    assert_eq!(
        script.field("referer"),
        Some("https://app.example/spa/1"),
        "it came from the page"
    );
    assert_eq!(script.field("sec-fetch-dest"), Some("script"));
    let address = plain.origin().address();
    assert_shows(
        &browser.get(&format!("http://{address}/spa/1")).await,
        "<li>item 4</li>",
    );
    assert_shows(
        &browser
            .get(&plain.url("/account?q=%C3%BC&x=a%20b#part"))
            .await,
        "nobody",
    );
    assert_eq!(
        plain.requests("/account")[0].target,
        "/account?q=%C3%BC&x=a%20b"
    );
    // What the page loaded is no request of the client's.
    let counters = burdock.session("a").await["counters"].clone();
    assert_eq!(
        (&counters["requests"], &counters["rendered"]),
        (&json!(6), &json!(6)),
        "{counters}"
    );
}

#[tokio::test]
async fn cookies_of_a_pages_parts_are_sent_once_and_kept() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    burdock
        .visitor("a")
        .post(&app.url("/login"), "user=ada")
        .await;
    page(&browser.get(&app.url("/spa/1")).await);
    for path in ["/spa/1", "/spa.js", "/api/items"] {
        let [seen] = &app.requests(path)[..] else {
            panic!("one request for {path}")
        };
        assert_eq!(seen.head.fields("cookie"), ["sid=ada"], "{path}");
    }
}

#[tokio::test]
async fn only_burdock_judges_certificates_and_it_does() {
    let app = App::start().await;
    let untrusted = tls::UNTRUSTED.server("bad.example", &["http/1.1"]);
    let bad = App::on(Origin::with_tls("bad.example", untrusted)).await;
    let wrong = tls::TRUSTED.server("another.example", &["http/1.1"]);
    let wrong = App::on(Origin::with_tls("wrong.example", wrong)).await;
    let burdock = before(&[&app, &bad, &wrong]).start().await;
    let mut browser = renderer(&burdock, "a");
    for origin in [&bad, &wrong] {
        assert_fault(
            &browser.get(&origin.url("/account")).await,
            "upstream-tls",
            502,
        );
    }
    let (good, bad_part, wrong_part) = (app.url("/ok.js"), bad.url("/ok.js"), wrong.url("/ok.js"));
    let loaded = out(&browser
        .get(&app.url(&format!("/load?url={good}&url={bad_part}&url={wrong_part}")))
        .await);
    assert_eq!(
        loaded,
        json!({good: "loaded", bad_part: "failed", wrong_part: "failed"})
    );
    assert_eq!(
        bad.origin().requests().len() + wrong.origin().requests().len(),
        0,
        "nothing was said to them"
    );
}

#[tokio::test]
async fn burdock_itself_and_link_local_addresses_are_out_of_a_pages_reach() {
    let app = App::on(Origin::plain("plain.example")).await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    let control = format!("http://{}/ok.js", app.origin().address());
    let mut wanted = json!({ control.as_str(): "loaded" });
    let mut query = format!("url={control}");
    for forbidden in [
        format!("http://{}/api/v1/sessions", burdock.admin),
        format!("http://localhost:{}/healthz", burdock.admin.port()),
        format!("http://{}/", burdock.proxy),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fe80::1]/".to_owned(),
    ] {
        query.push_str(&format!("&url={forbidden}"));
        wanted[forbidden] = json!("failed");
    }
    let loaded = out(&browser.get(&app.url(&format!("/load?{query}"))).await);
    assert_eq!(loaded, wanted);
    // The document itself may not be there either, nor may a script lead the page there.
    for (url, name, status) in [
        (
            format!("http://{}/api/v1/sessions", burdock.admin),
            "loop-detected",
            508,
        ),
        (format!("http://{}/", burdock.proxy), "loop-detected", 508),
        (
            "http://169.254.169.254/latest/".to_owned(),
            "destination-denied",
            403,
        ),
    ] {
        assert_fault(&browser.get(&url).await, name, status);
        let led = awaiting(&burdock, "a", "load")
            .get(&app.url(&format!("/lead?to={url}")))
            .await;
        let text = led.text();
        assert!(
            !text.contains("nextCursor") && !text.contains("\"sessions\""),
            "{url}: {led:?}"
        );
        assert!(
            text.contains("stayed") || led.status >= 400 || text.contains(name),
            "{url}: {led:?}"
        );
    }
    burdock.logged("path=\"/healthz\" status=508").await;
    burdock
        .logged("authority=169.254.169.254:80 path=\"/latest/meta-data/\" status=403")
        .await;
}

#[tokio::test]
async fn nobody_else_gets_in_by_the_browsers_own_doors() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    page(&renderer(&burdock, "a").get(&app.url("/account")).await);
    let listening = super::tree::listening(&burdock);
    assert!(
        listening.contains(&burdock.proxy.port()) && listening.contains(&burdock.admin.port()),
        "{listening:?}"
    );
    for port in listening {
        // Neither what Chromium debugs by nor a context's listener may be reached through the proxy.
        for path in ["/json/version", "/account"] {
            let answer = burdock
                .client()
                .get(&format!("http://127.0.0.1:{port}{path}"))
                .await;
            assert_fault(&answer, "loop-detected", 508);
        }
    }
}

#[tokio::test]
async fn a_service_worker_serves_its_page() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    for _ in 0..2 {
        let seen = out(&browser.get(&app.url("/service")).await);
        assert!(
            seen["asset"]
                .as_str()
                .is_some_and(|asset| asset.starts_with("from the worker")),
            "{seen}"
        );
        assert_eq!(app.hits("/sw/asset"), 0, "the worker answered");
    }
    assert_eq!(
        app.hits("/service"),
        2,
        "the document is asked for once each time, whoever controls the page"
    );
}

#[tokio::test]
async fn a_strict_policy_of_contents_holds_and_does_not_keep_the_session_out() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    page(&browser.get(&app.url("/token-login?user=ada")).await);
    let strict = page(&browser.get(&app.url("/strict")).await);
    assert!(strict.contains("the script with the nonce ran"), "{strict}");
    assert!(strict.contains("token token-ada"), "{strict}");
    assert!(
        strict.contains("data-eval=\"refused\""),
        "the policy holds: {strict}"
    );
    assert!(
        strict.contains("<p id=\"inline\">no script ran</p>"),
        "the policy holds: {strict}"
    );
    assert_eq!(
        super::local(&state(&burdock, "a").await, "https://app.example", "strict"),
        Some("kept")
    );
}

#[tokio::test]
async fn what_a_page_loads_takes_nothing_of_the_sessions_rate() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    create(&burdock, &json!({"id": "a", "rateLimit": {"requestsPerSecond": 0.01, "burst": 2, "onLimit": "reject"}})).await;
    let mut browser = renderer(&burdock, "a");
    for _ in 0..2 {
        assert_shows(&browser.get(&app.url("/spa/1")).await, "<li>item 4</li>");
    }
    assert_fault(&browser.get(&app.url("/spa/1")).await, "rate-limited", 429);
}

#[tokio::test]
async fn types_of_resources_may_be_left_out() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.block = ['image', 'stylesheet']")
        .start()
        .await;
    page(&renderer(&burdock, "a").get(&app.url("/parts")).await);
    assert_eq!(
        (
            app.hits("/part.png"),
            app.hits("/part.css"),
            app.hits("/ok.js")
        ),
        (0, 0, 1)
    );
}
