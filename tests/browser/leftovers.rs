//! The end: burdock leaves no browser and no profile, however it ends; and a burdock that has no browser says what it lacks.

use std::path::Path;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::app::App;
use super::tree::{below, browsers, ended, files};
use super::{assert_shows, awaiting, before, create, page, renderer};
use crate::support::problem::{assert_fault, fault};
use crate::support::{Burdock, eventually};

/// A folder for temporary files, and a burdock that uses it, which has rendered a page.
async fn has_rendered(app: &App, scratch: &Path) -> Burdock {
    let builder = before(&[app]).env("TMPDIR", &scratch.display().to_string());
    let burdock = builder.start().await;
    page(&renderer(&burdock, "a").get(&app.url("/account")).await);
    assert!(!browsers(&burdock).is_empty(), "{:?}", below(&burdock));
    burdock
}

#[tokio::test]
async fn after_a_signal_to_end_there_is_no_browser_and_no_profile() {
    let app = App::start().await;
    let scratch = TempDir::with_prefix("burdock-test-").expect("a temporary folder");
    for signal in [Signal::TERM, Signal::INT] {
        let mut burdock = has_rendered(&app, scratch.path()).await;
        let processes = below(&burdock);
        burdock.signal(signal);
        assert_eq!(burdock.exited().await.code(), Some(0));
        ended(&processes).await;
        assert_eq!(files(scratch.path()), [].into(), "{signal:?}");
    }
}

#[tokio::test]
async fn a_page_under_way_is_finished_within_the_grace() {
    let app = App::start().await;
    let mut burdock = before(&[&app])
        .config("proxy.shutdown_grace = '8s'")
        .start()
        .await;
    let (mut client, url) = (awaiting(&burdock, "a", "load"), app.url("/gated"));
    let request = tokio::spawn(async move { client.get(&url).await });
    app.hit("/gated.js", 1).await;
    let processes = below(&burdock);
    burdock.signal(Signal::TERM);
    let refused = async || {
        tokio::net::TcpStream::connect(burdock.proxy)
            .await
            .is_err()
            .then_some(())
    };
    eventually("no new connection is accepted", refused).await;
    app.gate.let_pass(1);
    assert!(page(&request.await.expect("an answer")).contains("data-gated"));
    assert_eq!(burdock.exited().await.code(), Some(0));
    ended(&processes).await;
    assert_eq!(files(&burdock.folder().join("tmp")), [].into());
}

#[tokio::test]
async fn a_killed_burdock_leaves_no_browser_and_the_next_start_sweeps_up() {
    let app = App::start().await;
    let scratch = TempDir::with_prefix("burdock-test-").expect("a temporary folder");
    let mut killed = has_rendered(&app, scratch.path()).await;
    let neighbour = has_rendered(&app, scratch.path()).await;
    // One page is under way.
    let (mut client, url) = (awaiting(&killed, "a", "load"), app.url("/gated"));
    let request = tokio::spawn(async move { client.get(&url).await });
    app.hit("/gated.js", 1).await;
    let processes = below(&killed);
    killed.signal(Signal::KILL);
    killed.exited().await;
    request.abort();
    ended(&processes).await;
    let left = files(scratch.path());
    let mut next = has_rendered(&app, scratch.path()).await;
    // Its own profile is new, the neighbour's is in use, the dead one's is gone.
    let ours: Vec<String> = browsers(&neighbour)
        .into_iter()
        .chain(browsers(&next))
        .map(|process| process.arguments)
        .collect();
    let top = |path: &String| Path::new(path).parent() == Some(scratch.path());
    eventually("the dead one's profile is gone", async || {
        let profiles = files(scratch.path()).into_iter().filter(top);
        let strays: Vec<String> = profiles
            .filter(|path| {
                !ours
                    .iter()
                    .any(|arguments| arguments.contains(path.as_str()))
            })
            .collect();
        strays.is_empty().then_some(())
    })
    .await;
    assert!(left.len() > 1, "there was something to sweep: {left:?}");
    assert_shows(
        &renderer(&neighbour, "a").get(&app.url("/account")).await,
        "nobody",
    );
    next.signal(Signal::TERM);
    assert_eq!(next.exited().await.code(), Some(0));
}

#[tokio::test]
async fn without_a_browser_everything_else_works_and_the_fault_says_what_to_install() {
    let app = App::start().await;
    let nowhere = TempDir::with_prefix("burdock-test-").expect("a temporary folder");
    let path = nowhere.path().display().to_string();
    for (what, builder, said) in [
        (
            "a program that is not there",
            before(&[&app]).config("browser.executable = '/nonexistent/chromium'"),
            "/nonexistent/chromium",
        ),
        (
            "no program on PATH",
            before(&[&app]).env("PATH", &path),
            "chromium-headless-shell",
        ),
        (
            "switched off",
            before(&[&app]).config("browser.enabled = false"),
            "browser.enabled",
        ),
    ] {
        let burdock = builder.start().await;
        create(&burdock, &json!({"id": "r", "render": "browser"})).await;
        for answer in [
            renderer(&burdock, "a").get(&app.url("/account")).await,
            burdock.visitor("r").get(&app.url("/account")).await,
        ] {
            assert_fault(&answer, "browser-unavailable", 503);
            let (_, _, detail) = fault(&answer);
            assert!(detail.contains(said), "{what}: {detail}");
            // A program may be put there while burdock runs; for what is missing or off waiting does not help.
            let waits = what == "a program that is not there";
            assert_eq!(
                answer.field("retry-after").is_some(),
                waits,
                "{what}: {answer:?}"
            );
        }
        let plain = burdock.visitor("a").get(&app.url("/account")).await;
        assert_eq!(plain.status, 200, "{what}");
        let scrape = burdock
            .api(
                "POST",
                "/api/scrape",
                &json!({"url": app.url("/account"), "render": "browser"}).to_string(),
            )
            .await;
        assert_eq!(
            (scrape.status, scrape.json()["type"].as_str()),
            (503, Some("urn:burdock:error:browser-unavailable")),
            "{what}"
        );
        assert_eq!(
            burdock.api("GET", "/readyz", "").await.status,
            200,
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_browser_named_by_the_config_is_missed_at_the_start() {
    let burdock = Burdock::new()
        .config("browser.executable = '/nonexistent/chromium'")
        .start()
        .await;
    burdock.logged("/nonexistent/chromium").await;
    let silent = Burdock::new().env("PATH", "/nonexistent").start().await;
    assert!(
        !silent.log().contains("chromium"),
        "what nobody named is not missed: {}",
        silent.log()
    );
}
