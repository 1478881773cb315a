//! The admin API: sessions made, shown, listed, changed and removed.

use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::problem::assert_problem;
use crate::support::{Answer, Burdock, Origin, Reply};

async fn create(burdock: &Burdock, body: &str) -> Answer {
    burdock.api("POST", "/api/v1/sessions", body).await
}

async fn ids(burdock: &Burdock, query: &str) -> Vec<String> {
    let list = burdock
        .api("GET", &format!("/api/v1/sessions{query}"), "")
        .await
        .json();
    let sessions = list["sessions"].as_array().expect("a list").clone();
    sessions
        .iter()
        .map(|session| session["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn creating_a_session_answers_201_with_its_location_and_itself() {
    let burdock = Burdock::new().start().await;
    let body = r#"{"adapter":"memory","ttl":3600,"browser":{"userAgent":"Custom Agent","viewport":{"width":1280,"height":800}}}"#;
    let answer = create(&burdock, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let session = answer.json();
    let id = session["id"].as_str().expect("an id");
    assert_eq!(
        answer.field("location"),
        Some(format!("/api/v1/sessions/{id}").as_str())
    );
    assert_eq!(session["adapter"], "memory");
    assert_eq!(session["ttl"], 3600);
    assert_eq!(session["browser"]["userAgent"], "Custom Agent");
    assert_eq!(
        session["browser"]["viewport"],
        json!({"width": 1280, "height": 800})
    );
    assert!(answer.field("etag").is_some());
}

#[tokio::test]
async fn a_session_is_shown_whole() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::text("hello").cookie("sid=1"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let body = r#"{"id":"a","ttl":60,"maxAge":600,"labels":{"team":"x"},"headers":{"X-Tag":"1"},"render":"http",
        "rateLimit":{"requestsPerSecond":100,"burst":5,"concurrency":3,"perHost":true,"onLimit":"reject","maxWaitMs":50}}"#;
    assert_eq!(create(&burdock, body).await.status, 201);
    burdock.visitor("a").get("https://shop.example/").await;
    let session = burdock.session("a").await;
    for (member, wanted) in [
        ("id", json!("a")),
        ("adapter", json!("memory")),
        ("ttl", json!(60)),
        ("maxAge", json!(600)),
        ("render", json!("http")),
        ("labels", json!({"team": "x"})),
        ("headers", json!({"X-Tag": "1"})),
        ("cookieCount", json!(1)),
    ] {
        assert_eq!(session[member], wanted, "{member}");
    }
    for (member, wanted) in [
        ("requestsPerSecond", json!(100.0)),
        ("burst", json!(5)),
        ("concurrency", json!(3)),
        ("perHost", json!(true)),
        ("onLimit", json!("reject")),
        ("maxWaitMs", json!(50)),
    ] {
        let found = &session["rateLimit"][member];
        assert!(
            *found == wanted || found.as_f64() == wanted.as_f64() && found.is_number(),
            "{member}: {found}"
        );
    }
    for time in ["createdAt", "lastUsedAt", "expiresAt"] {
        let text = session[time]
            .as_str()
            .unwrap_or_else(|| panic!("{time} in {session}"));
        assert!(
            text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T',
            "{time}: {text}"
        );
    }
    for counter in [
        "requests", "rendered", "delayed", "rejected", "failed", "bytesIn", "bytesOut",
    ] {
        assert!(
            session["counters"][counter].is_u64(),
            "{counter} in {session}"
        );
    }
    for member in ["browser", "upstreamProxy", "origins", "limiter"] {
        assert!(session.get(member).is_some(), "{member} in {session}");
    }
}

#[tokio::test]
async fn an_empty_body_is_an_empty_object_and_the_id_is_made() {
    let burdock = Burdock::new().start().await;
    let first = create(&burdock, "").await;
    let second = create(&burdock, "{}").await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_ne!(first.json()["id"], second.json()["id"]);
    assert_eq!(first.json()["ttl"], 1800, "the default");
}

#[tokio::test]
async fn an_id_that_exists_is_a_conflict() {
    let burdock = Burdock::new().start().await;
    assert_eq!(create(&burdock, r#"{"id":"a"}"#).await.status, 201);
    assert_problem(&create(&burdock, r#"{"id":"a"}"#).await, "conflict", 409);
}

#[tokio::test]
async fn what_is_invalid_is_400_and_names_the_field() {
    let burdock = Burdock::new().start().await;
    for (body, field) in [
        (r#"{"nonsense":1}"#, "nonsense"),
        (r#"{"id":"not valid"}"#, "id"),
        (r#"{"id":7}"#, "id"),
        (r#"{"adapter":"floppy"}"#, "adapter"),
        (r#"{"ttl":0}"#, "ttl"),
        (r#"{"ttl":-1}"#, "ttl"),
        (r#"{"ttl":"60"}"#, "ttl"),
        (r#"{"ttl":2592001}"#, "ttl"),
        (r#"{"maxAge":0}"#, "maxAge"),
        (
            r#"{"browser":{"viewport":{"width":0,"height":1}}}"#,
            "browser.viewport.width",
        ),
        (
            r#"{"browser":{"viewport":{"width":10}}}"#,
            "browser.viewport",
        ),
        (r#"{"browser":{"colour":"red"}}"#, "browser.colour"),
        (r#"{"browser":{"userAgent":"a\nb"}}"#, "browser.userAgent"),
        (
            r#"{"rateLimit":{"requestsPerSecond":-1}}"#,
            "rateLimit.requestsPerSecond",
        ),
        (
            r#"{"rateLimit":{"onLimit":"explode"}}"#,
            "rateLimit.onLimit",
        ),
        (r#"{"render":"paint"}"#, "render"),
        (r#"{"headers":{"bad name":"x"}}"#, "headers"),
        (r#"{"headers":{"Host":"x"}}"#, "headers"),
        (r#"{"headers":{"X":"a\r\nb"}}"#, "headers"),
        (r#"{"upstreamProxy":"gopher://x"}"#, "upstreamProxy"),
        (r#"{"labels":{"a":1}}"#, "labels"),
        (r#"[]"#, ""),
        (r#"{"id":"a""#, ""),
        (r#"{"id":"a","id":"b"}"#, "id"),
    ] {
        let detail = assert_problem(&create(&burdock, body).await, "invalid", 400);
        assert!(
            detail.contains(field),
            "{body}: {detail:?} does not name {field}"
        );
    }
    assert_eq!(ids(&burdock, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn sessions_are_listed_in_pages_that_miss_none() {
    let burdock = Burdock::new().start().await;
    let mut wanted: Vec<String> = (0..25).map(|number| format!("s{number:02}")).collect();
    for id in &wanted {
        assert_eq!(
            create(&burdock, &json!({ "id": id }).to_string())
                .await
                .status,
            201
        );
    }
    let mut found = Vec::new();
    let mut query = "?limit=10".to_owned();
    loop {
        let page = burdock
            .api("GET", &format!("/api/v1/sessions{query}"), "")
            .await
            .json();
        let sessions = page["sessions"].as_array().expect("a list");
        assert!(sessions.len() <= 10);
        found.extend(
            sessions
                .iter()
                .map(|session| session["id"].as_str().expect("an id").to_owned()),
        );
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(cursor) => query = format!("?limit=10&cursor={cursor}"),
            None => break,
        }
    }
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_list_is_filtered_by_adapter_and_label() {
    let burdock = Burdock::new().start().await;
    create(&burdock, r#"{"id":"a","labels":{"team":"x","env":"dev"}}"#).await;
    create(&burdock, r#"{"id":"b","labels":{"team":"y"}}"#).await;
    assert_eq!(ids(&burdock, "?label=team=x").await, ["a"]);
    assert_eq!(ids(&burdock, "?label=team%3Dy").await, ["b"]);
    assert_eq!(ids(&burdock, "?adapter=redis").await, Vec::<String>::new());
    assert_eq!(ids(&burdock, "?adapter=memory").await.len(), 2);
    for query in [
        "?limit=0",
        "?limit=x",
        "?label=team",
        "?adapter=floppy",
        "?nonsense=1",
        "?cursor=%FF",
    ] {
        let answer = burdock
            .api("GET", &format!("/api/v1/sessions{query}"), "")
            .await;
        assert_problem(&answer, "invalid", 400);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_404() {
    let burdock = Burdock::new().start().await;
    for (method, path, body) in [
        ("GET", "/api/v1/sessions/none", ""),
        ("PATCH", "/api/v1/sessions/none", "{}"),
        ("DELETE", "/api/v1/sessions/none", ""),
        ("GET", "/api/v1/sessions/none/cookies", ""),
        ("PUT", "/api/v1/sessions/none/cookies", "[]"),
        ("DELETE", "/api/v1/sessions/none/cookies", ""),
        ("GET", "/api/v1/nothing", ""),
        ("GET", "/api/v2/sessions", ""),
    ] {
        assert_problem(&burdock.api(method, path, body).await, "not-found", 404);
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_405_with_allow() {
    let burdock = Burdock::new().start().await;
    for (method, path) in [
        ("PUT", "/api/v1/sessions"),
        ("POST", "/api/v1/status"),
        ("GET", "/api/scrape"),
    ] {
        let answer = burdock.api(method, path, "").await;
        assert_problem(&answer, "method-not-allowed", 405);
        assert!(answer.field("allow").is_some(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_patch_merges_and_null_removes() {
    let burdock = Burdock::new().start().await;
    create(
        &burdock,
        r#"{"id":"a","ttl":60,"browser":{"userAgent":"One","locale":"de-DE"},"labels":{"k":"v"}}"#,
    )
    .await;
    let patch = r#"{"ttl":120,"browser":{"userAgent":"Two"},"labels":{"k":null,"l":"w"}}"#;
    let answer = burdock.api("PATCH", "/api/v1/sessions/a", patch).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.json();
    assert_eq!(session["ttl"], 120);
    assert_eq!(session["browser"]["userAgent"], "Two");
    assert_eq!(session["browser"]["locale"], "de-DE");
    assert_eq!(session["labels"], json!({"l": "w"}));
    let session = burdock
        .api(
            "PATCH",
            "/api/v1/sessions/a",
            r#"{"browser":null,"ttl":null}"#,
        )
        .await
        .json();
    assert!(
        session["browser"]
            .get("userAgent")
            .is_none_or(Value::is_null),
        "{session}"
    );
    assert_eq!(session["ttl"], 1800, "the default again");
}

#[tokio::test]
async fn a_patch_changes_neither_id_nor_adapter() {
    let burdock = Burdock::new().start().await;
    create(&burdock, r#"{"id":"a"}"#).await;
    for (patch, field) in [
        (r#"{"id":"b"}"#, "id"),
        (r#"{"adapter":"file"}"#, "adapter"),
        (r#"{"createdAt":"x"}"#, "createdAt"),
    ] {
        let detail = assert_problem(
            &burdock.api("PATCH", "/api/v1/sessions/a", patch).await,
            "invalid",
            400,
        );
        assert!(detail.contains(field), "{detail}");
    }
}

#[tokio::test]
async fn a_patch_of_the_ttl_moves_the_expiry() {
    let burdock = Burdock::new().start().await;
    let before = create(&burdock, r#"{"id":"a","ttl":60}"#).await.json();
    let after = burdock
        .api("PATCH", "/api/v1/sessions/a", r#"{"ttl":7200}"#)
        .await
        .json();
    assert!(after["expiresAt"].as_str() > before["expiresAt"].as_str());
}

#[tokio::test]
async fn if_match_guards_a_change() {
    let burdock = Burdock::new().start().await;
    let etag = create(&burdock, r#"{"id":"a"}"#)
        .await
        .field("etag")
        .expect("an ETag")
        .to_owned();
    let url = format!("http://{}/api/v1/sessions/a", burdock.admin);
    let patch = |tag: &str| {
        request("PATCH", &url)
            .header("content-type", "application/json")
            .header("if-match", tag)
    };
    let stale = burdock
        .api_call(patch("\"no-such-tag\""), r#"{"ttl":61}"#)
        .await;
    assert_problem(&stale, "precondition-failed", 412);
    let first = burdock.api_call(patch(&etag), r#"{"ttl":61}"#).await;
    assert_eq!(
        (first.status, first.json()["ttl"].as_u64()),
        (200, Some(61))
    );
    assert_ne!(first.field("etag"), Some(etag.as_str()));
    assert_problem(
        &burdock.api_call(patch(&etag), r#"{"ttl":62}"#).await,
        "precondition-failed",
        412,
    );
    assert_eq!(
        burdock.api_call(patch("*"), r#"{"ttl":63}"#).await.status,
        200
    );
}

#[tokio::test]
async fn deleting_removes_one_or_all() {
    let shop = Origin::tls("shop.example")
        .respond(|_| Reply::text("").cookie("sid=1"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    for id in ["a", "b", "c"] {
        burdock.visitor(id).get("https://shop.example/").await;
    }
    let answer = burdock.api("DELETE", "/api/v1/sessions/a", "").await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_problem(
        &burdock.api("GET", "/api/v1/sessions/a", "").await,
        "not-found",
        404,
    );
    burdock.visitor("a").get("https://shop.example/").await;
    assert_eq!(
        shop.last().cookie(),
        "",
        "made again, it is another session"
    );
    let answer = burdock.api("DELETE", "/api/v1/sessions", "").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"deleted": 3})));
    assert_eq!(ids(&burdock, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn cookies_are_listed_as_playwright_has_them() {
    let shop = Origin::tls("shop.example")
        .respond(|_| {
            Reply::text("")
                .cookie("sid=1; Secure; HttpOnly; SameSite=Lax")
                .cookie("t=2; Domain=shop.example; Path=/x; Max-Age=60")
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    burdock.visitor("a").get("https://shop.example/").await;
    let answer = burdock.api("GET", "/api/v1/sessions/a/cookies", "").await;
    let cookies = answer.json();
    assert_eq!(
        cookies[0],
        json!({"name":"sid","value":"1","domain":"shop.example","path":"/","expires":-1,"httpOnly":true,"secure":true,"sameSite":"Lax"})
    );
    assert_eq!(
        (&cookies[1]["domain"], &cookies[1]["path"]),
        (&json!(".shop.example"), &json!("/x"))
    );
    assert!(
        cookies[1]["expires"].as_f64().is_some_and(|at| at > 1.7e9),
        "{cookies}"
    );
}

#[tokio::test]
async fn cookies_are_put_replaced_and_removed() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    create(&burdock, r#"{"id":"a"}"#).await;
    let cookies = "/api/v1/sessions/a/cookies";
    let put = r#"[{"name":"sid","value":"1","domain":"shop.example","path":"/"},
                  {"name":"b","value":"2","url":"https://shop.example/x/y"},
                  {"name":"c","value":"3","domain":".shop.example","path":"/","expires":-1,"httpOnly":true,"secure":true,"sameSite":"None"}]"#;
    let answer = burdock.api("PUT", cookies, put).await;
    assert!([200, 204].contains(&answer.status), "{answer:?}");
    burdock.visitor("a").get("https://shop.example/x/z").await;
    let sent = shop.last().cookie().to_owned();
    assert_eq!(sent, "b=2; sid=1; c=3");
    burdock
        .api(
            "PUT",
            cookies,
            r#"[{"name":"sid","value":"one","domain":"shop.example","path":"/"}]"#,
        )
        .await;
    burdock.visitor("a").get("https://shop.example/").await;
    assert_eq!(
        shop.last().cookie(),
        "sid=one; c=3",
        "the others stay, and a replaced one keeps its age"
    );
    assert_eq!(
        burdock
            .api(
                "DELETE",
                &format!("{cookies}?name=sid&domain=shop.example"),
                ""
            )
            .await
            .status,
        204
    );
    assert_eq!(burdock.session("a").await["cookieCount"], 2);
    assert_eq!(burdock.api("DELETE", cookies, "").await.status, 204);
    assert_eq!(burdock.api("GET", cookies, "").await.json(), json!([]));
}

#[tokio::test]
async fn invalid_cookies_are_refused_all_together() {
    let burdock = Burdock::new().start().await;
    create(&burdock, r#"{"id":"a"}"#).await;
    let good = r#"{"name":"ok","value":"1","domain":"shop.example","path":"/"}"#;
    for bad in [
        r#"{"name":"x","value":"1"}"#,
        r#"{"name":"x","value":"a;b","domain":"shop.example","path":"/"}"#,
        r#"{"name":"a=b","value":"1","domain":"shop.example","path":"/"}"#,
        r#"{"name":"x","value":"1","domain":"shop.example","path":"x"}"#,
        r#"{"name":"x","value":"1","domain":"shop.example","path":"/","sameSite":"Maybe"}"#,
        r#"{"name":"x","value":"1","domain":"shop.example","path":"/","colour":"red"}"#,
        r#"{"name":"__Host-x","value":"1","domain":".shop.example","path":"/","secure":true}"#,
    ] {
        let answer = burdock
            .api(
                "PUT",
                "/api/v1/sessions/a/cookies",
                &format!("[{good},{bad}]"),
            )
            .await;
        assert_problem(&answer, "invalid", 400);
    }
    assert_eq!(burdock.session("a").await["cookieCount"], 0);
}

#[tokio::test]
async fn health_readiness_and_status_tell() {
    let burdock = Burdock::new().start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(burdock.api("GET", path, "").await.status, 200, "{path}");
    }
    let status = burdock
        .api("GET", "/api/v1/status", "")
        .await
        .json()
        .to_string();
    for fact in [
        env!("CARGO_PKG_VERSION"),
        &burdock.proxy.to_string(),
        &burdock.admin.to_string(),
        "memory",
    ] {
        assert!(status.contains(fact), "{fact} in {status}");
    }
}
