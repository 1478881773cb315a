//! The page's surroundings are the session's: user agent, client hints, language, timezone, viewport, in every part of it.

use serde_json::{Value, json};

use super::app::App;
use super::{before, create, out, page, pool, renderer};
use crate::support::client::request;

const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/// The major version that a brand list of `navigator.userAgentData` gives for `Chromium`.
fn major(brands: &Value) -> String {
    let brands = brands.as_array().expect("a list of brands").iter();
    let mut chromium = brands.filter(|brand| brand["brand"] == "Chromium");
    chromium.next().expect("Chromium is among them")["version"]
        .as_str()
        .expect("text")
        .to_owned()
}

#[tokio::test]
async fn every_part_of_a_page_is_the_same_visitor() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    create(
        &burdock,
        &json!({"id": "a", "browser": {"userAgent": AGENT, "viewport": {"width": 1111, "height": 777}, "locale": "de-AT", "timezone": "Asia/Tokyo"}}),
    )
    .await;
    let mut browser = renderer(&burdock, "a");
    let seen = out(&browser.get(&app.url("/whoami")).await);
    let languages = ["page", "worker"].map(|part| seen[part]["languages"][0].clone());
    let (of_page, of_worker) = (&seen["page"], &seen["worker"]);
    assert_eq!(
        (&of_page["width"], &of_page["height"]),
        (&json!(1111), &json!(777))
    );
    for (whose, part) in [("page", of_page), ("worker", of_worker)] {
        assert_eq!(part["userAgent"], AGENT, "{whose}");
        assert_eq!(part["timezone"], "Asia/Tokyo", "{whose}");
        assert_eq!(part["offset"], -540, "{whose}");
        assert_eq!(part["platform"], "Windows", "{whose}");
        assert_eq!(part["mobile"], false, "{whose}");
        assert_eq!(major(&part["brands"]), "140", "{whose}");
        let fields = &part["fields"];
        assert_eq!(fields["user-agent"], AGENT, "{whose}: {fields}");
        let language = fields["accept-language"].as_str().unwrap_or_default();
        assert!(language.starts_with("de-AT"), "{whose}: {fields}");
        assert_eq!(
            fields["sec-ch-ua-platform"], "\"Windows\"",
            "{whose}: {fields}"
        );
        assert_eq!(fields["sec-ch-ua-mobile"], "?0", "{whose}: {fields}");
        let brands = fields["sec-ch-ua"].as_str().unwrap_or_default();
        assert!(
            brands.contains("\"Chromium\";v=\"140\""),
            "{whose}: {fields}"
        );
    }
    // The document, its scripts, and a service worker with what it fetches.
    for path in ["/service", "/spa/1"] {
        page(&browser.get(&app.url(path)).await);
    }
    let worker = out(&browser.get(&app.url("/service")).await);
    // Of a service worker only what it sends is the session's; what it sees of itself is the browser's.
    let asset = worker["asset"].as_str().unwrap_or_default();
    assert!(asset.starts_with("from the worker, by "), "{worker}");
    assert_eq!(worker["echo"]["user-agent"], AGENT, "{worker}");
    for seen in app.origin().requests() {
        assert_eq!(seen.field("user-agent"), Some(AGENT), "{}", seen.raw);
        let brands = seen.field("sec-ch-ua").unwrap_or("\"Chromium\";v=\"140\"");
        assert!(
            brands.contains("\"Chromium\";v=\"140\"") && !brands.contains("Headless"),
            "{}",
            seen.raw
        );
    }
    assert_eq!(languages, ["de-AT", "de-AT"], "in the page and its worker");
    // What is changed by the API is changed for the next page.
    let patch = json!({"browser": {"timezone": "America/Lima", "locale": "pt-BR", "viewport": {"width": 400, "height": 300}}});
    let call = request(
        "PATCH",
        &format!("http://{}/api/v1/sessions/a", burdock.admin),
    )
    .header("content-type", "application/merge-patch+json");
    let patched = burdock.api_call(call, &patch.to_string()).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let seen = out(&browser.get(&app.url("/whoami")).await);
    for part in ["page", "worker"] {
        assert_eq!(
            (&seen[part]["timezone"], &seen[part]["language"]),
            (&json!("America/Lima"), &json!("pt-BR")),
            "{part}"
        );
    }
    assert_eq!(
        (&seen["page"]["width"], &seen["page"]["height"]),
        (&json!(400), &json!(300))
    );
}

#[tokio::test]
async fn without_settings_it_is_the_browsers_own_self_and_not_a_headless_one() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let seen = out(&renderer(&burdock, "a").get(&app.url("/whoami")).await);
    for part in ["page", "worker"] {
        let agent = seen[part]["userAgent"].as_str().expect("text");
        assert!(
            agent.contains("Chrome/") && !agent.contains("Headless"),
            "{part}: {agent}"
        );
        assert_eq!(seen[part]["fields"]["user-agent"], agent, "{part}");
        assert!(
            agent.contains(&format!("Chrome/{}.", major(&seen[part]["brands"]))),
            "{part}: {seen}"
        );
    }
    let documents = app.requests("/whoami");
    assert_eq!(
        documents[0].field("user-agent"),
        seen["page"]["userAgent"].as_str(),
        "the document is asked for by the same one"
    );
    let pool = pool(&burdock).await;
    assert_ne!(pool["available"], false, "{pool}");
}

#[tokio::test]
async fn two_sessions_in_one_browser_are_two_visitors() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    for (id, agent, timezone, locale) in [
        ("a", "Agent/A", "Europe/Paris", "fr-FR"),
        ("b", "Agent/B", "Asia/Tokyo", "ja-JP"),
    ] {
        create(&burdock, &json!({"id": id, "browser": {"userAgent": agent, "timezone": timezone, "locale": locale}})).await;
    }
    let look = async |id: &'static str| out(&renderer(&burdock, id).get(&app.url("/whoami")).await);
    for _ in 0..2 {
        let (a, b) = tokio::join!(look("a"), look("b"));
        for (seen, agent, timezone, locale) in [
            (a, "Agent/A", "Europe/Paris", "fr-FR"),
            (b, "Agent/B", "Asia/Tokyo", "ja-JP"),
        ] {
            for part in ["page", "worker"] {
                let found = (
                    &seen[part]["userAgent"],
                    &seen[part]["timezone"],
                    &seen[part]["language"],
                );
                assert_eq!(
                    found,
                    (&json!(agent), &json!(timezone), &json!(locale)),
                    "{part}"
                );
                assert_eq!(seen[part]["fields"]["user-agent"], agent, "{part}");
            }
        }
    }
}
