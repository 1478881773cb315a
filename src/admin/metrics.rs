//! `GET /metrics`: how the stores and the sessions are, as OpenMetrics.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::{Admin, egress};
use crate::browser;
use crate::upstream::egress::Report;

/// What a set of samples is told apart by.
type Labels = Vec<(&'static str, String)>;

/// What is measured when it is asked for.
struct Snapshot {
    /// Each adapter, and what is wrong with it.
    stores: Vec<(&'static str, Option<String>)>,
    /// Unexpired sessions; none where a store does not tell.
    active: Option<u64>,
    /// Sessions in this process's memory.
    live: usize,
    max: u64,
    browser: browser::Status,
    /// Each upstream proxy, the live sessions that leave by it, and how it is.
    proxies: Vec<(String, usize, Report)>,
}

/// `GET /metrics`.
pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Response {
    let registry = admin.registry();
    let health = registry.health().await;
    let snapshot = Snapshot {
        stores: health
            .into_iter()
            .map(|(name, health)| (name, health.err().map(|error| error.to_string())))
            .collect(),
        active: registry.count().await.ok(),
        live: registry.live(),
        max: registry.options().max_active,
        browser: admin.exchange.browsers.status(),
        proxies: egress::proxies(&admin),
    };
    let mut text = String::new();
    snapshot
        .write(&mut text)
        .expect("a String takes what is written to it");
    (
        [(CONTENT_TYPE, OPENMETRICS), (CACHE_CONTROL, "no-store")],
        text,
    )
        .into_response()
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Snapshot {
    fn write(self, text: &mut String) -> fmt::Result {
        let mut metrics = Registry::with_prefix("burdock");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        metrics.register("build", "The program", build);
        let up = Family::<Labels, Gauge>::default();
        let problems = Family::<Labels, Gauge>::default();
        for (adapter, problem) in self.stores {
            let adapter = ("adapter", adapter.to_owned());
            up.get_or_create(&vec![adapter.clone()])
                .set(i64::from(problem.is_none()));
            if let Some(problem) = problem {
                let labels = vec![adapter, ("problem", problem)];
                problems.get_or_create(&labels).set(1);
            }
        }
        metrics.register("store_up", "Whether sessions of an adapter can be used", up);
        metrics.register(
            "store_problem",
            "What is wrong with an adapter's store, and what to do",
            problems,
        );
        if !self.proxies.is_empty() {
            write_proxies(self.proxies, &mut metrics);
        }
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            metrics.register(name, help, gauge);
        };
        if let Some(active) = self.active {
            gauge(
                "sessions_active",
                "Unexpired sessions in all stores; left out while one of them does not answer",
                active,
            );
        }
        gauge(
            "sessions_live",
            "Sessions in the memory of this process",
            u64::try_from(self.live).unwrap_or(u64::MAX),
        );
        gauge(
            "sessions_max",
            "How many sessions there may be (sessions.max_active_sessions)",
            self.max,
        );
        let browser = &self.browser;
        let at_once: [(&str, &str, usize); 4] = [
            ("browsers", "Browser processes", browser.browsers.len()),
            (
                "browser_contexts",
                "Live browser contexts",
                browser.contexts,
            ),
            ("browser_pages", "Pages rendering", browser.pages),
            (
                "browser_waiting",
                "Requests that wait for a page",
                browser.waiting,
            ),
        ];
        for (name, help, value) in at_once {
            gauge(name, help, u64::try_from(value).unwrap_or(u64::MAX));
        }
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = Counter::<u64>::default();
            counter.inc_by(value);
            metrics.register(name, help, counter);
        };
        let counts = browser.counters;
        counter(
            "browser_admitted",
            "Pages that got a place",
            counts.admitted,
        );
        counter(
            "browser_answered",
            "Pages that were rendered",
            counts.answered,
        );
        counter(
            "browser_failed",
            "Pages that ended in an error",
            counts.failed,
        );
        counter(
            "browser_crashes",
            "Renderers and browsers that crashed",
            counts.crashes,
        );
        counter(
            "browser_recycled",
            "Browsers replaced because of their age",
            counts.recycled,
        );
        encode(text, &metrics)
    }
}

fn write_proxies(proxies: Vec<(String, usize, Report)>, metrics: &mut Registry) {
    let up = Family::<Labels, Gauge>::default();
    let sessions = Family::<Labels, Gauge>::default();
    let failures = Family::<Labels, Gauge>::default();
    for (proxy, leaving, health) in proxies {
        let labels = vec![("proxy", proxy)];
        up.get_or_create(&labels).set(i64::from(health.healthy));
        sessions
            .get_or_create(&labels)
            .set(i64::try_from(leaving).unwrap_or(i64::MAX));
        failures.get_or_create(&labels).set(health.failures.into());
    }
    metrics.register(
        "egress_up",
        "Whether an upstream proxy could be reached when that was last tried",
        up,
    );
    metrics.register(
        "egress_sessions",
        "Sessions in the memory of this process that leave by an upstream proxy",
        sessions,
    );
    metrics.register(
        "egress_failures",
        "Connections through an upstream proxy that failed on its side since one that did not",
        failures,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_down_says_what_is_wrong() {
        let snapshot = Snapshot {
            stores: vec![
                ("memory", None),
                ("redis", Some("say \"hello\"\n".to_owned())),
            ],
            active: None,
            live: 2,
            max: 100,
            browser: browser::Status::default(),
            proxies: vec![(
                "http://u@proxy.example:3128".to_owned(),
                3,
                Report {
                    healthy: false,
                    failures: 2,
                    last_error: None,
                    last_used: None,
                },
            )],
        };
        let mut text = String::new();
        snapshot.write(&mut text).unwrap();
        for line in [
            "burdock_store_up{adapter=\"memory\"} 1",
            "burdock_store_up{adapter=\"redis\"} 0",
            "burdock_store_problem{adapter=\"redis\",problem=\"say \\\"hello\\\"\\n\"} 1",
            "burdock_sessions_live 2",
            "burdock_egress_up{proxy=\"http://u@proxy.example:3128\"} 0",
            "burdock_egress_sessions{proxy=\"http://u@proxy.example:3128\"} 3",
            "burdock_egress_failures{proxy=\"http://u@proxy.example:3128\"} 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("sessions_active"), "{text}");
    }
}
