//! Whatever a page or a browser does, the request has its answer in time, and the session's next page comes and is logged in.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use tokio::task::{JoinHandle, JoinSet};

use super::app::App;
use super::tree::{Process, browsers, ended, renderers, tidy};
use super::{GRACE, assert_shows, awaiting, balanced, before, count, page, pool, renderer};
use crate::support::client::request;
use crate::support::problem::fault;
use crate::support::{Answer, Burdock, DEADLINE, eventually, within_time};

/// How long a page may take in these tests.
const TIMEOUT: Duration = Duration::from_secs(2);

async fn start(app: &App) -> Burdock {
    before(&[app])
        .config("browser.navigation_timeout = '2s'")
        .start()
        .await
}

async fn log_in(app: &App, burdock: &Burdock, session: &str) {
    let login = burdock
        .visitor(session)
        .post(&app.url("/login"), "user=ada")
        .await;
    assert_eq!(login.status, 303);
}

/// What becomes of a page: how it ended, and when; however large it is, it is not kept.
async fn ends(burdock: &Burdock, session: &str, url: &str) -> (String, Duration) {
    let since = Instant::now();
    let mut client = awaiting(burdock, session, "load");
    let asked = request("GET", url).body("".into()).expect("a valid URL");
    let answering = within_time(TIMEOUT + GRACE, url, client.stream(asked));
    let response = answering
        .await
        .unwrap_or_else(|refusal| panic!("the tunnel: {refusal:?}"));
    let took = since.elapsed();
    let (parts, mut body) = response.into_parts();
    let said = if parts.status == 200 {
        let partial = parts
            .headers
            .get("x-burdock-partial")
            .map(|value| format!("{value:?}"));
        let mut length = 0;
        let reading = async {
            while let Some(frame) = body.frame().await {
                length += frame
                    .expect("a whole page")
                    .into_data()
                    .map_or(0, |data| data.len());
            }
        };
        within_time(DEADLINE * 3, url, reading).await;
        format!("a page of {length}, partial {partial:?}")
    } else {
        let body = body.collect().await.expect("a whole fault").to_bytes();
        let answer = Answer {
            status: parts.status.as_u16(),
            version: parts.version,
            fields: parts.headers,
            body,
        };
        let (name, status, detail) = fault(&answer);
        let documented = [
            "browser-timeout",
            "browser-unavailable",
            "upstream-protocol",
            "upstream-timeout",
        ];
        assert!(
            documented.contains(&name.as_str()),
            "{url}: {status} {name}: {detail}"
        );
        format!("{name}: {detail}")
    };
    (said, took)
}

/// Asks for these pages, each in a session of its own and logged in, at once; then each session is still logged in and nothing is left of
/// the pages that were rendered, so many in all.
async fn all_end(paths: &[&'static str], rendered: u64) {
    let app = App::start().await;
    let burdock = start(&app).await;
    for path in paths {
        log_in(&app, &burdock, &path[1..]).await;
    }
    // The browser is there: what follows is the pages' own time.
    page(&renderer(&burdock, "first").get(&app.url("/account")).await);
    let ending = paths.iter().map(async |path| {
        let (said, took) = ends(&burdock, &path[1..], &app.url(path)).await;
        eprintln!("{path} after {took:?}: {said}");
    });
    futures_util::future::join_all(ending).await;
    for path in paths {
        assert_shows(
            &renderer(&burdock, &path[1..])
                .get(&app.url("/account"))
                .await,
            "hello ada",
        );
    }
    balanced(&burdock, rendered).await;
    tidy(&burdock, 2).await;
}

#[tokio::test]
async fn pages_that_hang_are_given_up() {
    all_end(&["/spin", "/spin-later", "/alert-loop"], 7).await;
}

#[tokio::test]
async fn pages_that_go_in_circles_are_given_up() {
    all_end(&["/script-loop", "/reload", "/to-round"], 7).await;
}

#[tokio::test]
async fn pages_without_end_are_given_up() {
    // The first is too large to be begun with.
    all_end(&["/flood", "/flooded", "/swollen"], 6).await;
}

/// A page of session `a` that waits for its script, in a browser that is there.
async fn rendering(app: &App, burdock: &Burdock) -> JoinHandle<Answer> {
    log_in(app, burdock, "a").await;
    assert_shows(
        &renderer(burdock, "a").get(&app.url("/account")).await,
        "hello ada",
    );
    let (mut client, url) = (awaiting(burdock, "a", "load"), app.url("/gated"));
    let request = tokio::spawn(async move { client.get(&url).await });
    app.hit("/gated.js", 1).await;
    request
}

/// Ends processes in the middle of a page: it is rendered again, and comes.
async fn is_rendered_again(victims: impl Fn(&Burdock) -> Vec<Process>) {
    let app = App::start().await;
    let burdock = start(&app).await;
    let request = rendering(&app, &burdock).await;
    let found = victims(&burdock);
    assert!(!found.is_empty(), "{:?}", super::tree::below(&burdock));
    found.iter().for_each(Process::kill);
    ended(&found).await;
    app.hit("/gated.js", 2).await;
    app.gate.let_pass(2);
    let answer = request.await.expect("an answer");
    assert!(page(&answer).contains("data-gated"), "{answer:?}");
    assert_eq!(app.hits("/gated"), 1, "the document is not asked for again");
    assert_shows(
        &renderer(&burdock, "a").get(&app.url("/account")).await,
        "hello ada",
    );
    balanced(&burdock, 3).await;
    assert!(count(&pool(&burdock).await, "crashes") >= 1);
    tidy(&burdock, 2).await;
}

#[tokio::test]
async fn a_page_whose_browser_is_killed_is_rendered_again() {
    is_rendered_again(browsers).await;
}

#[tokio::test]
async fn a_page_whose_renderer_crashes_is_rendered_again() {
    is_rendered_again(renderers).await;
}

#[tokio::test]
async fn a_page_that_crashes_its_browser_twice_is_a_fault_and_the_session_goes_on() {
    let app = App::start().await;
    let burdock = start(&app).await;
    let request = rendering(&app, &burdock).await;
    for time in 1..=2 {
        app.hit("/gated.js", time).await;
        let found = browsers(&burdock);
        found.iter().for_each(Process::kill);
        ended(&found).await;
    }
    let answer = request.await.expect("an answer");
    assert_eq!(fault(&answer).0, "browser-unavailable", "{answer:?}");
    app.gate.let_pass(10);
    assert_shows(
        &renderer(&burdock, "a").get(&app.url("/account")).await,
        "hello ada",
    );
    assert!(page(&renderer(&burdock, "a").get(&app.url("/gated")).await).contains("data-gated"));
    balanced(&burdock, 4).await;
    tidy(&burdock, 2).await;
}

#[tokio::test]
async fn an_idle_browser_that_is_killed_is_replaced_and_the_storage_is_there() {
    let app = App::start().await;
    let burdock = start(&app).await;
    assert_shows(
        &renderer(&burdock, "a")
            .get(&app.url("/token-login?user=ada"))
            .await,
        "logged in",
    );
    for _ in 0..3 {
        let found = browsers(&burdock);
        found.iter().for_each(Process::kill);
        ended(&found).await;
        assert_shows(
            &renderer(&burdock, "a").get(&app.url("/me")).await,
            "hello ada",
        );
    }
    balanced(&burdock, 4).await;
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.max_pages = 1")
        .start()
        .await;
    let mut left = JoinSet::new();
    let leave = async |left: &mut JoinSet<Answer>, session: &str| {
        let (mut client, url) = (renderer(&burdock, session), app.url("/gated"));
        left.spawn(async move { client.get(&url).await });
    };
    leave(&mut left, "a").await;
    app.hit("/gated.js", 1).await;
    leave(&mut left, "b").await;
    eventually("the second waits", async || {
        (count(&pool(&burdock).await, "waiting") == 1).then_some(())
    })
    .await;
    left.shutdown().await;
    assert_shows(
        &renderer(&burdock, "a").get(&app.url("/account")).await,
        "nobody",
    );
    eventually("nobody waits", async || {
        (count(&pool(&burdock).await, "waiting") == 0).then_some(())
    })
    .await;
    balanced(&burdock, 2).await;
}
