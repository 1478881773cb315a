//! Pages and browsers that misbehave.

use rustix::process::{Pid, Signal, kill_process};

use super::*;

const SHOP: &str = "http://shop.example/";

/// The deadline, and how long after it a render may take.
fn soon(mut ask: Ask) -> Ask {
    ask.deadline = Instant::now() + Duration::from_secs(3);
    ask
}

async fn bounded(
    house: &House,
    session: &Arc<LiveSession>,
    ask: Ask,
) -> Result<Rendered, BrowserError> {
    let limit = ask.deadline + Duration::from_secs(5);
    tokio::time::timeout_at(limit, house.render_as(Some(session), ask))
        .await
        .expect("an answer in time")
}

/// The next page of the session works, and it is still logged in.
async fn still_fine(house: &House, session: &Arc<LiveSession>) {
    let page = "<script>document.title = document.cookie</script>";
    let rendered = house.render(Some(session), SHOP, page).await.unwrap();
    assert!(
        rendered.html.contains("<title>login=1</title>"),
        "{}",
        rendered.html
    );
}

async fn logged_in(house: &House) -> Visit {
    let session = house.session("a").await;
    let page = "<script>document.cookie = 'login=1'</script>";
    house.render(Some(&session), SHOP, page).await.unwrap();
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_never_end_are_taken_as_they_are() {
    let house = House::new(|request| match request.uri().path() {
        "/again" => Some((
            Vec::new(),
            "<p>again</p><script>setTimeout(() => location = '/again', 50)</script>".to_owned(),
        )),
        _ => None,
    });
    let session = logged_in(&house).await;
    for (html, wanted) in [
        ("<p>before</p><script>while (true);</script>", "before"),
        ("<p>before</p><img src=/hang>", "before"),
        (
            "<p>before</p><script>setTimeout(() => { while (true) alert(1) }, 1)</script><img src=/hang>",
            "before",
        ),
        ("<p>first</p><script>location = '/again'</script>", "again"),
        (
            "<p>before</p><script>setInterval(() => fetch('/x'), 100)</script><img src=/hang>",
            "before",
        ),
    ] {
        let rendered = bounded(&house, &session, soon(ask(SHOP, html))).await;
        let rendered = rendered.unwrap_or_else(|error| panic!("{html}: {error}"));
        assert!(rendered.partial || wanted == "again", "{html}");
        assert!(rendered.html.contains(wanted), "{html}: {}", rendered.html);
        still_fine(&house, &session).await;
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_killed_is_replaced_and_its_page_rendered_again() {
    let house = House::new(|_| None);
    let session = logged_in(&house).await;
    let pid = house.browsers.status().browsers[0].pid.unwrap();
    let mut ask = ask(SHOP, "<p>survivor</p>");
    ask.wait = Some(Wait::For(Duration::from_millis(500)));
    let render = house.render_as(Some(&session), ask);
    let kill = async {
        eventually("the page is opened", || {
            house
                .app
                .seen
                .lock()
                .iter()
                .filter(|(url, _)| url == SHOP)
                .count()
                == 2
        })
        .await;
        let leader = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(leader, Signal::KILL).unwrap();
    };
    let (rendered, ()) = tokio::join!(render, kill);
    assert!(rendered.unwrap().html.contains("survivor"));
    assert!(house.browsers.status().counters.crashes >= 1);
    eventually("the dead one is reaped", || !is_alive(pid)).await;
    still_fine(&house, &session).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_page_and_no_place() {
    let house = House::with(|_| None, |options| options.max_pages = 1);
    let session = logged_in(&house).await;
    let hanging = house.render(Some(&session), SHOP, "<img src=/hang>");
    let gone = timeout(Duration::from_millis(500), hanging).await;
    assert!(gone.is_err());
    eventually("its place is free", || house.browsers.status().pages == 0).await;
    assert_eq!(house.browsers.status().counters.failed, 1);
    still_fine(&house, &session).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn popups_are_closed_before_they_send_anything() {
    let house = House::new(|_| None);
    let session = logged_in(&house).await;
    let mut ask = ask(
        SHOP,
        "<script>open('/popup'); open('/other', '_blank', 'noopener'); document.title = 'went on'</script>",
    );
    ask.wait = Some(Wait::For(Duration::from_millis(300)));
    let rendered = house.render_as(Some(&session), ask).await.unwrap();
    assert!(rendered.html.contains("went on"), "{}", rendered.html);
    let seen: Vec<String> = house
        .app
        .seen
        .lock()
        .iter()
        .map(|(url, _)| url.clone())
        .collect();
    assert!(
        !seen
            .iter()
            .any(|url| url.contains("popup") || url.contains("other")),
        "{seen:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_given_in_turn_until_the_deadline() {
    let house = House::with(|_| None, |options| options.max_pages = 1);
    let far = Instant::now() + Duration::from_secs(20);
    let held = house.browsers.reserve(None, None, far).await.unwrap();
    let near = Instant::now() + Duration::from_millis(100);
    let busy = house.browsers.reserve(None, None, near).await.unwrap_err();
    assert!(matches!(busy, BrowserError::Busy { pages: 1 }), "{busy}");
    drop(held);
    house.browsers.reserve(None, None, far).await.unwrap();
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_browser_is_replaced() {
    let house = House::with(|_| None, |options| options.recycle_pages = 2);
    let session = logged_in(&house).await;
    let first = house.browsers.status().browsers[0].pid.unwrap();
    still_fine(&house, &session).await;
    eventually("the old one ends", || !is_alive(first)).await;
    still_fine(&house, &session).await;
    let status = house.browsers.status();
    assert_eq!((status.counters.recycled, status.counters.crashes), (1, 0));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_does_not_start_says_why() {
    let house = House::with(
        |_| None,
        |options| options.executable = Some("/bin/false".into()),
    );
    let error = house
        .browsers
        .reserve(None, None, Instant::now() + Duration::from_secs(5))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`/bin/false` ended while it started"),
        "{error}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_nowhere_says_so() {
    let house = House::new(|_| None);
    let session = logged_in(&house).await;
    for url in [
        "file:///etc/passwd",
        "chrome://version",
        "view-source:http://shop.example/",
    ] {
        let error = house.render(Some(&session), url, "<p>").await.unwrap_err();
        assert!(
            matches!(error, BrowserError::Navigation(_)),
            "{url}: {error}"
        );
    }
    still_fine(&house, &session).await;
    house.close().await;
}
