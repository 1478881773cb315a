//! What a session keeps goes into its context and comes back.

use super::*;
use crate::clock;
use crate::session::CookieUrl;

const SHOP: &str = "http://shop.example";

fn url() -> CookieUrl<'static> {
    CookieUrl {
        secure: false,
        host: "shop.example",
        path: "/",
    }
}

fn receive(session: &LiveSession, line: &str) {
    session.change(|jar, _| jar.receive(&url(), [line.as_bytes()], clock::now()));
}

fn cookies(session: &LiveSession) -> String {
    let mut state = session.state();
    let field = state.jar.header_for(&url(), [], clock::now());
    field.map_or(String::new(), |field| field.to_str().unwrap().to_owned())
}

fn echo(request: &Request) -> Option<Answer> {
    let cookie = request.headers().get(header::COOKIE);
    let cookie = cookie.map_or("none", |cookie| cookie.to_str().unwrap());
    (request.uri().path() == "/cookie").then(|| (Vec::new(), cookie.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_go_both_ways() {
    let house = House::new(echo);
    let session = house.session("a").await;
    receive(&session, "sid=1; HttpOnly; Path=/");
    receive(&session, "gone=1; Path=/; Domain=shop.example");
    let page = "<script>
        const request = new XMLHttpRequest(); request.open('GET', '/cookie', false); request.send();
        document.title = request.responseText + '/' + document.cookie;
        document.cookie = 'js=2; Max-Age=600';
        document.cookie = 'gone=; Max-Age=0; Domain=shop.example';
        </script>";
    let rendered = house.render(Some(&session), SHOP, page).await.unwrap();
    assert!(
        rendered
            .html
            .contains("<title>sid=1; gone=1/gone=1</title>"),
        "{}",
        rendered.html
    );
    assert_eq!(cookies(&session), "sid=1; js=2");
    // What changes elsewhere meanwhile comes in, and what went there goes.
    receive(&session, "sid=2; HttpOnly; Path=/");
    receive(&session, "js=; Max-Age=0");
    let rendered = house.render(Some(&session), SHOP, page).await.unwrap();
    assert!(
        rendered.html.contains("<title>sid=2/</title>"),
        "{}",
        rendered.html
    );
    assert_eq!(cookies(&session), "sid=2; js=2");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_chromium_refuses_stays_in_the_session() {
    let house = House::new(echo);
    let session = house.session("a").await;
    receive(&session, "fine=1");
    // To Chromium the prefix asks for Secure and HttpOnly.
    receive(&session, "__Http-odd=1");
    let before = session.state().jar.len();
    house.render(Some(&session), SHOP, "<p>").await.unwrap();
    assert_eq!(session.state().jar.len(), before);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_there_before_the_first_script_and_comes_back() {
    let house = House::new(|_| None);
    let session = house.session("a").await;
    set_item(&session, SHOP, Area::LocalStorage, "token", "t");
    set_item(&session, SHOP, Area::LocalStorage, "old", "o");
    set_item(&session, SHOP, Area::SessionStorage, "step", "1");
    let page = "<script>
        document.title = [localStorage.token, localStorage.old, sessionStorage.step].join();
        localStorage.removeItem('old'); localStorage.fresh = 'f'; sessionStorage.step = Number(sessionStorage.step) + 1;
        </script>";
    let rendered = house.render(Some(&session), SHOP, page).await.unwrap();
    assert!(
        rendered.html.contains("<title>t,o,1</title>"),
        "{}",
        rendered.html
    );
    let local = |name| item(&session, SHOP, Area::LocalStorage, name);
    assert_eq!(local("fresh").as_deref(), Some("f"));
    assert_eq!(local("old"), None);
    assert_eq!(
        item(&session, SHOP, Area::SessionStorage, "step").as_deref(),
        Some("2")
    );
    // Another route, or an import, changes the session; the page's own deletion stays.
    set_item(&session, SHOP, Area::LocalStorage, "token", "t2");
    let rendered = house.render(Some(&session), SHOP, page).await.unwrap();
    assert!(
        rendered.html.contains("<title>t2,,2</title>"),
        "{}",
        rendered.html
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_not_undone_by_the_next_document_of_the_page() {
    let house = House::new(|request| match request.uri().path() {
        "/two" => Some((
            Vec::new(),
            "<script>document.title = [localStorage.length, sessionStorage.length].join()</script>"
                .to_owned(),
        )),
        "/frame" => Some((
            Vec::new(),
            "<script>localStorage.clear(); sessionStorage.clear(); top.location = '/two'</script>"
                .to_owned(),
        )),
        _ => None,
    });
    let session = house.session("a").await;
    set_item(&session, SHOP, Area::LocalStorage, "token", "t");
    set_item(&session, SHOP, Area::SessionStorage, "step", "1");
    let rendered = house
        .render(Some(&session), SHOP, "<iframe src=/frame></iframe>")
        .await
        .unwrap();
    assert!(
        rendered.html.contains("<title>0,0</title>"),
        "{}",
        rendered.html
    );
    assert!(session.state().storage.is_empty());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_origins_of_the_site_store_is_kept_and_third_parties_are_not() {
    let frame =
        "<script>localStorage.from = location.host; parent.postMessage('done', '*')</script>";
    let house = House::new(move |request| {
        (request.uri().path() == "/frame").then(|| (Vec::new(), frame.to_owned()))
    });
    let session = house.session("a").await;
    set_item(
        &session,
        "http://ad.example",
        Area::LocalStorage,
        "first",
        "party",
    );
    let mut ask = ask(
        SHOP,
        "<iframe src=http://www.shop.example/frame></iframe><iframe src=http://ad.example/frame></iframe>
        <script>let n = 0; onmessage = () => { if (++n == 2) document.body.className = 'done' }</script>",
    );
    ask.wait = Some(Wait::Selector("body.done".to_owned()));
    house.render_as(Some(&session), ask).await.unwrap();
    let from = |origin| item(&session, origin, Area::LocalStorage, "from");
    assert_eq!(
        from("http://www.shop.example").as_deref(),
        Some("www.shop.example")
    );
    assert_eq!(from("http://ad.example"), None);
    assert_eq!(
        item(&session, "http://ad.example", Area::LocalStorage, "first").as_deref(),
        Some("party")
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_never_see_each_other_and_an_evicted_context_loses_nothing() {
    let house = House::with(echo, |options| options.max_contexts = 1);
    let page =
        "<script>document.title = document.cookie + '/' + (localStorage.who ?? '');</script>";
    let write = |who: &str| {
        format!("<script>document.cookie = 'who={who}'; localStorage.who = '{who}'</script>")
    };
    let (a, b) = (house.session("a").await, house.session("b").await);
    for (session, who) in [(&a, "a"), (&b, "b")] {
        house
            .render(Some(session), SHOP, &write(who))
            .await
            .unwrap();
    }
    for (session, who) in [(&a, "a"), (&b, "b")] {
        let rendered = house.render(Some(session), SHOP, page).await.unwrap();
        assert!(
            rendered
                .html
                .contains(&format!("<title>who={who}/{who}</title>")),
            "{}",
            rendered.html
        );
    }
    assert_eq!(house.browsers.status().contexts, 1);
    house.close().await;
}
