//! The browser route: the page after its JavaScript ran, for a client that knows nothing of browsers, as the visitor that the session is.

mod answer;
mod app;
mod faults;
mod leftovers;
mod pool;
mod route;
mod scrape;
mod state;
mod traffic;
mod tree;
mod visitor;

use std::time::Duration;

use serde_json::Value;

use self::app::{App, DONE};
use crate::support::client::{Client, request};
use crate::support::{Answer, Burdock, burdock, eventually};

/// Every request is rendered or told within this time of its deadline.
const GRACE: Duration = Duration::from_secs(5);

/// A burdock before these applications: pages of a few seconds, so that a page that hangs holds no test up.
fn before(apps: &[&App]) -> burdock::Builder {
    let builder = Burdock::new().config("browser.navigation_timeout = '6s'");
    apps.iter()
        .fold(builder, |builder, app| builder.connect_to(app.origin()))
}

/// A client of that session whose every request is to be rendered, until the page says that it is done.
fn renderer(burdock: &Burdock, session: &str) -> Client {
    awaiting(burdock, session, DONE)
}

/// The same, until what `X-Burdock-Wait` says.
fn awaiting(burdock: &Burdock, session: &str, wait: &str) -> Client {
    let client = burdock.visitor(session).with("X-Burdock-Render", "browser");
    client.with("X-Burdock-Wait", wait)
}

/// A page that was rendered whole.
#[track_caller]
fn page(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let route = answer.field("x-burdock-route").unwrap_or_default();
    assert!(route.starts_with("browser; reason="), "{answer:?}");
    assert_eq!(answer.field("x-burdock-partial"), None, "{}", answer.text());
    String::from_utf8(answer.body.to_vec()).expect("UTF-8, as the content type says")
}

/// Checks that a page was rendered whole, and has `text`.
#[track_caller]
fn assert_shows(answer: &Answer, text: &str) {
    let page = page(answer);
    assert!(page.contains(text), "no {text:?} in {page}");
}

/// The JSON that a page put into its `#out`.
#[track_caller]
fn out(answer: &Answer) -> Value {
    let page = page(answer);
    let (_, rest) = page
        .split_once("<pre id=\"out\">")
        .expect("a page with its findings");
    let (text, _) = rest.split_once("</pre>").expect("its end");
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A GET with fields of its own.
async fn get(client: &mut Client, url: &str, fields: &[(&str, &str)]) -> Answer {
    let asked = fields
        .iter()
        .fold(request("GET", url), |asked, (name, value)| {
            asked.header(*name, *value)
        });
    client
        .send(asked.body("".into()).expect("a valid request"))
        .await
}

/// Makes a session by the admin API.
async fn create(burdock: &Burdock, session: &Value) {
    let made = burdock
        .api("POST", "/api/v1/sessions", &session.to_string())
        .await;
    assert_eq!(made.status, 201, "{made:?}");
}

/// What a session has stored of its pages.
async fn state(burdock: &Burdock, session: &str) -> Value {
    let state = burdock
        .api("GET", &format!("/api/v1/sessions/{session}/state"), "")
        .await;
    assert_eq!(state.status, 200, "{state:?}");
    state.json()
}

/// The localStorage of an origin as a state has it.
fn local<'a>(state: &'a Value, origin: &str, name: &str) -> Option<&'a str> {
    let origins = state["origins"].as_array().expect("a list of origins");
    let origin = origins.iter().find(|entry| entry["origin"] == origin)?;
    let items = origin["localStorage"].as_array().expect("a list of items");
    items.iter().find(|item| item["name"] == name)?["value"].as_str()
}

/// The pool, as the status has it.
async fn pool(burdock: &Burdock) -> Value {
    let status = burdock.api("GET", "/api/v1/status", "").await;
    assert_eq!(status.status, 200, "{status:?}");
    status.json()["browser"].clone()
}

/// A number of the pool: what there is now, or one of its counters.
#[track_caller]
fn count(pool: &Value, name: &str) -> u64 {
    let number = pool.get(name).or_else(|| pool["counters"].get(name));
    number
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("a number `{name}` in {pool}"))
}

/// Waits until every request that was admitted has ended, one way or the other, and has given back its page; checks that so many did.
async fn balanced(burdock: &Burdock, admitted: u64) {
    eventually("every admitted request has ended", async || {
        let pool = pool(burdock).await;
        let ended = count(&pool, "answered") + count(&pool, "failed");
        (count(&pool, "admitted") == ended && count(&pool, "pages") == 0).then_some(())
    })
    .await;
    let pool = pool(burdock).await;
    assert_eq!(count(&pool, "admitted"), admitted, "{pool}");
}
