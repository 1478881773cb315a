//! The pool: places, contexts and browsers, how many there are, and who goes when there are too many.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::app::App;
use super::tree::{browsers, ended, tidy};
use super::{
    GRACE, assert_shows, awaiting, balanced, before, count, create, page, pool, renderer, state,
};
use crate::support::burdock::reap;
use crate::support::tool::on_path;
use crate::support::{Burdock, eventually, within_time};

/// Waits until the pool has so many contexts.
async fn contexts(burdock: &Burdock, wanted: u64) {
    eventually(&format!("{wanted} contexts"), async || {
        (count(&pool(burdock).await, "contexts") == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn twenty_pages_at_once_queue_for_two_places_and_all_come() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.max_pages = 2")
        .start()
        .await;
    let mut visits = JoinSet::new();
    for number in 0..20 {
        let (mut client, url) = (
            // Of pages of one session Chromium lets one ask for what several load.
            awaiting(&burdock, &format!("s{number}"), "load"),
            app.url("/gated"),
        );
        visits.spawn(async move { page(&client.get(&url).await) });
    }
    app.hit("/gated.js", 2).await;
    eventually("the others wait", async || {
        let pool = pool(&burdock).await;
        (count(&pool, "pages") == 2 && count(&pool, "waiting") == 18).then_some(())
    })
    .await;
    assert_eq!(app.hits("/gated.js"), 2, "no third page");
    app.gate.let_pass(20);
    within_time(GRACE * 2, "all pages", async {
        while let Some(visit) = visits.join_next().await {
            assert!(visit.expect("every visit ends well").contains("data-gated"));
        }
    })
    .await;
    balanced(&burdock, 20).await;
    assert_eq!((app.hits("/gated"), app.hits("/gated.js")), (20, 20));
}

#[tokio::test]
async fn who_waits_for_a_place_waits_no_longer_than_a_page_may_take() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("[browser]\nmax_pages = 1\nnavigation_timeout = '2s'")
        .start()
        .await;
    let mut visits = JoinSet::new();
    for session in ["a", "b", "c"] {
        let (mut client, url) = (awaiting(&burdock, session, "load"), app.url("/gated"));
        visits.spawn(async move {
            let since = Instant::now();
            (client.get(&url).await, since.elapsed())
        });
    }
    while let Some(visit) = visits.join_next().await {
        let (answer, took) = visit.expect("every visit ends well");
        assert!([200, 503, 504].contains(&answer.status), "{answer:?}");
        assert!(
            took < std::time::Duration::from_secs(2) + GRACE,
            "{took:?}: {answer:?}"
        );
    }
    app.gate.let_pass(9);
    assert!(
        page(
            &awaiting(&burdock, "b", "load")
                .get(&app.url("/gated"))
                .await
        )
        .contains("data-gated")
    );
}

#[tokio::test]
async fn contexts_come_and_go_and_their_sessions_stay_logged_in() {
    const SESSIONS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.max_contexts = 2")
        .start()
        .await;
    for id in SESSIONS {
        let mut browser = renderer(&burdock, id);
        assert_shows(
            &browser
                .get(&app.url(&format!("/token-login?user={id}")))
                .await,
            "logged in",
        );
        assert_shows(&browser.get(&app.url("/wizard/1")).await, "steps 1<");
        assert!(count(&pool(&burdock).await, "contexts") <= 2);
    }
    for id in SESSIONS {
        let mut browser = renderer(&burdock, id);
        assert_shows(&browser.get(&app.url("/me")).await, &format!("hello {id}"));
        assert_shows(&browser.get(&app.url("/wizard/2")).await, "steps 1,2<");
        assert!(count(&pool(&burdock).await, "contexts") <= 2);
    }
    balanced(&burdock, 20).await;
}

#[tokio::test]
async fn an_idle_context_is_closed_and_its_session_goes_on() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("browser.context_idle_timeout = '300ms'")
        .start()
        .await;
    let mut browser = renderer(&burdock, "a");
    assert_shows(
        &browser.get(&app.url("/token-login?user=ada")).await,
        "logged in",
    );
    assert_shows(&browser.get(&app.url("/wizard/1")).await, "steps 1<");
    contexts(&burdock, 0).await;
    assert_shows(&browser.get(&app.url("/me")).await, "hello ada");
    assert_shows(&browser.get(&app.url("/wizard/2")).await, "steps 1,2<");
}

#[tokio::test]
async fn browsers_are_replaced_and_nobody_notices() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("[browser]\nrecycle_pages = 3\nmax_browsers = 1")
        .start()
        .await;
    assert_eq!(browsers(&burdock), [], "none before somebody asks");
    let mut browser = renderer(&burdock, "a");
    assert_shows(
        &browser.get(&app.url("/token-login?user=ada")).await,
        "logged in",
    );
    let first = browsers(&burdock);
    assert_eq!(first.len(), 1);
    for _ in 0..9 {
        assert_shows(&browser.get(&app.url("/me")).await, "hello ada");
    }
    ended(&first).await;
    balanced(&burdock, 10).await;
    assert!(
        count(&pool(&burdock).await, "recycled") >= 2,
        "{}",
        pool(&burdock).await
    );
    tidy(&burdock, 1).await;
}

#[tokio::test]
async fn the_status_shows_the_pool_and_warm_browsers_are_there_before_anybody_asks() {
    let app = App::start().await;
    let burdock = before(&[&app]).config("browser.warm = 1").start().await;
    let warm = eventually("a browser", async || browsers(&burdock).pop()).await;
    eventually("the status shows it", async || {
        let pool = pool(&burdock).await;
        (pool["browsers"][0]["pid"] == json!(warm.pid)).then_some(())
    })
    .await;
    assert_shows(
        &renderer(&burdock, "a").get(&app.url("/account")).await,
        "nobody",
    );
    let pool = pool(&burdock).await;
    let only = &pool["browsers"][0];
    assert!(
        only["version"]
            .as_str()
            .is_some_and(|version| version.contains("Chrome")),
        "{pool}"
    );
    assert_eq!(
        (&only["contexts"], &only["rendered"]),
        (&json!(1), &json!(1)),
        "{pool}"
    );
    assert_eq!(browsers(&burdock), [warm], "no second one");
    let session = burdock.session("a").await;
    assert_eq!(
        (
            &session["counters"]["requests"],
            &session["counters"]["rendered"]
        ),
        (&json!(1), &json!(1)),
        "{session}"
    );
}

#[tokio::test]
async fn a_deleted_session_takes_its_context_along() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    assert_shows(
        &browser.get(&app.url("/token-login?user=ada")).await,
        "logged in",
    );
    assert_shows(
        &browser.get(&app.url("/indexed?user=ada")).await,
        "hello ada",
    );
    page(&renderer(&burdock, "b").get(&app.url("/account")).await);
    contexts(&burdock, 2).await;
    assert_eq!(
        burdock.api("DELETE", "/api/v1/sessions/a", "").await.status,
        204
    );
    contexts(&burdock, 1).await;
    assert_shows(&browser.get(&app.url("/me")).await, "nobody");
    assert_shows(&browser.get(&app.url("/indexed")).await, "nobody");
    // In the middle of a page: whatever the page did is nobody's.
    let (mut late, url) = (renderer(&burdock, "a"), app.url("/gated"));
    let late = tokio::spawn(async move { late.get(&url).await });
    app.hit("/gated.js", 1).await;
    assert_eq!(
        burdock.api("DELETE", "/api/v1/sessions/a", "").await.status,
        204
    );
    create(&burdock, &json!({"id": "a"})).await;
    app.gate.let_pass(9);
    let answer = late.await.expect("an answer");
    assert!(answer.status == 200 || answer.status >= 500, "{answer:?}");
    let new = state(&burdock, "a").await;
    assert_eq!(
        (&new["cookies"], &new["origins"]),
        (&json!([]), &json!([])),
        "{new}"
    );
    let all = burdock.api("DELETE", "/api/v1/sessions", "").await;
    assert_eq!(all.status, 200, "{all:?}");
    contexts(&burdock, 0).await;
}

#[tokio::test]
async fn an_expired_session_takes_its_context_along() {
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("sessions.cleanup_interval = '1s'")
        .start()
        .await;
    create(&burdock, &json!({"id": "a", "ttl": 2})).await;
    assert_shows(
        &renderer(&burdock, "a")
            .get(&app.url("/indexed?user=ada"))
            .await,
        "hello ada",
    );
    contexts(&burdock, 0).await;
    assert_shows(
        &renderer(&burdock, "a").get(&app.url("/indexed")).await,
        "nobody",
    );
}

#[tokio::test]
async fn a_page_without_a_session_leaves_nothing_behind() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut nobody = burdock
        .client()
        .with("X-Burdock-Render", "browser")
        .with("X-Burdock-Wait", super::DONE);
    assert_shows(
        &nobody.get(&app.url("/token-login?user=ada")).await,
        "logged in ada",
    );
    assert_shows(&nobody.get(&app.url("/me")).await, "nobody");
    contexts(&burdock, 0).await;
    balanced(&burdock, 2).await;
}

/// A browser that somebody else has started, with its CDP endpoint.
struct Remote {
    child: Child,
    endpoint: String,
    _profile: TempDir,
}

impl Remote {
    fn start() -> Self {
        let profile = TempDir::with_prefix("burdock-remote-").expect("a temporary folder");
        let mut child = Command::new(on_path(&["chromium-headless-shell", "chromium"]))
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-port=0",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("Chromium runs");
        let said = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut lines = said.lines().map_while(Result::ok);
        let endpoint = lines.find_map(|line| {
            Some(
                line.strip_prefix("DevTools listening on ")?
                    .trim()
                    .to_owned(),
            )
        });
        // Nobody reads on, so what it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            endpoint: endpoint.expect("it says where"),
            _profile: profile,
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        reap(&mut self.child);
    }
}

#[tokio::test]
async fn a_remote_browser_renders_too_and_is_left_running() {
    let app = App::on(crate::support::Origin::plain("plain.example")).await;
    let mut remote = Remote::start();
    let config = format!("browser.endpoints = ['{}']", remote.endpoint);
    let mut burdock = before(&[&app]).config(&config).start().await;
    let mut browser = renderer(&burdock, "a");
    assert_shows(&browser.get(&app.url("/spa/1")).await, "<li>item 4</li>");
    burdock
        .visitor("a")
        .post(&app.url("/login"), "user=ada")
        .await;
    assert_eq!(browsers(&burdock), [], "none of our own");
    let pool = pool(&burdock).await;
    assert_eq!(
        pool["browsers"][0]["endpoint"],
        json!(remote.endpoint),
        "{pool}"
    );
    // What burdock says of itself to the endpoint is its own affair: the page's port of debugging stays out of reach.
    let debugging = remote
        .endpoint
        .split('/')
        .nth(2)
        .expect("an authority")
        .to_owned();
    let asked = burdock
        .client()
        .get(&format!("http://{debugging}/json/version"))
        .await;
    assert_eq!(asked.status, 508, "{asked:?}");
    burdock.signal(rustix::process::Signal::TERM);
    assert_eq!(burdock.exited().await.code(), Some(0));
    assert!(
        remote.child.try_wait().expect("a child of ours").is_none(),
        "it is somebody else's"
    );
}
