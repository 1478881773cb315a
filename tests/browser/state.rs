//! One identity on both routes: what the session has the page has, and what the page did the session keeps.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::app::{self, App};
use super::{assert_shows, balanced, before, create, local, page, renderer, state};
use crate::support::redis::RedisServer;
use crate::support::{Burdock, Origin, within_time};

const ORIGIN: &str = "https://app.example";

#[tokio::test]
async fn a_login_on_either_route_holds_on_both_and_so_does_a_logout() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let (mut plain, mut browser) = (burdock.visitor("a"), renderer(&burdock, "a"));
    assert_shows(&browser.get(&app.url("/account")).await, "nobody");
    // By form, without the browser, while its context is there already.
    let login = plain.post(&app.url("/login"), "user=ada").await;
    assert_eq!(
        (login.status, login.field("location")),
        (303, Some("/account"))
    );
    assert_shows(&browser.get(&app.url("/account")).await, "hello ada");
    // By script, in the browser.
    assert_shows(&browser.get(&app.url("/me")).await, "nobody");
    assert_shows(
        &browser.get(&app.url("/token-login?user=ada")).await,
        "logged in ada",
    );
    let echo = plain.get(&app.url("/echo")).await.json();
    assert_eq!(
        echo["cookie"], "sid=ada; api=ada; seen=ada",
        "in the order of their making"
    );
    assert_shows(&browser.get(&app.url("/me")).await, "hello ada");
    let stored = state(&burdock, "a").await;
    assert_eq!(local(&stored, ORIGIN, "token"), Some("token-ada"));
    assert_eq!(
        local(&stored, ORIGIN, "unicode \u{1f600}"),
        Some("v\u{e4}lue and \u{0} and \n"),
        "text of any kind"
    );
    // Nobody else is logged in.
    assert_shows(
        &renderer(&burdock, "b").get(&app.url("/me")).await,
        "nobody",
    );
    // The logout deletes cookies by response and by script, and an item of the storage.
    page(&browser.get(&app.url("/logout")).await);
    let stored = state(&burdock, "a").await;
    assert_eq!(stored["cookies"], json!([]), "all cookies are gone");
    assert_eq!(local(&stored, ORIGIN, "token"), None);
    assert!(
        local(&stored, ORIGIN, "unicode \u{1f600}").is_some(),
        "nothing else is"
    );
    assert_eq!(
        plain.get(&app.url("/echo")).await.json().get("cookie"),
        None
    );
    assert_shows(&browser.get(&app.url("/me")).await, "nobody");
    assert_shows(&browser.get(&app.url("/account")).await, "nobody");
    balanced(&burdock, 9).await;
}

#[tokio::test]
async fn what_is_changed_beside_the_browser_is_changed_in_its_context() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut browser = renderer(&burdock, "a");
    page(&browser.get(&app.url("/token-login?user=ada")).await);
    // The context is warm: it has ada's token and cookies, and must not keep them.
    let swap = json!({"cookies": [{"name": "sid", "value": "bob", "domain": "app.example", "path": "/", "expires": -1,
        "httpOnly": true, "secure": true, "sameSite": "Lax"}],
        "origins": [{"origin": ORIGIN, "localStorage": [{"name": "token", "value": "token-bob"}]}]});
    let put = burdock
        .api("PUT", "/api/v1/sessions/a/state", &swap.to_string())
        .await;
    assert!(put.status < 300, "{put:?}");
    assert_shows(&browser.get(&app.url("/me")).await, "hello bob");
    assert_shows(&browser.get(&app.url("/account")).await, "hello bob");
    assert_eq!(
        app.requests("/account")[0].cookie(),
        "sid=bob",
        "none of ada's"
    );
    // By a plain request.
    burdock.visitor("a").get(&app.url("/logout")).await;
    assert_shows(&browser.get(&app.url("/account")).await, "nobody");
    // And the page clears all of its storage.
    page(&browser.get(&app.url("/forget")).await);
    assert_eq!(local(&state(&burdock, "a").await, ORIGIN, "token"), None);
    assert_shows(&browser.get(&app.url("/me")).await, "nobody");
    balanced(&burdock, 6).await;
}

#[tokio::test]
async fn cookies_are_what_a_browser_makes_of_them() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let html = page(&renderer(&burdock, "a").get(&app.url("/cookies")).await);
    let (_, visible) = html
        .split_once("<p id=\"visible\">")
        .expect("what scripts see");
    let (visible, _) = visible.split_once("</p>").expect("its end");
    assert!(
        visible.contains("plain=1") && !visible.contains("only=1"),
        "{visible}"
    );
    let cookies = state(&burdock, "a").await["cookies"].clone();
    let cookies: BTreeMap<&str, &Value> = cookies
        .as_array()
        .expect("a list")
        .iter()
        .map(|cookie| (cookie["name"].as_str().expect("a name"), cookie))
        .collect();
    // Name, domain, path, Secure, HttpOnly, SameSite as Playwright has it, whether it expires, whether it is partitioned.
    let wanted = [
        (
            "plain",
            "app.example",
            "/",
            false,
            false,
            "Lax",
            false,
            false,
        ),
        (
            "only",
            "app.example",
            "/",
            true,
            true,
            "Strict",
            false,
            false,
        ),
        ("late", "app.example", "/", true, false, "Lax", true, false),
        ("long", "app.example", "/", true, false, "Lax", true, false),
        (
            "site",
            ".app.example",
            "/",
            true,
            false,
            "None",
            false,
            false,
        ),
        (
            "__Host-part",
            "app.example",
            "/",
            true,
            true,
            "None",
            false,
            true,
        ),
        (
            "__Secure-a",
            "app.example",
            "/cookies",
            true,
            false,
            "Lax",
            false,
            false,
        ),
        (
            "script-plain",
            "app.example",
            "/",
            false,
            false,
            "Lax",
            false,
            false,
        ),
        (
            "script-strict",
            "app.example",
            "/",
            true,
            false,
            "Strict",
            true,
            false,
        ),
        (
            "script-none",
            "app.example",
            "/",
            true,
            false,
            "None",
            true,
            false,
        ),
        (
            "script-site",
            ".app.example",
            "/",
            true,
            false,
            "Lax",
            false,
            false,
        ),
        (
            "__Host-script",
            "app.example",
            "/",
            true,
            false,
            "Lax",
            false,
            false,
        ),
        (
            "__Secure-script",
            "app.example",
            "/",
            true,
            false,
            "Lax",
            false,
            false,
        ),
        (
            "script-path",
            "app.example",
            "/cookies/deep",
            true,
            false,
            "Lax",
            false,
            false,
        ),
        (
            "script-part",
            "app.example",
            "/",
            true,
            false,
            "None",
            false,
            true,
        ),
    ];
    for (name, domain, path, secure, http_only, same_site, expires, partitioned) in wanted {
        let cookie = cookies
            .get(name)
            .unwrap_or_else(|| panic!("a cookie {name} in {cookies:?}"));
        let found = (
            &cookie["domain"],
            &cookie["path"],
            &cookie["secure"],
            &cookie["httpOnly"],
            &cookie["sameSite"],
        );
        assert_eq!(
            found,
            (
                &json!(domain),
                &json!(path),
                &json!(secure),
                &json!(http_only),
                &json!(same_site)
            ),
            "{name}"
        );
        assert_eq!(
            cookie["expires"].as_f64().expect("a number") > 0.0,
            expires,
            "{name}: {cookie}"
        );
        assert_eq!(
            cookie.get("partitionKey").is_some_and(|key| !key.is_null()),
            partitioned,
            "{name}: {cookie}"
        );
    }
    assert_eq!(
        cookies.len(),
        wanted.len(),
        "those that a browser refuses are not there: {cookies:?}"
    );
}

#[tokio::test]
async fn a_partitioned_cookie_of_a_frame_belongs_to_the_site_round_it() {
    let (app, other) = (
        App::start().await,
        App::on(Origin::tls("other.example")).await,
    );
    let burdock = before(&[&app, &other]).start().await;
    let mut browser = renderer(&burdock, "a");
    assert_shows(
        &browser.get(&app.url("/frame")).await,
        "https://other.example had []",
    );
    let cookies = state(&burdock, "a").await["cookies"].clone();
    let part = cookies
        .as_array()
        .expect("a list")
        .iter()
        .find(|cookie| cookie["name"] == "__Host-part");
    assert_eq!(
        part.expect("it is kept")["partitionKey"],
        "https://app.example",
        "{cookies}"
    );
    let said = page(&browser.get(&app.url("/frame")).await);
    assert!(
        said.contains("__Host-part=1"),
        "it is back in the same place: {said}"
    );
    burdock.visitor("a").get(&other.url("/framed")).await;
    let alone = other.requests("/framed").pop().expect("it came");
    assert_eq!(
        app::cookie(&alone, "__Host-part"),
        None,
        "and nowhere else: {:?}",
        alone.cookie()
    );
}

#[tokio::test]
async fn a_wizard_goes_on_from_page_to_page() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let (mut a, mut b) = (renderer(&burdock, "a"), renderer(&burdock, "b"));
    assert_shows(&a.get(&app.url("/wizard/1")).await, "steps 1<");
    assert_shows(&b.get(&app.url("/wizard/2")).await, "steps lost");
    assert_shows(&a.get(&app.url("/wizard/2")).await, "steps 1,2<");
    assert_shows(&a.get(&app.url("/wizard/3")).await, "steps 1,2,3<");
    // IndexedDB stays in the context, and is the session's too.
    assert_shows(&a.get(&app.url("/indexed?user=ada")).await, "hello ada");
    assert_shows(&a.get(&app.url("/indexed")).await, "hello ada");
    assert_shows(&b.get(&app.url("/indexed")).await, "nobody");
}

/// Logs in and begins a wizard, kills burdock, starts another, and is logged in and in the wizard there.
async fn survives_a_crash(app: &App, start: impl AsyncFn() -> Burdock) {
    let mut burdock = start().await;
    let mut browser = renderer(&burdock, "a");
    assert_shows(
        &browser.get(&app.url("/token-login?user=ada")).await,
        "logged in ada",
    );
    assert_shows(&browser.get(&app.url("/wizard/1")).await, "steps 1<");
    burdock.signal(Signal::KILL);
    burdock.exited().await;
    let burdock = start().await;
    let mut browser = renderer(&burdock, "a");
    assert_shows(&browser.get(&app.url("/me")).await, "hello ada");
    assert_shows(&browser.get(&app.url("/wizard/2")).await, "steps 1,2<");
    let echo = burdock.visitor("a").get(&app.url("/echo")).await.json();
    assert_eq!(echo["cookie"], "api=ada; seen=ada");
}

#[tokio::test]
async fn a_login_in_the_browser_survives_the_crash_of_burdock_in_the_file() {
    let app = App::start().await;
    let folder = TempDir::with_prefix("burdock-test-").expect("a temporary folder");
    let file = folder.path().join("sessions.db");
    let config = format!(
        "[sessions]\ndefault_adapter = 'file'\n[adapters.file]\npath = '{}'",
        file.display()
    );
    survives_a_crash(&app, async || before(&[&app]).config(&config).start().await).await;
}

#[tokio::test]
async fn a_login_in_the_browser_survives_the_crash_of_burdock_in_redis() {
    let app = App::start().await;
    let server = RedisServer::start(&[]);
    let config = format!(
        "[sessions]\ndefault_adapter = 'redis'\n[adapters.redis]\nurl = '{}'",
        server.url()
    );
    survives_a_crash(&app, async || before(&[&app]).config(&config).start().await).await;
}

#[tokio::test]
async fn sessions_at_once_never_see_one_another() {
    const USERS: [&str; 4] = ["ada", "bob", "cy", "dan"];
    let app = App::start().await;
    // Fewer contexts than sessions, so that some go and come back while others are rendering.
    let burdock = before(&[&app])
        .config("browser.max_contexts = 3")
        .start()
        .await;
    let mut visits = JoinSet::new();
    for user in USERS {
        let (mut plain, mut browser) = (burdock.visitor(user), renderer(&burdock, user));
        let urls = [
            format!("/token-login?user={user}"),
            "/me".to_owned(),
            "/account".to_owned(),
            "/me".to_owned(),
        ];
        let [login, me, account, again] = urls.map(|path| app.url(&path));
        let form = app.url("/login");
        visits.spawn(async move {
            plain.post(&form, &format!("user={user}")).await;
            assert_shows(&browser.get(&login).await, &format!("logged in {user}"));
            for url in [me, account, again] {
                assert_shows(&browser.get(&url).await, &format!("hello {user}"));
            }
        });
    }
    within_time(super::GRACE * 4, "all visits", async {
        while let Some(visit) = visits.join_next().await {
            visit.expect("every visit ends well");
        }
    })
    .await;
    for user in USERS {
        let own = state(&burdock, user).await;
        assert_eq!(
            local(&own, ORIGIN, "token"),
            Some(format!("token-{user}").as_str())
        );
        for other in USERS.iter().filter(|other| **other != user) {
            assert!(
                !own.to_string().contains(other),
                "{user} has something of {other}: {own}"
            );
        }
    }
    balanced(&burdock, 16).await;
}

#[tokio::test]
async fn parallel_pages_of_one_session_all_keep_what_they_did() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    create(&burdock, &json!({"id": "a"})).await;
    let mut visits = JoinSet::new();
    for path in ["/token-login?user=ada", "/cookies", "/strict", "/lazy"] {
        let (mut browser, url) = (renderer(&burdock, "a"), app.url(path));
        visits.spawn(async move { page(&browser.get(&url).await) });
    }
    while let Some(visit) = visits.join_next().await {
        visit.expect("every visit ends well");
    }
    let stored = state(&burdock, "a").await;
    assert_eq!(
        local(&stored, ORIGIN, "token"),
        Some("token-ada"),
        "{stored}"
    );
    assert_eq!(local(&stored, ORIGIN, "strict"), Some("kept"), "{stored}");
    let cookies = stored["cookies"].to_string();
    for name in ["api", "seen", "only", "script-strict"] {
        assert!(
            cookies.contains(&format!("\"name\":\"{name}\"")),
            "{name} in {cookies}"
        );
    }
}

#[tokio::test]
async fn what_happens_by_http_while_a_page_renders_is_not_undone_by_it() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut plain = burdock.visitor("a");
    // A login while a page is there that knows nothing of it.
    let (mut browser, url) = (renderer(&burdock, "a"), app.url("/gated"));
    let first = tokio::spawn(async move { browser.get(&url).await });
    app.hit("/gated.js", 1).await;
    plain.post(&app.url("/login"), "user=ada").await;
    app.gate.let_pass(1);
    page(&first.await.expect("an answer"));
    let echo = plain.get(&app.url("/echo")).await.json();
    assert_eq!(echo["cookie"], "sid=ada; gated=1", "both are there");
    // A logout while a page is there that is still logged in.
    let (mut browser, url) = (renderer(&burdock, "a"), app.url("/gated"));
    let second = tokio::spawn(async move { browser.get(&url).await });
    app.hit("/gated.js", 2).await;
    let sent = &app.requests("/gated.js")[1];
    assert_eq!(app::cookie(sent, "sid"), Some("ada"), "{}", sent.cookie());
    plain.get(&app.url("/logout")).await;
    app.gate.let_pass(1);
    page(&second.await.expect("an answer"));
    let echo = plain.get(&app.url("/echo")).await.json();
    assert_eq!(echo["cookie"], "gated=1", "logged out it stays");
    assert_shows(
        &renderer(&burdock, "a").get(&app.url("/account")).await,
        "nobody",
    );
    balanced(&burdock, 3).await;
}
