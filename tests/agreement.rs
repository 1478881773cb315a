//! The jar agrees with Chromium: the table that the jar is tested with is put to a real one.

use std::collections::BTreeMap;
use std::path::Path;

use burdock::session::jar::SameSite;
use burdock::session::{Cookie, CookieUrl, Jar, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::support::tool::{command, node_modules, on_path, output, script};

const TABLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/session/jar/tests/cases.json"
);

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    before: Vec<Response>,
    #[serde(flatten)]
    last: Response,
    /// What Chromium sends where that is not what burdock sends.
    chromium: Option<String>,
}

#[derive(Deserialize)]
struct Response {
    from: String,
    set: Vec<String>,
}

/// What the script found Chromium to hold at the end of a case.
#[derive(Deserialize)]
struct Held {
    name: String,
    /// When the first response left and when the last request came, in milliseconds since the epoch.
    began: i64,
    ended: i64,
    cookies: Vec<CdpCookie>,
}

/// A cookie as `Storage.getCookies` of CDP gives it. Its priority, source scheme and source port have no counterpart in
/// the jar: nothing that is sent depends on them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdpCookie {
    name: String,
    value: String,
    /// With a dot before it unless the cookie is host-only.
    domain: String,
    path: String,
    /// Seconds since the epoch; means nothing for a cookie of the browser's session.
    expires: f64,
    session: bool,
    secure: bool,
    http_only: bool,
    same_site: Option<SameSite>,
    partition_key: Option<CdpPartitionKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdpPartitionKey {
    top_level_site: String,
    has_cross_site_ancestor: bool,
}

/// All that both sides know of a cookie but its expiry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attributes {
    name: String,
    value: String,
    /// With a dot before it unless the cookie is host-only.
    domain: String,
    path: String,
    partition: Option<(String, bool)>,
    secure: bool,
    http_only: bool,
    same_site: Option<SameSite>,
}

/// Cookies and when they expire; none: with the session.
type Cookies = BTreeMap<Attributes, Option<Timestamp>>;

#[tokio::test]
async fn chromium_sends_and_holds_what_the_table_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("held.json");
    // The script makes a certificate with it.
    on_path(&["openssl"]);
    let mut node = command(&on_path(&["node"]));
    node.arg(script("chromium_cookies.mjs"))
        .arg(TABLE)
        .arg(on_path(&["chromium-headless-shell", "chromium"]))
        .arg(&file)
        .env("NODE_PATH", node_modules());
    let said = output(node).await;
    let out = String::from_utf8_lossy(&said.stdout);
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{}\n{out}\n{err}", said.status);

    let cases: Vec<Case> = json(TABLE.as_ref());
    let held: Vec<Held> = json(&file);
    let verdict = out.lines().last().unwrap_or_default();
    assert_eq!(verdict, format!("{} agree, 0 differ", cases.len()));
    assert_eq!(held.len(), cases.len(), "every case was visited");
    let differences: Vec<String> = std::iter::zip(&cases, &held)
        // Where Chromium sends something else it may hold something else: the table says where and why.
        .filter(|(case, _)| case.chromium.is_none())
        .filter_map(|(case, held)| difference(case, held))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// How what the jar holds differs from what Chromium holds.
fn difference(case: &Case, held: &Held) -> Option<String> {
    assert_eq!(case.name, held.name, "the script keeps the table's order");
    // Chromium stored the cookies between the two moments; the script's clock leaves out parts of a millisecond.
    let moment = |millis: i64| Timestamp::from_micros(millis * 1000);
    let earliest = of_jar(case, moment(held.began));
    let latest = of_jar(case, moment(held.ended + 1));
    let theirs: Cookies = held.cookies.iter().map(of_chromium).collect();
    let agree = earliest.keys().eq(theirs.keys())
        && latest.keys().eq(theirs.keys())
        && theirs
            .iter()
            .all(|(cookie, expires)| earliest[cookie] <= *expires && *expires <= latest[cookie]);
    (!agree).then(|| {
        let name = &case.name;
        format!("{name}: the jar holds {earliest:?} to {latest:?}, Chromium {theirs:?}")
    })
}

/// What a jar holds that all responses of the case reached at `now`.
fn of_jar(case: &Case, now: Timestamp) -> Cookies {
    let mut jar = Jar::default();
    for response in case.before.iter().chain([&case.last]) {
        let url = Url::parse(&response.from).expect("the table has URLs");
        let url = CookieUrl {
            secure: url.scheme() == "https",
            host: url.host_str().expect("the table's URLs have hosts"),
            path: url.path(),
        };
        jar.receive(&url, response.set.iter().map(String::as_bytes), now);
    }
    let pair = |cookie: &Cookie| (attributes(cookie), cookie.expires());
    jar.live(now).map(pair).collect()
}

fn attributes(cookie: &Cookie) -> Attributes {
    let dot = if cookie.host_only() { "" } else { "." };
    Attributes {
        name: cookie.name().to_text().into_owned(),
        value: cookie.value().to_text().into_owned(),
        domain: format!("{dot}{}", cookie.domain()),
        path: cookie.path().to_owned(),
        partition: cookie
            .partition()
            .map(|key| (key.top_level_site.to_string(), key.cross_site_ancestor)),
        secure: cookie.secure(),
        http_only: cookie.http_only(),
        same_site: cookie.same_site(),
    }
}

fn of_chromium(cookie: &CdpCookie) -> (Attributes, Option<Timestamp>) {
    let attributes = Attributes {
        name: cookie.name.clone(),
        value: cookie.value.clone(),
        domain: cookie.domain.clone(),
        path: cookie.path.clone(),
        partition: cookie
            .partition_key
            .as_ref()
            .map(|key| (key.top_level_site.clone(), key.has_cross_site_ancestor)),
        secure: cookie.secure,
        http_only: cookie.http_only,
        same_site: cookie.same_site,
    };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "microseconds of any expiry that a browser keeps fit"
    )]
    let micros = (cookie.expires * 1e6).round() as i64;
    let expires = (!cookie.session).then_some(Timestamp::from_micros(micros));
    (attributes, expires)
}

fn json<T: DeserializeOwned>(file: &Path) -> T {
    let text = std::fs::read_to_string(file).expect("a readable file");
    serde_json::from_str(&text).expect("the JSON that is expected")
}
