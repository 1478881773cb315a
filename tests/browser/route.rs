//! Which requests are rendered: who decides, what is never rendered, and what `auto` learns.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::app::{App, DONE};
use super::{assert_shows, before, count, create, get, page, pool, renderer};
use crate::support::client::request;
use crate::support::{Answer, Origin, tool, within_time};

/// What `X-Burdock-Route` says.
#[track_caller]
fn route(answer: &Answer) -> &str {
    answer
        .field("x-burdock-route")
        .unwrap_or_else(|| panic!("a route in {answer:?}"))
}

#[tokio::test]
async fn the_header_beats_the_session_which_beats_the_rules() {
    let app = App::start().await;
    let rules = "
        [[routes]]
        match = 'https://app.example/spa/0'
        via = 'http'
        [[routes]]
        match = 'https://app.example/spa/**'
        via = 'browser'";
    let burdock = before(&[&app]).config(rules).start().await;
    create(&burdock, &json!({"id": "browser", "render": "browser"})).await;
    create(&burdock, &json!({"id": "http", "render": "http"})).await;
    for (session, path, asked, wanted) in [
        ("none", "/account", None, "http"),
        ("none", "/spa/0", None, "http"),
        ("none", "/spa/1", None, "browser; reason=rule"),
        ("none", "/spa/1", Some("http"), "http"),
        (
            "none",
            "/account",
            Some("browser"),
            "browser; reason=header",
        ),
        ("none", "/spa/0", Some("browser"), "browser; reason=header"),
        ("browser", "/account", None, "browser; reason=session"),
        ("browser", "/spa/0", None, "browser; reason=session"),
        ("browser", "/account", Some("http"), "http"),
        (
            "browser",
            "/account",
            Some("browser"),
            "browser; reason=header",
        ),
        ("http", "/spa/1", None, "http"),
        ("http", "/spa/1", Some("browser"), "browser; reason=header"),
    ] {
        let mut client = burdock.visitor(session).with("X-Burdock-Wait", DONE);
        if let Some(asked) = asked {
            client = client.with("X-Burdock-Render", asked);
        }
        let answer = client.get(&app.url(path)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(route(&answer), wanted, "{session}, {path}, {asked:?}");
        if path.starts_with("/spa") {
            assert_eq!(
                answer.text().contains("<li>item 4</li>"),
                wanted != "http",
                "{}",
                answer.text()
            );
        }
    }
    let rules = burdock.api("GET", "/api/v1/routes", "").await.json();
    let shown: Vec<(&Value, &Value)> = rules["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|rule| (&rule["match"], &rule["via"]))
        .collect();
    let wanted = [
        ("https://app.example/spa/0", "http"),
        ("https://app.example/spa/**", "browser"),
    ];
    assert_eq!(
        shown,
        wanted
            .map(|(rule, via)| (json!(rule), json!(via)))
            .each_ref()
            .map(|(rule, via)| (rule, via))
    );
    // Without a session there is a context for this request alone.
    let answer = get(
        &mut burdock.client(),
        &app.url("/spa/1"),
        &[("X-Burdock-Wait", DONE)],
    )
    .await;
    assert_eq!(
        (route(&answer), answer.field("x-session-id")),
        ("browser; reason=rule", None)
    );
    assert_shows(&answer, "item 4");
    for field in ["x-burdock-render", "x-burdock-wait", "x-session-id"] {
        let sent = app
            .origin()
            .requests()
            .iter()
            .any(|seen| seen.field(field).is_some());
        assert!(!sent, "{field} is for burdock alone");
    }
    assert_eq!(app.hits("/account"), 5, "a document is asked for once");
}

#[tokio::test]
async fn a_pages_parts_and_other_methods_go_by_http() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    create(&burdock, &json!({"id": "a", "render": "browser"})).await;
    let url = app.url("/account");
    let mut client = burdock.visitor("a");
    for fields in [
        [(
            "Accept",
            "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8",
        )],
        [("Accept", "application/json")],
        [("Accept", "text/css")],
        [("Range", "bytes=0-10")],
        [("X-Requested-With", "XMLHttpRequest")],
        [("Sec-Fetch-Dest", "empty")],
        [("Sec-Fetch-Dest", "image")],
        [("Sec-Fetch-Dest", "script")],
        [("Sec-Fetch-Dest", "iframe")],
    ] {
        let answer = get(&mut client, &url, &fields).await;
        assert_eq!((answer.status, route(&answer)), (200, "http"), "{fields:?}");
    }
    for method in ["POST", "HEAD", "PUT", "OPTIONS"] {
        for render in ["auto", "browser"] {
            let asked = request(method, &url).header("X-Burdock-Render", render);
            let answer = client
                .send(asked.body("".into()).expect("a valid request"))
                .await;
            assert_eq!(route(&answer), "http", "{method}, {render}");
        }
    }
    assert_eq!(
        count(&pool(&burdock).await, "admitted"),
        0,
        "no browser had to do with any of them"
    );
    for fields in [
        vec![],
        vec![("Accept", "*/*")],
        vec![
            ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
            ("Sec-Fetch-Dest", "document"),
        ],
        // Asked for by name, it is rendered whatever it looks like.
        vec![
            ("Accept", "application/json"),
            ("X-Burdock-Render", "browser"),
        ],
    ] {
        let fields: Vec<_> = fields
            .into_iter()
            .chain([("X-Burdock-Wait", DONE)])
            .collect();
        let answer = get(&mut client, &url, &fields).await;
        assert!(
            route(&answer).starts_with("browser"),
            "{fields:?}: {answer:?}"
        );
    }
    let session = burdock.session("a").await;
    assert_eq!(session["counters"]["rendered"], 4, "{session}");
}

#[tokio::test]
async fn auto_renders_what_is_an_empty_shell_with_one_request_for_each_document() {
    const PAGES: usize = 200;
    const AT_ONCE: usize = 4;
    let app = App::start().await;
    let burdock = before(&[&app])
        .config("[browser]\nmax_pages = 4")
        .start()
        .await;
    create(&burdock, &json!({"id": "a", "render": "auto"})).await;
    let auto = || burdock.visitor("a").with("X-Burdock-Wait", DONE);
    let mut visits = JoinSet::new();
    for worker in 0..AT_ONCE {
        let mut client = auto();
        let urls: Vec<_> = (worker..PAGES)
            .step_by(AT_ONCE)
            .map(|number| app.url(&format!("/spa/{number}")))
            .collect();
        visits.spawn(async move {
            for url in urls {
                let answer = client.get(&url).await;
                assert_eq!(route(&answer), "browser; reason=auto", "{url}");
                assert_shows(&answer, "<li>item 4</li>");
            }
        });
    }
    within_time(Duration::from_secs(60), "200 pages", async {
        while let Some(visit) = visits.join_next().await {
            visit.expect("every visit ends well");
        }
    })
    .await;
    let documents = app.origin().requests();
    let documents = documents
        .iter()
        .filter(|seen| seen.target.starts_with("/spa/"))
        .count();
    assert_eq!(
        documents, PAGES,
        "the document that was fetched is the one that is rendered"
    );
    // What is complete, or no page, is not rendered, at the first time or later.
    let mut client = auto();
    for path in (0..5)
        .map(|number| format!("/plain/{number}"))
        .chain(["/data.json".into(), "/paper.pdf".into()])
    {
        let answer = client.get(&app.url(&path)).await;
        assert_eq!(route(&answer), "http", "{path}");
        assert_eq!(app.hits(&path), 1, "{path}");
    }
    let rendered = count(&pool(&burdock).await, "admitted");
    assert_eq!(rendered, PAGES as u64, "only the shells");
    // What it learnt is shown, and can be forgotten.
    let routes = burdock.api("GET", "/api/v1/routes", "").await.json();
    let learnt = routes["learned"].as_array().expect("a list").clone();
    let shell = learnt.iter().find(|entry| {
        entry["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/spa/"))
    });
    let shell = shell.unwrap_or_else(|| panic!("the shells' pattern in {routes}"));
    assert_eq!(
        (&shell["host"], &shell["via"]),
        (&json!("app.example"), &json!("browser"))
    );
    assert!(
        shell["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{shell}"
    );
    assert!(
        shell["expiresAt"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z')),
        "{shell}"
    );
    assert!(learnt.len() < 20, "patterns, not a line a page: {routes}");
    let forgotten = burdock.api("DELETE", "/api/v1/routes", "").await;
    assert_eq!(forgotten.status, 204, "{forgotten:?}");
    let routes = burdock.api("GET", "/api/v1/routes", "").await.json();
    assert_eq!(routes["learned"], json!([]), "{routes}");
    let answer = client.get(&app.url("/spa/again")).await;
    assert_shows(&answer, "<li>item 4</li>");
    assert_eq!(app.hits("/spa/again"), 1);
}

#[tokio::test]
async fn auto_may_be_asked_for_by_header_and_by_rule() {
    let app = App::start().await;
    let rules = "[[routes]]\nmatch = 'https://app.example/app/**'\nvia = 'auto'";
    let burdock = before(&[&app]).config(rules).start().await;
    let mut client = burdock.visitor("a").with("X-Burdock-Wait", DONE);
    for (path, asked, wanted) in [
        ("/app/1", None, "browser; reason=auto"),
        ("/spa/1", None, "http"),
        ("/spa/1", Some("auto"), "browser; reason=auto"),
        ("/plain/1", Some("auto"), "http"),
    ] {
        let fields: Vec<_> = asked
            .into_iter()
            .map(|asked| ("X-Burdock-Render", asked))
            .collect();
        let answer = get(&mut client, &app.url(path), &fields).await;
        assert_eq!(
            (answer.status, route(&answer)),
            (200, wanted),
            "{path}, {asked:?}"
        );
    }
    let bad = get(
        &mut client,
        &app.url("/spa/1"),
        &[("X-Burdock-Render", "paint")],
    )
    .await;
    assert_eq!(bad.status, 400, "{bad:?}");
    let bad = get(
        &mut renderer(&burdock, "a"),
        &app.url("/spa/1"),
        &[("X-Burdock-Wait", "whenever")],
    )
    .await;
    assert_eq!(bad.status, 400, "{bad:?}");
}

#[tokio::test]
async fn the_readmes_recipe_does_what_it_says() {
    let app = App::on(Origin::tls("app.example.com")).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(file).expect("README.md is in the repository");
    let (_, recipe) = readme
        .split_once("**A page that needs JavaScript**")
        .expect("the recipe");
    let (recipe, _) = recipe.split_once("\n## ").expect("a section after it");
    let blocks: Vec<&str> = recipe.split("```").skip(1).step_by(2).collect();
    let (rules, commands): (Vec<&str>, Vec<&str>) =
        blocks.iter().partition(|block| block.starts_with("toml\n"));
    assert_eq!((rules.len(), commands.len()), (1, 2), "{recipe}");
    let rule = rules[0].trim_start_matches("toml\n");
    let burdock = before(&[&app]).config(rule).start().await;
    for command in commands {
        let command = command
            .replace("127.0.0.1:8080", &burdock.proxy.to_string())
            .replace("localhost:3001", &burdock.admin.to_string());
        let mut shell = tool::command(&tool::on_path(&["sh"]));
        shell
            .args(["-eu", "-c", &command])
            .current_dir(burdock.folder());
        let said = tool::stdout(shell).await;
        assert!(
            said.contains("<li>an order of badgers</li>"),
            "{command}: {said}"
        );
    }
    let answer = burdock.visitor("a").get(&app.url("/orders")).await;
    assert_eq!(route(&answer), "browser; reason=rule");
    assert_shows(&answer, "<li>an order of badgers</li>");
}

#[tokio::test]
async fn each_way_of_waiting_waits_for_what_it_says() {
    let app = App::start().await;
    let burdock = before(&[&app]).start().await;
    let mut client = burdock.visitor("a").with("X-Burdock-Render", "browser");
    // Module scripts run before DOMContentLoaded is fired, what they await may come later.
    for (wait, has_items) in [
        ("domcontentloaded", None),
        ("load", None),
        ("networkidle", Some(true)),
        ("selector:#root li:nth-child(5)", Some(true)),
        ("ms:700", Some(true)),
    ] {
        let answer = get(&mut client, &app.url("/spa/1"), &[("X-Burdock-Wait", wait)]).await;
        let page = page(&answer);
        if let Some(wanted) = has_items {
            assert_eq!(page.contains("<li>item 4</li>"), wanted, "{wait}: {page}");
        }
    }
}
