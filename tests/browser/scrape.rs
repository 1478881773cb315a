//! `POST /api/scrape` with a browser, and the looks of pages.

use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::app::App;
use super::{GRACE, before, create, page, renderer};
use crate::support::client::request;
use crate::support::{Answer, Burdock};

async fn scrape(burdock: &Burdock, call: &Value) -> Answer {
    let request = request("POST", &format!("http://{}/api/scrape", burdock.admin))
        .header("content-type", "application/json")
        .header("x-session-id", "a");
    burdock.api_call(request, &call.to_string()).await
}

/// The picture in an answer.
#[track_caller]
fn picture(page: &Value) -> Vec<u8> {
    let text = page["screenshot"]
        .as_str()
        .unwrap_or_else(|| panic!("a picture in {page}"));
    base64::prelude::BASE64_STANDARD
        .decode(text)
        .expect("base64")
}

/// Width and height of a PNG (its IHDR).
#[track_caller]
fn png(bytes: &[u8]) -> (u32, u32) {
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "a PNG");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

/// Width and height of a JPEG (its start of frame).
#[track_caller]
fn jpeg(bytes: &[u8]) -> (u32, u32) {
    assert!(bytes.starts_with(b"\xff\xd8\xff"), "a JPEG");
    let number = |at: usize| u32::from(bytes[at]) << 8 | u32::from(bytes[at + 1]);
    let mut at = 2;
    while !matches!(bytes[at + 1], 0xc0..=0xc2) {
        at += 2 + number(at + 2) as usize;
    }
    (number(at + 7), number(at + 5))
}

#[tokio::test]
async fn a_scrape_renders_waits_and_takes_pictures() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    create(
        &burdock,
        &json!({"id": "a", "browser": {"viewport": {"width": 640, "height": 480}}}),
    )
    .await;
    let call = json!({"url": app.url("/spa/1"), "render": "browser", "wait": "selector:#root li"});
    let page = scrape(&burdock, &call).await.json();
    assert_eq!(
        (&page["route"], &page["status"]),
        (&json!("browser"), &json!(200)),
        "{page}"
    );
    assert!(
        page["body"]
            .as_str()
            .is_some_and(|body| body.contains("<li>item 4</li>")),
        "{page}"
    );
    assert_eq!(page["bodyEncoding"], "utf8");
    assert!(
        page["contentType"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("text/html")),
        "{page}"
    );
    assert!(
        page.get("screenshot").is_none_or(Value::is_null),
        "none was asked for"
    );
    // Redirects are followed, with their cookies, and only the last document is rendered.
    let page = scrape(
        &burdock,
        &json!({"url": app.url("/redirect/2"), "render": "browser", "wait": "load"}),
    )
    .await
    .json();
    assert_eq!(
        (&page["route"], &page["finalUrl"]),
        (&json!("browser"), &json!(app.url("/account"))),
        "{page}"
    );
    assert_eq!(app.requests("/account")[0].cookie(), "hops=0");
    // A navigation by script too.
    let page = scrape(
        &burdock,
        &json!({"url": app.url("/script-redirect"), "render": "browser", "wait": super::DONE}),
    )
    .await
    .json();
    assert_eq!(
        (&page["url"], &page["finalUrl"]),
        (
            &json!(app.url("/script-redirect")),
            &json!(app.url("/landed?by=script"))
        )
    );
    // `auto` and the session's own setting.
    let page = scrape(
        &burdock,
        &json!({"url": app.url("/spa/2"), "render": "auto", "wait": super::DONE}),
    )
    .await
    .json();
    assert_eq!(page["route"], "browser", "{page}");
    let page = scrape(
        &burdock,
        &json!({"url": app.url("/plain/2"), "render": "auto"}),
    )
    .await
    .json();
    assert_eq!(page["route"], "http", "{page}");

    let tall = |screenshot: Value| json!({"url": app.url("/tall"), "render": "browser", "wait": "load", "screenshot": screenshot});
    let shot = async |screenshot: Value| picture(&scrape(&burdock, &tall(screenshot)).await.json());
    assert_eq!(png(&shot(json!(true)).await), (640, 480));
    assert_eq!(png(&shot(json!({"fullPage": true})).await), (640, 3000));
    assert_eq!(jpeg(&shot(json!({"format": "jpeg"})).await), (640, 480));
    assert_eq!(
        jpeg(&shot(json!({"format": "jpeg", "fullPage": true})).await),
        (640, 3000)
    );
    // The viewport is what it was.
    assert_eq!(png(&shot(json!({"format": "png"})).await), (640, 480));
    for (screenshot, field) in [
        (json!({"format": "gif"}), "format"),
        (json!({"colour": 1}), "colour"),
        (json!(3), "screenshot"),
    ] {
        let refused = scrape(&burdock, &tall(screenshot)).await;
        assert!(
            refused.status == 400 && refused.text().contains(field),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_scrape_ends_in_its_own_time() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.navigation_timeout = '30s'")
        .start()
        .await;
    page(&renderer(&burdock, "a").get(&app.url("/account")).await);
    let since = Instant::now();
    let call = json!({"url": app.url("/restless"), "render": "browser", "wait": "networkidle", "timeoutMs": 1000});
    let answer = scrape(&burdock, &call).await;
    assert!(
        since.elapsed() < Duration::from_secs(1) + GRACE,
        "{:?}",
        since.elapsed()
    );
    let page = answer.json();
    assert_eq!(page["status"], 200, "{page}");
    assert!(
        page["body"]
            .as_str()
            .is_some_and(|body| body.contains("ticks")),
        "{page}"
    );
    assert!(
        page["headers"]
            .to_string()
            .to_lowercase()
            .contains("x-burdock-partial"),
        "{page}"
    );
}

#[tokio::test]
async fn the_last_page_of_a_session_can_be_looked_at_where_that_is_wanted() {
    let app = App::start().await;
    let look = async |burdock: &Burdock| {
        burdock
            .api("GET", "/api/v1/sessions/a/screenshot", "")
            .await
    };
    let burdock = before(&[&app])
        .config("browser.thumbnails = true")
        .start()
        .await;
    create(&burdock, &json!({"id": "a"})).await;
    assert_eq!(look(&burdock).await.status, 404, "no page yet");
    page(&renderer(&burdock, "a").get(&app.url("/tall")).await);
    let seen = look(&burdock).await;
    assert_eq!(
        (seen.status, seen.field("content-type")),
        (200, Some("image/jpeg")),
        "{seen:?}"
    );
    let (width, height) = jpeg(&seen.body);
    assert!(
        width > 100 && height > 50 && seen.body.len() < 100_000,
        "{width} x {height}, {} bytes",
        seen.body.len()
    );
    assert_eq!(
        burdock
            .api("GET", "/api/v1/sessions/b/screenshot", "")
            .await
            .status,
        404,
        "no such session"
    );
    burdock.api("DELETE", "/api/v1/sessions/a", "").await;
    assert_eq!(look(&burdock).await.status, 404, "it goes with the session");

    let burdock = before(&[&app]).start().await;
    page(&renderer(&burdock, "a").get(&app.url("/account")).await);
    assert_eq!(look(&burdock).await.status, 404, "not by default");
}
