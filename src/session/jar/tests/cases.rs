//! The cases of `cases.json`: what a response sets and what a later request carries. Plain data, so that a browser can be
//! asked the same.

use serde::Deserialize;
use url::Url;

use super::super::{CookieUrl, Jar};
use super::{NOW, header};

/// `from` answers with the `Set-Cookie` lines `set`, after those of `before`; a request to `to` then carries `cookie`, or no
/// field where that is empty. Where Chromium 156 was seen to send something else, that is `chromium`: it gives a replaced cookie
/// a new age unless its value is the same, refuses nameless cookies with a `=` in their value, and reads years before 1601.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    before: Vec<Response>,
    from: String,
    set: Vec<String>,
    to: String,
    cookie: String,
    chromium: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    from: String,
    set: Vec<String>,
}

#[test]
fn every_case_of_the_table() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).unwrap();
    assert!(cases.len() > 300);
    assert!(
        cases
            .iter()
            .all(|case| case.chromium.as_ref() != Some(&case.cookie))
    );
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let sent = sent(case);
            (sent != case.cookie)
                .then(|| format!("{}: sent {sent:?}, wanted {:?}", case.name, case.cookie))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

fn sent(case: &Case) -> String {
    let mut jar = Jar::default();
    let before = case
        .before
        .iter()
        .map(|response| (&response.from, &response.set));
    for (from, lines) in before.chain([(&case.from, &case.set)]) {
        let from = Url::parse(from).unwrap();
        jar.receive(&cookie_url(&from), lines.iter().map(String::as_bytes), NOW);
    }
    header(
        &mut jar,
        &cookie_url(&Url::parse(&case.to).unwrap()),
        &[],
        NOW,
    )
}

fn cookie_url(url: &Url) -> CookieUrl<'_> {
    CookieUrl {
        secure: url.scheme() == "https",
        host: url.host_str().unwrap(),
        path: url.path(),
    }
}
