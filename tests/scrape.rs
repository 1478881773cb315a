//! `POST /api/scrape`: one call, the page as the session's visitor sees it.

use base64::Engine as _;
use serde_json::json;

use crate::support::client::request;
use crate::support::problem::assert_problem;
use crate::support::{Answer, Burdock, Gate, Origin, Reply};

async fn scrape(burdock: &Burdock, session: &str, body: &str) -> Answer {
    let mut call = request("POST", &format!("http://{}/api/scrape", burdock.admin));
    call = call.header("content-type", "application/json");
    if !session.is_empty() {
        call = call.header("x-session-id", session);
    }
    burdock.api_call(call, body).await
}

#[tokio::test]
async fn a_page_comes_back_with_all_that_is_known_of_it() {
    let shop = Origin::tls("shop.example")
        .on("/page", Reply::text("gr\u{fc}n").field("X-Mine", "1"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = scrape(&burdock, "a", r#"{"url":"https://shop.example/page"}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let page = answer.json();
    assert_eq!(page["url"], "https://shop.example/page");
    assert_eq!(page["finalUrl"], "https://shop.example/page");
    assert_eq!(page["status"], 200);
    assert_eq!(page["route"], "http");
    assert_eq!(page["contentType"], "text/plain");
    assert_eq!(
        (&page["body"], &page["bodyEncoding"]),
        (&json!("gr\u{fc}n"), &json!("utf8"))
    );
    assert_eq!(page["sessionId"], "a");
    assert!(page["timings"].is_object(), "{page}");
    assert!(
        page["headers"]
            .to_string()
            .to_lowercase()
            .contains("x-mine"),
        "{page}"
    );
}

#[tokio::test]
async fn redirects_are_followed_through_the_sessions_cookies() {
    let shop = Origin::tls("shop.example")
        .on("/login", Reply::redirect("/step?x=1").cookie("sid=1"))
        .on(
            "/step",
            Reply::redirect("https://bank.example/home").cookie("two=2"),
        )
        .start()
        .await;
    let bank = Origin::h2("bank.example")
        .on("/home", Reply::text("welcome").cookie("three=3"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop, &bank]).await;
    let page = scrape(&burdock, "a", r#"{"url":"https://shop.example/login"}"#)
        .await
        .json();
    assert_eq!(
        (&page["status"], &page["body"]),
        (&json!(200), &json!("welcome"))
    );
    assert_eq!(page["finalUrl"], "https://bank.example/home");
    assert_eq!(shop.last().cookie(), "sid=1");
    assert_eq!(bank.last().cookie(), "", "another site gets none of them");
    assert_eq!(burdock.session("a").await["cookieCount"], 3);
    burdock.visitor("a").get("https://shop.example/x").await;
    assert_eq!(
        shop.last().cookie(),
        "sid=1; two=2",
        "the proxy's visitor is the same one"
    );
}

#[tokio::test]
async fn a_redirected_post_becomes_a_get_or_stays_one_as_the_status_says() {
    let to = |status: u16| Reply {
        status,
        ..Reply::redirect("/end")
    };
    let shop = Origin::tls("shop.example")
        .on("/303", to(303))
        .on("/302", to(302))
        .on("/307", to(307))
        .on("/308", to(308));
    let shop = shop.start().await;
    let burdock = Burdock::before(&[&shop]).await;
    for (status, method, body) in [
        (303, "GET", ""),
        (302, "GET", ""),
        (307, "POST", "data"),
        (308, "POST", "data"),
    ] {
        let call = json!({"url": format!("https://shop.example/{status}"), "method": "POST", "body": "data"});
        scrape(&burdock, "a", &call.to_string()).await;
        let seen = shop.last();
        assert_eq!(
            (seen.target.as_str(), seen.method.as_str()),
            ("/end", method),
            "{status}"
        );
        assert_eq!(seen.body, body.as_bytes(), "{status}");
    }
}

#[tokio::test]
async fn method_headers_and_body_are_the_callers() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let call = r#"{"url":"https://shop.example/p","method":"PUT","headers":{"X-Mine":"1","Content-Type":"text/x"},"body":"data"}"#;
    assert_eq!(scrape(&burdock, "a", call).await.json()["status"], 200);
    let seen = shop.last();
    assert_eq!(
        (seen.method.as_str(), seen.body.as_slice()),
        ("PUT", b"data".as_slice())
    );
    assert_eq!(
        (seen.field("x-mine"), seen.field("content-type")),
        (Some("1"), Some("text/x"))
    );
}

#[tokio::test]
async fn bytes_that_are_no_text_come_in_base64() {
    let bytes: Vec<u8> = (0..=255).collect();
    let shop = Origin::tls("shop.example")
        .on("/b", Reply::bytes(bytes.clone()))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let page = scrape(&burdock, "a", r#"{"url":"https://shop.example/b"}"#)
        .await
        .json();
    assert_eq!(page["bodyEncoding"], "base64");
    let body = page["body"].as_str().expect("text");
    assert_eq!(
        base64::prelude::BASE64_STANDARD
            .decode(body)
            .expect("base64"),
        bytes
    );
}

#[tokio::test]
async fn an_origins_error_is_the_pages_status_and_not_the_calls() {
    let shop = Origin::tls("shop.example")
        .on("/gone", Reply::status(410))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = scrape(&burdock, "a", r#"{"url":"https://shop.example/gone"}"#).await;
    assert_eq!(
        (answer.status, answer.json()["status"].as_u64()),
        (200, Some(410))
    );
}

#[tokio::test]
async fn what_burdock_cannot_fetch_is_the_fault_it_is() {
    let gate = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/slow", Reply::text("").after(&gate))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    for (body, name, status) in [
        (
            r#"{"url":"http://127.0.0.1:1/"}"#.to_owned(),
            "connect-failed",
            502,
        ),
        (
            r#"{"url":"http://nowhere.invalid/"}"#.to_owned(),
            "dns-failed",
            502,
        ),
        (
            r#"{"url":"http://169.254.169.254/"}"#.to_owned(),
            "destination-denied",
            403,
        ),
        (
            format!(r#"{{"url":"http://{}/"}}"#, burdock.proxy),
            "loop-detected",
            508,
        ),
        (
            format!(r#"{{"url":"http://{}/api/v1/sessions"}}"#, burdock.admin),
            "loop-detected",
            508,
        ),
        (
            r#"{"url":"https://shop.example/slow","timeoutMs":300}"#.to_owned(),
            "upstream-timeout",
            504,
        ),
    ] {
        let answer = scrape(&burdock, "a", &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert_eq!(
            answer.json()["type"],
            format!("urn:burdock:error:{name}"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_redirect_into_a_forbidden_place_is_not_followed() {
    let shop = Origin::tls("shop.example")
        .on("/evil", Reply::redirect("http://169.254.169.254/latest"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = scrape(&burdock, "a", r#"{"url":"https://shop.example/evil"}"#).await;
    assert_eq!(
        (answer.status, answer.json()["type"].as_str()),
        (403, Some("urn:burdock:error:destination-denied"))
    );
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let shop = Origin::tls("shop.example")
        .on("/round", Reply::redirect("/round"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = scrape(&burdock, "a", r#"{"url":"https://shop.example/round"}"#).await;
    assert!(
        shop.requests().len() <= 51,
        "{} requests",
        shop.requests().len()
    );
    assert!(
        answer.status == 502 || answer.json()["status"] == 302,
        "{answer:?}"
    );
}

#[tokio::test]
async fn an_invalid_call_is_400_and_names_the_field() {
    let burdock = Burdock::new().start().await;
    for (body, field) in [
        ("{}", "url"),
        (r#"{"url":"not a url"}"#, "url"),
        (r#"{"url":"ftp://x/"}"#, "url"),
        (r#"{"url":"http://x.localhost/","method":"A B"}"#, "method"),
        (
            r#"{"url":"http://x.localhost/","headers":{"a b":"1"}}"#,
            "headers",
        ),
        (
            r#"{"url":"http://x.localhost/","render":"paint"}"#,
            "render",
        ),
        (
            r#"{"url":"http://x.localhost/","timeoutMs":0}"#,
            "timeoutMs",
        ),
        (r#"{"url":"http://x.localhost/","colour":1}"#, "colour"),
    ] {
        let detail = assert_problem(&scrape(&burdock, "", body).await, "invalid", 400);
        assert!(detail.contains(field), "{body}: {detail}");
    }
    let answer = scrape(&burdock, "not valid", r#"{"url":"http://x.localhost/"}"#).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn both_paths_are_the_same_call_and_a_session_is_optional() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = burdock
        .api(
            "POST",
            "/api/v1/scrape",
            r#"{"url":"https://shop.example/"}"#,
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer
            .json()
            .get("sessionId")
            .is_none_or(serde_json::Value::is_null)
    );
}
