//! The response: the rendered document with the status and fields of its own, and what is no page as it is.

use std::time::Instant;

use super::app::{App, DONE, FILES};
use super::{assert_shows, awaiting, balanced, before, count, page, pool, renderer};
use crate::support::problem::assert_fault;

#[tokio::test]
async fn a_documents_status_and_fields_are_its_own() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    let missing = browser.get(&app.url("/missing")).await;
    assert_eq!(missing.status, 404);
    assert!(
        missing.text().contains("<p>not</p>") && missing.text().contains("found"),
        "rendered: {}",
        missing.text()
    );
    // Fields that describe the original bytes are gone, others are there.
    let coded = browser.get(&app.url("/coded")).await;
    assert_shows(&coded, "gr\u{fc}n");
    assert!(
        coded.text().starts_with("<!DOCTYPE html>"),
        "{}",
        coded.text()
    );
    assert_eq!(
        coded.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(coded.field("x-mine"), Some("1"));
    let length = coded.body.len().to_string();
    assert_eq!(coded.field("content-length").unwrap_or(&length), length);
    for field in [
        "content-encoding",
        "etag",
        "last-modified",
        "content-md5",
        "digest",
        "repr-digest",
        "accept-ranges",
    ] {
        assert_eq!(coded.field(field), None, "{field}");
    }
    assert_eq!(
        coded.fields.get_all("set-cookie").iter().count(),
        1,
        "as it came"
    );
    // The last of a chain is asked for by whoever follows it.
    let redirect = browser.get(&app.url("/redirect/2")).await;
    assert_eq!(
        (redirect.status, redirect.field("location")),
        (302, Some("/redirect/1"))
    );
    assert_eq!(app.hits("/redirect/1"), 0, "it is not followed");
    assert_eq!(
        burdock.visitor("a").get(&app.url("/echo")).await.json()["cookie"],
        "coded=1; hops=1"
    );
    balanced(&burdock, 2).await;
}

#[tokio::test]
async fn a_navigation_by_script_is_followed_and_named() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    let landed = browser.get(&app.url("/script-redirect")).await;
    assert_shows(&landed, "<p>landed</p>");
    assert_eq!(
        landed.field("content-location"),
        Some("https://app.example/landed?by=script")
    );
    assert_eq!(
        landed.field("x-page"),
        Some("second"),
        "the fields are those of the document that it is"
    );
    let missing = browser.get(&app.url("/to-missing")).await;
    assert_eq!(
        (missing.status, missing.field("content-location")),
        (404, Some("https://app.example/missing"))
    );
    let refreshed = browser.get(&app.url("/refresh")).await;
    assert_shows(&refreshed, "<p>landed</p>");
    assert_eq!(
        refreshed.field("content-location"),
        Some("https://app.example/landed?by=refresh")
    );
    let submitted = browser.get(&app.url("/auto-login")).await;
    assert_shows(&submitted, "hello ada");
    assert_eq!(
        submitted.field("content-location"),
        Some("https://app.example/account")
    );
    let stayed = browser.get(&app.url("/account")).await;
    assert_eq!(stayed.field("content-location"), None);
    assert_shows(&stayed, "hello ada");
    assert_eq!((app.hits("/script-redirect"), app.hits("/landed")), (1, 2));
}

#[tokio::test]
async fn what_is_no_page_comes_back_byte_for_byte() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    for (path, kind, disposition, bytes) in FILES {
        let answer = browser.get(&app.url(path)).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.body, bytes, "{path}");
        assert_eq!(answer.field("content-type"), Some(kind), "{path}");
        assert_eq!(
            answer.field("content-disposition").unwrap_or_default(),
            disposition,
            "{path}"
        );
        assert_eq!(app.hits(path), 1, "{path}");
    }
}

#[tokio::test]
async fn a_page_that_never_rests_is_what_there_is_at_the_deadline() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.navigation_timeout = '2s'")
        .start()
        .await;
    let pages = [
        ("/restless", "networkidle", " ticks</p>"),
        ("/waiting", "load", "script"),
        ("/account", "selector:#is-never-there", "nobody"),
    ]
    .map(async |(path, wait, wanted)| {
        let since = Instant::now();
        let answer = awaiting(&burdock, "a", wait).get(&app.url(path)).await;
        assert!(
            since.elapsed() < super::GRACE,
            "{path}: {:?}",
            since.elapsed()
        );
        assert_eq!(
            (answer.status, answer.field("x-burdock-partial")),
            (200, Some("timeout")),
            "{path}: {answer:?}"
        );
        assert!(answer.text().contains(wanted), "{path}: {}", answer.text());
    });
    futures_util::future::join_all(pages).await;
    // A document that never comes is the origin's fault, and told as that.
    let config = "upstream.response_header_timeout = '1s'";
    let impatient = before(&[&app]).config(config).start().await;
    let answer = renderer(&impatient, "a").get(&app.url("/never")).await;
    assert_fault(&answer, "upstream-timeout", 504);
    balanced(&burdock, 3).await;
}

#[tokio::test]
async fn the_network_is_idle_although_one_request_stays_open() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.navigation_timeout = '9s'")
        .start()
        .await;
    assert_shows(
        &awaiting(&burdock, "a", "networkidle")
            .get(&app.url("/beacon"))
            .await,
        "idle",
    );
}

#[tokio::test]
async fn dialogs_are_dismissed_popups_closed_and_lists_grow() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    let said = "[false,null,false,null,false,null,false,null,false,null,false,null,false,null,false,null,false,null,false,null]";
    assert_shows(&browser.get(&app.url("/alerts")).await, said);
    page(&browser.get(&app.url("/popup")).await);
    let lazy = page(&browser.get(&app.url("/lazy")).await);
    assert!(lazy.contains("<li>item 19</li>"), "{lazy}");
    balanced(&burdock, 3).await;
    let pool = pool(&burdock).await;
    assert_eq!(
        (count(&pool, "contexts"), count(&pool, "pages")),
        (1, 0),
        "{pool}"
    );
}

#[tokio::test]
async fn a_page_leads_to_no_file_and_to_no_page_of_the_browser() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.navigation_timeout = '2s'")
        .start()
        .await;
    for url in [
        "file:///etc/passwd",
        "chrome://version",
        "chrome://settings",
        "devtools://devtools/bundled/inspector.html",
        "view-source:https://app.example/",
    ] {
        let asked = app.url(&format!("/lead?to={url}"));
        let answer = awaiting(&burdock, "a", "load").get(&asked).await;
        let page = answer.text();
        assert!(
            page.contains("stayed") && !page.contains("root:") && !page.contains("Command Line"),
            "{url}: {answer:?}"
        );
    }
    let answer = renderer(&burdock, "a").get(&app.url("/account")).await;
    assert_shows(&answer, "nobody");
    assert_eq!(
        answer.field("x-burdock-wait"),
        None,
        "{DONE} is the client's own"
    );
}
