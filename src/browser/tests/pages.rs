//! A document becomes a page.

use super::*;

fn nothing(_: &Request) -> Option<Answer> {
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_run_and_the_document_is_not_asked_for_again() {
    let house = House::new(|request| {
        (request.uri().path() == "/api").then(|| (Vec::new(), "fetched".to_owned()))
    });
    let mut ask = ask(
        "http://shop.example/page#part",
        "<!DOCTYPE html><p id=a></p><script>fetch('/api').then(r => r.text()).then(t => { a.textContent = t + ' \\ud83d' })</script>",
    );
    ask.wait = Some(Wait::Until(WaitUntil::NetworkIdle));
    let rendered = house.render_as(None, ask).await.unwrap();
    assert!(
        rendered.html.starts_with("<!DOCTYPE html><html>")
            && rendered.html.contains("<p id=\"a\">fetched \u{fffd}</p>"),
        "{}",
        rendered.html
    );
    assert_eq!(rendered.url.as_str(), "http://shop.example/page#part");
    assert!(!rendered.partial && rendered.later.is_none());
    let documents = house
        .app
        .seen
        .lock()
        .iter()
        .filter(|(url, _)| url.ends_with("/page"))
        .count();
    assert_eq!(documents, 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_navigation_by_script_is_followed_and_named() {
    let house = House::new(|request| {
        let fields = vec![("x-other", "yes".to_owned())];
        (request.uri().path() == "/other").then(|| (fields, "<p>other</p>".to_owned()))
    });
    let rendered = house
        .render(
            None,
            "http://shop.example/",
            "<script>location = '/other'</script>",
        )
        .await
        .unwrap();
    assert_eq!(rendered.url.as_str(), "http://shop.example/other");
    assert!(rendered.html.contains("other"), "{}", rendered.html);
    let (status, fields) = rendered.later.unwrap();
    assert_eq!(
        (status, &fields["x-other"]),
        (StatusCode::OK, &"yes".parse().unwrap())
    );
    let pushed = house
        .render(
            None,
            "http://shop.example/",
            "<script>history.pushState(null, '', '/pushed')</script>",
        )
        .await
        .unwrap();
    assert_eq!(pushed.url.as_str(), "http://shop.example/pushed");
    assert!(pushed.later.is_none());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_element_is_waited_for_and_a_picture_taken() {
    let house = House::with(nothing, |options| options.thumbnails = true);
    let session = house.session("a").await;
    let mut ask = ask(
        "http://shop.example/",
        "<script>setTimeout(() => { document.body.innerHTML = '<p class=late>x' }, 300)</script><body style='height:3000px;margin:0'>",
    );
    ask.wait = Some(Wait::Selector("p.late".to_owned()));
    ask.shot = Some(Shot {
        full_page: true,
        format: ShotFormat::Png,
    });
    let rendered = house.render_as(Some(&session), ask.clone()).await.unwrap();
    assert!(rendered.html.contains("late"));
    let shot = rendered.shot.unwrap();
    let side = |at: usize| u32::from_be_bytes(shot[at..at + 4].try_into().unwrap());
    assert_eq!((side(16), side(20)), (1280, 3000));
    let thumbnail = house.browsers.thumbnail(&session).unwrap();
    assert_eq!(thumbnail[..2], [0xff, 0xd8]);
    ask.wait = Some(Wait::Selector("p[".to_owned()));
    let error = house.render_as(Some(&session), ask).await.unwrap_err();
    assert!(matches!(error, BrowserError::Selector(_)), "{error}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_sees_its_sessions_identity() {
    let house = House::new(nothing);
    let settings = serde_json::json!({"browser": {"userAgent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        "locale": "de-DE", "timezone": "Asia/Tokyo", "viewport": {"width": 500, "height": 400}}});
    let settings = Settings::from_json(&settings, &crate::session::Bounds::default()).unwrap();
    let id = "a".parse().unwrap();
    let session = house
        .registry
        .create(Some(id), None, settings)
        .await
        .unwrap();
    let slot = house
        .browsers
        .reserve(
            Some(&session),
            Some("Mozilla/5.0 client"),
            Instant::now() + Duration::from_secs(10),
        )
        .await
        .unwrap();
    let agent = slot
        .navigation_fields()
        .iter()
        .find(|(name, _)| name == header::USER_AGENT)
        .unwrap();
    assert!(agent.1.to_str().unwrap().contains("Chrome/140"));
    let rendered = slot
        .render(ask(
            "http://localhost/",
            "<script>document.title = [navigator.userAgent, navigator.platform, navigator.languages, navigator.userAgentData.platform,
                Intl.DateTimeFormat().resolvedOptions().timeZone, (1.5).toLocaleString(), innerWidth, innerHeight].join('|')</script>",
        ))
        .await
        .unwrap();
    assert!(
        rendered.html.contains(
            "Chrome/140.0.0.0 Safari/537.36|Win32|de-DE,de|Windows|Asia/Tokyo|1,5|500|400</title>"
        ),
        "{}",
        rendered.html
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_types_are_not_loaded() {
    let house = House::with(nothing, |options| {
        options.blocked = vec![Blocked::Image, Blocked::Stylesheet];
    });
    house
        .render(
            None,
            "http://shop.example/",
            "<link rel=stylesheet href=/s.css><img src=/i.png><script src=/s.js></script>",
        )
        .await
        .unwrap();
    let seen: Vec<String> = house
        .app
        .seen
        .lock()
        .iter()
        .map(|(url, _)| url.clone())
        .collect();
    assert!(seen.iter().any(|url| url.ends_with("/s.js")), "{seen:?}");
    assert!(
        !seen
            .iter()
            .any(|url| url.ends_with(".css") || url.ends_with(".png")),
        "{seen:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_shown_though_the_browser_has_an_older_one() {
    let house = House::new(nothing);
    let session = house.session("a").await;
    for text in ["first", "second"] {
        let mut ask = ask("http://shop.example/", &format!("<p>{text}"));
        let document = Arc::get_mut(&mut ask.document).unwrap();
        document.fields.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=3600"),
        );
        let rendered = house.render_as(Some(&session), ask).await.unwrap();
        assert!(rendered.html.contains(text), "{}", rendered.html);
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_without_a_word_is_an_empty_page() {
    let house = House::new(nothing);
    let mut ask = ask("http://shop.example/", "");
    Arc::get_mut(&mut ask.document).unwrap().status = StatusCode::NOT_FOUND;
    let rendered = house.render_as(None, ask).await.unwrap();
    assert!(rendered.html.contains("<body>"), "{}", rendered.html);
    assert!(rendered.later.is_none());
    house.close().await;
}
