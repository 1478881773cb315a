//! The table of cookie cases (`src/session/jar/tests/cases.json`) on the wire: what the jar does by itself, the whole
//! of burdock does between a client and an origin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;

use crate::support::client::request;
use crate::support::origin::Seen;
use crate::support::{Burdock, Origin, Reply, tls, within_time};

/// Responses that set cookies, and what a later request carries; see `cases.rs` beside the table.
#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    before: Vec<Response>,
    #[serde(flatten)]
    last: Response,
    to: String,
    cookie: String,
}

#[derive(Clone, Deserialize)]
struct Response {
    from: String,
    set: Vec<String>,
}

impl Case {
    fn responses(&self) -> impl Iterator<Item = &Response> {
        self.before.iter().chain([&self.last])
    }

    /// What is visited, in order; the last visit is the one that tells.
    fn visits(&self) -> Vec<&str> {
        self.responses()
            .map(|response| response.from.as_str())
            .chain([self.to.as_str()])
            .collect()
    }
}

fn table() -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session/jar/tests/cases.json");
    let text = std::fs::read_to_string(file).expect("a file of the repository");
    let mut cases: Vec<Case> = serde_json::from_str(&text).expect("cases of that shape");
    // A control character makes the whole response invalid for an HTTP/1.1 parser: no jar sees such a line.
    let control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    cases.retain(|case| {
        !case
            .responses()
            .any(|response| response.set.iter().any(|line| line.bytes().any(control)))
    });
    assert!(cases.len() > 300, "{} cases", cases.len());
    cases
}

/// One origin for every host of the table, by http and by https, that answers visit M of case N, which `X-Visit: N/M`
/// names, with the cookies that the table says.
struct Web {
    plain: Origin,
    secure: Origin,
    burdock: Burdock,
}

impl Web {
    async fn of(cases: &[Case]) -> Self {
        let visits: Vec<Uri> = cases
            .iter()
            .flat_map(Case::visits)
            .map(|url| url.parse().expect("a URL"))
            .collect();
        let hosts: BTreeSet<&str> = visits.iter().filter_map(Uri::host).collect();
        let config = tls::TRUSTED.server_of(&Vec::from_iter(hosts), &["http/1.1"]);
        let script = |cases: &[Case]| {
            let cases = cases.to_vec();
            move |seen: &Seen| {
                let Some((case, visit)) = visit_of(seen) else {
                    return Reply::status(404);
                };
                let response = cases[case].responses().nth(visit);
                let page = Reply::text("").field("Content-Type", "text/html");
                response
                    .into_iter()
                    .flat_map(|response| &response.set)
                    .fold(page, |page, line| page.cookie(&octets(line)))
            }
        };
        let plain = Origin::plain("web").respond(script(cases)).start().await;
        let secure = Origin::with_tls("web", config)
            .respond(script(cases))
            .start()
            .await;
        let routes: BTreeSet<String> = visits
            .iter()
            .map(|url| {
                let https = url.scheme_str() == Some("https");
                let (origin, port) = if https { (&secure, 443) } else { (&plain, 80) };
                let port = url.port_u16().unwrap_or(port);
                format!(
                    "{}:{port}:{}",
                    url.host().expect("a host"),
                    origin.address()
                )
            })
            .collect();
        let routes = Vec::from_iter(routes);
        let config =
            format!("upstream.connect_to = {routes:?}\nsessions.max_active_sessions = 10000");
        let burdock = Burdock::new().config(&config).start().await;
        Self {
            plain,
            secure,
            burdock,
        }
    }

    /// What the last visit of each case carried.
    fn sent(&self, cases: &[Case]) -> BTreeMap<usize, String> {
        let arrived = self
            .plain
            .requests()
            .into_iter()
            .chain(self.secure.requests());
        let visits = arrived.filter_map(|seen| Some((visit_of(&seen)?, seen.cookie().to_owned())));
        visits
            .filter(|((case, visit), _)| visit + 1 == cases[*case].visits().len())
            .map(|((case, _), cookie)| (case, cookie))
            .collect()
    }
}

fn visit_of(seen: &Seen) -> Option<(usize, usize)> {
    let (case, visit) = seen.field("x-visit")?.split_once('/')?;
    Some((case.parse().ok()?, visit.parse().ok()?))
}

/// A string of the table as it is on the wire: each `char` one byte of its UTF-8.
fn octets(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

#[tokio::test]
async fn burdock_sends_what_the_table_says() {
    let cases = table();
    let web = Web::of(&cases).await;
    let walk = async {
        for (number, case) in cases.iter().enumerate() {
            let mut client = web.burdock.visitor(&format!("case-{number}"));
            for (visit, url) in case.visits().into_iter().enumerate() {
                let call = request("GET", url).header("x-visit", format!("{number}/{visit}"));
                let answer = client
                    .send(call.body("".into()).expect("a valid request"))
                    .await;
                assert_eq!(answer.status, 200, "{}: {answer:?}", case.name);
            }
        }
    };
    within_time(Duration::from_secs(60), "the walk through the table", walk).await;
    let sent = web.sent(&cases);
    let differences: Vec<String> = cases
        .iter()
        .enumerate()
        .filter(|(number, case)| sent.get(number) != Some(&octets(&case.cookie)))
        .map(|(number, case)| {
            let found = sent.get(&number);
            format!("{}: sent {found:?}, wanted {:?}", case.name, case.cookie)
        })
        .collect();
    let (count, all) = (differences.len(), cases.len());
    assert!(
        differences.is_empty(),
        "{count} of {all} cases:\n{}",
        differences.join("\n")
    );
}
