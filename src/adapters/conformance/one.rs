//! One record, or one after the other: created, loaded, touched, expired, deleted.

use futures_util::future::join_all;

use super::*;

pub(super) async fn nothing_is_found_where_nothing_is(store: &Store<'_>) {
    let adapter = store.first();
    let nobody = record("nobody");
    adapter.health().await.expect("well");
    assert_eq!(store.load(&nobody.id).await, None);
    assert_eq!(
        store
            .apply(&nobody, touch(nobody.created, nobody.expires))
            .await,
        Applied::Gone
    );
    assert!(!adapter.delete(&nobody.id).await.expect("deleted"));
    assert_eq!(store.list(&everything()).await, []);
    assert_eq!(store.count().await, 0);
    assert_eq!(adapter.clear().await.expect("cleared"), 0);
    assert_eq!(adapter.sweep().await.expect("swept"), 0);
    assert_eq!(store.load(&nobody.id).await, None);
}

pub(super) async fn a_record_is_found_as_it_was_created(store: &Store<'_>) {
    let longest = "~".repeat(SessionId::MAX_LENGTH);
    for record in [
        record("plain"),
        rich("rich"),
        rich("A.b_c~d-0"),
        rich(&longest),
    ] {
        store.create(&record).await;
        assert_same(
            store.nth(1).load(&record.id).await.expect("loaded"),
            &record,
        );
    }
}

pub(super) async fn a_great_record_is_found_whole(store: &Store<'_>) {
    let mut great = record("great");
    for site in 0..20 {
        let host = format!("site-{site}.example");
        let url = CookieUrl {
            host: &host,
            ..SHOP
        };
        let lines: Vec<_> = (0..150)
            .map(|n| format!("cookie-{n}={}; Path=/{n}", "v".repeat(200)))
            .collect();
        great
            .jar
            .receive(&url, lines.iter().map(String::as_bytes), clock::now());
    }
    let mut items = StorageDelta::default();
    for n in 0..20 {
        let place = format!("https://site-{}.example", n % 5);
        let value = format!("{n}").repeat(50_000);
        items.set(item(&place, Area::LocalStorage, &n.to_string()), &value);
    }
    great.storage.apply(&items);
    assert_eq!((great.jar.len(), great.storage.len()), (3000, 20));
    store.create(&great).await;
    assert_same(store.load(&great.id).await, &great);
}

pub(super) async fn of_many_creations_of_one_id_one_succeeds(store: &Store<'_>) {
    let records: Vec<_> = (0..16).map(|_| record("contended")).collect();
    let creations = records.iter().enumerate();
    let created =
        join_all(creations.map(|(n, record)| store.nth(n).create(record.clone(), PLENTY))).await;
    let created: Vec<_> = created
        .into_iter()
        .map(|created| created.expect("an answer"))
        .collect();
    let done: Vec<_> = (0..16).filter(|n| created[*n] == Created::Done).collect();
    let &[winner] = &*done else {
        panic!("one of {created:?} is done")
    };
    assert!(
        (0..16).all(|n| n == winner || created[n] == Created::Exists),
        "{created:?}"
    );
    assert_same(store.load(&id("contended")).await, &records[winner]);
    assert_eq!(store.count().await, 1);
}

pub(super) async fn there_is_never_more_than_the_room(store: &Store<'_>) {
    let mut first = record("first");
    first.expires = first.created + Duration::from_mins(7);
    store.create(&first).await;
    let creations = (0..24).map(|n| store.nth(n).create(record(&format!("r{n}")), 6));
    let created = join_all(creations).await;
    let created: Vec<_> = created
        .into_iter()
        .map(|created| created.expect("an answer"))
        .collect();
    let done = created
        .iter()
        .filter(|created| **created == Created::Done)
        .count();
    assert_eq!((done, store.count().await), (5, 6), "{created:?}");
    for until in created.iter().filter_map(|created| match created {
        Created::Full { until } => Some(until),
        _ => None,
    }) {
        assert!(
            until.is_none_or(|until| until == first.expires),
            "{until:?}"
        );
    }
    // Who is there already is told so, and not that there is no room.
    let again = store
        .first()
        .create(record("first"), 6)
        .await
        .expect("an answer");
    assert!(
        matches!(again, Created::Exists | Created::Full { .. }),
        "{again:?}"
    );
    assert!(store.first().delete(&first.id).await.expect("deleted"));
    let created = store
        .first()
        .create(record("late"), 6)
        .await
        .expect("an answer");
    assert_eq!((created, store.count().await), (Created::Done, 6));
}

pub(super) async fn expired_records_take_no_room(store: &Store<'_>) {
    for n in 0..4 {
        store.create(&expired(&format!("old{n}"))).await;
    }
    for n in 0..3 {
        let created = store.nth(n).create(record(&format!("new{n}")), 3).await;
        assert_eq!(created.expect("an answer"), Created::Done);
    }
    let created = store
        .first()
        .create(record("more"), 3)
        .await
        .expect("an answer");
    assert!(matches!(created, Created::Full { .. }), "{created:?}");
    assert_eq!(store.count().await, 3);
}

pub(super) async fn a_record_that_expired_is_gone_from_everywhere(store: &Store<'_>) {
    let adapter = store.first();
    let (lasting, mut ended) = (record("lasting"), rich("ended"));
    ended.jar = rich("ended").jar;
    store.create(&lasting).await;
    store.create(&ended).await;
    let now = clock::now();
    let applied = store
        .apply(&ended, touch(now, now - Duration::from_secs(1)))
        .await;
    assert!(matches!(applied, Applied::Done { .. }), "{applied:?}");
    assert_eq!(store.load(&ended.id).await, None);
    let line = cookies(received(&ended.jar, &SHOP, &["late=1"]));
    assert_eq!(store.apply(&ended, line).await, Applied::Gone);
    assert_eq!(
        store.apply(&ended, touch(now, now + HALF_AN_HOUR)).await,
        Applied::Gone
    );
    let listed: Vec<_> = store
        .list(&everything())
        .await
        .into_iter()
        .map(|record| record.id)
        .collect();
    assert_eq!((listed, store.count().await), (vec![lasting.id.clone()], 1));
    // Its name is free, and nothing of it is left to its successor.
    let successor = record("ended");
    store.create(&successor).await;
    assert_same(store.load(&successor.id).await, &successor);

    store.create(&expired("swept")).await;
    adapter.sweep().await.expect("swept");
    assert_eq!(adapter.sweep().await.expect("swept"), 0);
    assert!(!adapter.delete(&id("swept")).await.expect("deleted"));
    assert_eq!(store.count().await, 2);
}

pub(super) async fn a_touch_moves_the_end_and_an_older_one_does_not(store: &Store<'_>) {
    let mut mirror = record("touched");
    store.create(&mirror).await;
    let at = |seconds: u64| mirror.created + Duration::from_secs(seconds);
    let touches = [
        touch(at(10), at(1000)),
        touch(at(5), at(9000)),
        touch(at(10), at(800)),
        touch(at(20), at(700)),
    ];
    for (n, delta) in touches.into_iter().enumerate() {
        mirror.apply(&delta);
        let applied = store
            .nth(n)
            .apply(&mirror.id, mirror.generation, delta)
            .await;
        assert_eq!(applied.expect("applied"), Applied::Done { revision: 0 });
        assert_same(store.load(&mirror.id).await, &mirror);
    }
    assert_eq!(mirror.expires, mirror.created + Duration::from_secs(700));
}

pub(super) async fn a_late_change_does_not_reach_a_successor(store: &Store<'_>) {
    let (first, second) = (rich("reborn"), record("reborn"));
    store.create(&first).await;
    let late = || {
        let mut late = cookies(received(&first.jar, &SHOP, &["late=1"]));
        late.settings = Some(rich_settings());
        late.counters.requests = 1;
        late.then(touch(clock::now(), clock::now() + HALF_AN_HOUR))
    };
    assert!(store.first().delete(&first.id).await.expect("deleted"));
    assert_eq!(store.apply(&first, late()).await, Applied::Gone);
    assert_eq!(store.load(&first.id).await, None);
    store.create(&second).await;
    assert_eq!(store.apply(&first, late()).await, Applied::Gone);
    assert_same(
        store.nth(1).load(&second.id).await.expect("loaded"),
        &second,
    );
}

pub(super) async fn what_was_deleted_is_gone_with_all_its_parts(store: &Store<'_>) {
    let first = rich("deleted");
    store.create(&first).await;
    assert!(store.nth(1).delete(&first.id).await.expect("deleted"));
    assert!(!store.first().delete(&first.id).await.expect("deleted"));
    assert_eq!(
        (store.load(&first.id).await, store.count().await),
        (None, 0)
    );
    let bare = record("deleted");
    store.create(&bare).await;
    assert_same(store.load(&bare.id).await, &bare);
}
