//! A session's cookies on the wire: kept, sent back, merged with the client's own, never mixed.

use crate::support::{Burdock, Client, Origin, Reply};

/// An origin whose `/set` sets what its query says, lines parted by `&`.
async fn shop(name: &str) -> Origin {
    Origin::tls(name)
        .respond(|seen| {
            let lines = seen
                .target
                .split_once("/set?")
                .map_or("", |(_, lines)| lines);
            let reply = Reply::text("ok");
            lines
                .split('&')
                .filter(|line| !line.is_empty())
                .fold(reply, |reply, line| reply.cookie(&line.replace("%20", " ")))
        })
        .start()
        .await
}

async fn set(client: &mut Client, url: &str, lines: &str) -> crate::support::Answer {
    client
        .get(&format!("{url}/set?{}", lines.replace(' ', "%20")))
        .await
}

/// What a GET by this client carries to the origin.
async fn sent(client: &mut Client, origin: &Origin, path: &str) -> String {
    client.get(&origin.url(path)).await;
    origin.last().cookie().to_owned()
}

#[tokio::test]
async fn what_an_origin_sets_is_sent_back_to_it() {
    let shop = shop("shop.example").await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    set(
        &mut client,
        "https://shop.example",
        "sid=1; Secure; HttpOnly&theme=dark; Path=/",
    )
    .await;
    assert_eq!(
        sent(&mut client, &shop, "/account").await,
        "sid=1; theme=dark"
    );
    assert_eq!(
        sent(&mut burdock.visitor("a"), &shop, "/").await,
        "sid=1; theme=dark",
        "by any connection"
    );
    assert_eq!(
        sent(&mut burdock.visitor("a").http2(), &shop, "/").await,
        "sid=1; theme=dark",
        "also by h2"
    );
}

#[tokio::test]
async fn set_cookie_reaches_the_client_as_it_came() {
    let lines = [
        "sid=\"1, 2\";Secure ;  HTTPONLY",
        "bad; Domain=elsewhere.example",
        "a=1; expires=Wed, 21 Oct 2026 07:28:00 GMT",
        "=nameless",
    ];
    let reply = lines
        .iter()
        .fold(Reply::text(""), |reply, line| reply.cookie(line));
    let shop = Origin::tls("shop.example")
        .respond(move |_| reply.clone())
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let answer = burdock.visitor("a").get("https://shop.example/").await;
    let received: Vec<_> = answer.fields.get_all("set-cookie").iter().collect();
    assert_eq!(received, lines);
}

#[tokio::test]
async fn a_cookie_the_client_sends_itself_wins_for_that_request() {
    let shop = shop("shop.example").await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    set(&mut client, "https://shop.example", "sid=1&theme=dark").await;
    let mine = sent(
        &mut burdock.visitor("a").with("Cookie", "theme=light; own=2"),
        &shop,
        "/",
    )
    .await;
    let mut pairs: Vec<_> = mine.split("; ").collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["own=2", "sid=1", "theme=light"]);
    assert_eq!(
        sent(&mut client, &shop, "/").await,
        "sid=1; theme=dark",
        "and is not stored"
    );
}

#[tokio::test]
async fn a_stale_echo_loses_to_the_present_value() {
    let shop = shop("shop.example").await;
    let burdock = Burdock::before(&[&shop]).await;
    set(&mut burdock.visitor("a"), "https://shop.example", "sid=old").await;
    set(&mut burdock.visitor("a"), "https://shop.example", "sid=new").await;
    let mut echoing = burdock.visitor("a").with("Cookie", "sid=old");
    assert_eq!(sent(&mut echoing, &shop, "/").await, "sid=new");
}

#[tokio::test]
async fn a_stale_echo_of_a_deleted_cookie_is_dropped() {
    let shop = shop("shop.example").await;
    let burdock = Burdock::before(&[&shop]).await;
    set(&mut burdock.visitor("a"), "https://shop.example", "sid=old").await;
    set(
        &mut burdock.visitor("a"),
        "https://shop.example",
        "sid=; Max-Age=0",
    )
    .await;
    let mut echoing = burdock.visitor("a").with("Cookie", "sid=old");
    assert_eq!(
        sent(&mut echoing, &shop, "/").await,
        "",
        "or a logout would never stick"
    );
    let mut other = burdock.visitor("a").with("Cookie", "sid=somebody-else");
    assert_eq!(
        sent(&mut other, &shop, "/").await,
        "sid=somebody-else",
        "a value of the client's own passes"
    );
}

#[tokio::test]
async fn sessions_have_jars_of_their_own() {
    let shop = shop("shop.example").await;
    let burdock = Burdock::before(&[&shop]).await;
    for id in ["a", "b", "c"] {
        set(
            &mut burdock.visitor(id),
            "https://shop.example",
            &format!("sid={id}"),
        )
        .await;
    }
    for id in ["c", "a", "b"] {
        assert_eq!(
            sent(&mut burdock.visitor(id), &shop, "/").await,
            format!("sid={id}")
        );
    }
    assert_eq!(sent(&mut burdock.client(), &shop, "/").await, "");
}

#[tokio::test]
async fn a_cookie_goes_where_its_domain_path_and_secure_say() {
    let shop = shop("shop.example").await;
    let www = shop_at("www.shop.example").await;
    let plain = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop, &www, &plain]).await;
    let mut client = burdock.visitor("a");
    set(
        &mut client,
        "https://shop.example",
        "host=1&all=2; Domain=shop.example&deep=3; Path=/x&safe=4; Secure",
    )
    .await;
    assert_eq!(sent(&mut client, &shop, "/").await, "host=1; all=2; safe=4");
    assert_eq!(
        sent(&mut client, &shop, "/x/y").await,
        "deep=3; host=1; all=2; safe=4",
        "longest path first"
    );
    assert_eq!(
        sent(&mut client, &shop, "/xy").await,
        "host=1; all=2; safe=4"
    );
    assert_eq!(sent(&mut client, &www, "/").await, "all=2");
    assert_eq!(sent(&mut client, &plain, "/").await, "host=1; all=2");
}

async fn shop_at(name: &str) -> Origin {
    Origin::tls(name).start().await
}

#[tokio::test]
async fn what_rfc_6265bis_refuses_is_not_kept() {
    let shop = shop("shop.example").await;
    let burdock = Burdock::before(&[&shop]).await;
    for line in [
        "a=1; Domain=other.example",
        "a=1; Domain=example",
        "__Host-a=1; Path=/",
        "__Host-a=1; Secure; Path=/x",
        "__Host-a=1; Secure; Path=/; Domain=shop.example",
        "__Secure-a=1",
        "a=1; Max-Age=0",
        "a=1; Max-Age=-5",
        "a=1; Expires=Thu, 1 Jan 1970 00:00:00 GMT",
    ] {
        let mut client = burdock.visitor("strict");
        let answer = set(&mut client, "https://shop.example", line).await;
        assert_eq!(
            answer.field("set-cookie"),
            Some(line),
            "it reaches the client all the same"
        );
        assert_eq!(sent(&mut client, &shop, "/").await, "", "{line}");
    }
}

#[tokio::test]
async fn a_cookie_lasts_400_days_at_most() {
    let shop = shop("shop.example").await;
    let burdock = Burdock::before(&[&shop]).await;
    set(
        &mut burdock.visitor("a"),
        "https://shop.example",
        "a=1; Max-Age=99999999999",
    )
    .await;
    let cookies = burdock
        .api("GET", "/api/v1/sessions/a/cookies", "")
        .await
        .json();
    let expires = cookies[0]["expires"].as_f64().expect("an expiry");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64();
    let days = (expires - now) / 86_400.0;
    assert!((399.9..=400.0).contains(&days), "{days} days");
}

#[tokio::test]
async fn responses_to_plain_http_set_cookies_too() {
    let plain = Origin::plain("shop.example")
        .respond(|_| Reply::text("").cookie("a=1").cookie("b=2; Secure"))
        .start()
        .await;
    let burdock = Burdock::before(&[&plain]).await;
    let mut client = burdock.visitor("a");
    client.get("http://shop.example/").await;
    assert_eq!(
        sent(&mut client, &plain, "/").await,
        "a=1",
        "Secure is not for an http origin to set"
    );
}

#[tokio::test]
async fn cookies_of_a_redirect_and_of_an_error_are_kept() {
    let shop = Origin::tls("shop.example")
        .on("/login", Reply::redirect("/home").cookie("sid=1"))
        .on("/broken", Reply::status(500).cookie("err=1"))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut client = burdock.visitor("a");
    let answer = client.get("https://shop.example/login").await;
    assert_eq!(
        (answer.status, answer.field("location")),
        (302, Some("/home")),
        "the redirect is the client's to follow"
    );
    client.get("https://shop.example/broken").await;
    assert_eq!(sent(&mut client, &shop, "/").await, "sid=1; err=1");
}

#[tokio::test]
async fn concurrent_responses_lose_no_cookie_of_each_other() {
    let shop = Origin::h2("shop.example")
        .respond(|seen| {
            Reply::text("").cookie(&format!("{}=1", seen.target.trim_start_matches('/')))
        })
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..40 {
        let mut client = burdock.visitor("a");
        running.spawn(async move {
            client
                .get(&format!("https://shop.example/c{number}"))
                .await
                .status
        });
    }
    while let Some(status) = running.join_next().await {
        assert_eq!(status.expect("it ends"), 200);
    }
    assert_eq!(burdock.session("a").await["cookieCount"], 40);
}
