//! Many records: listed, chosen by label, cleared.

use super::*;

pub(super) async fn a_list_is_in_order_and_comes_in_pages(store: &Store<'_>) {
    let names = ["b", "a", "B", "a.b", "a-b", "~", "0", "ab", "_", "c"];
    for name in names {
        store.create(&rich(name)).await;
    }
    store.create(&expired("aa")).await;
    let mut wanted: Vec<SessionId> = names.into_iter().map(id).collect();
    wanted.sort_unstable();
    let ids = |page: &[Record]| {
        page.iter()
            .map(|record| record.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&store.list(&everything()).await), wanted);

    let (mut pages, mut after) = (Vec::new(), None);
    for size in [3, 3, 3, 1, 0] {
        let query = Query {
            after,
            limit: 3,
            labels: Vec::new(),
        };
        let page = ids(&store.nth(size).list(&query).await.expect("listed"));
        assert_eq!(page.len(), size);
        after = page.last().cloned();
        pages.extend(page);
    }
    assert_eq!(pages, wanted);
    let between = Query {
        after: Some(id("aa")),
        ..everything()
    };
    assert_eq!(ids(&store.list(&between).await), wanted[wanted.len() - 4..]);
    let whole = store
        .list(&Query {
            limit: 1,
            ..everything()
        })
        .await
        .remove(0);
    assert_same(store.load(&whole.id).await, &whole);
}

pub(super) async fn labels_choose_what_is_listed(store: &Store<'_>) {
    let records = [
        labelled("a", &[("team", "one"), ("x.$", "ä")]),
        labelled("b", &[("team", "two"), ("x.$", "ä")]),
        labelled("c", &[("team", "one")]),
        labelled("d", &[]),
        labelled("e", &[("team", "one"), ("x.$", "ä"), ("more", "")]),
    ];
    for record in &records {
        store.create(record).await;
    }
    let listed = async |labels: &[(&str, &str)], after: Option<&str>, limit| {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let labels = labels.iter().map(owned).collect();
        let query = Query {
            after: after.map(id),
            limit,
            labels,
        };
        let page = store.list(&query).await;
        page.iter()
            .map(|record| record.id.as_str())
            .collect::<String>()
    };
    assert_eq!(listed(&[("team", "one")], None, 9).await, "ace");
    assert_eq!(listed(&[("team", "one")], Some("a"), 1).await, "c");
    assert_eq!(
        listed(&[("team", "one"), ("x.$", "ä")], None, 9).await,
        "ae"
    );
    assert_eq!(listed(&[("x.$", "ä"), ("team", "two")], None, 9).await, "b");
    assert_eq!(listed(&[("more", "")], None, 9).await, "e");
    assert_eq!(listed(&[("more", "x")], None, 9).await, "");
    assert_eq!(listed(&[("nothing", "")], None, 9).await, "");

    // A label that moved is found where it went, and no more where it was.
    let mut moved = records[2].settings.clone();
    moved.labels.insert("team".to_owned(), "two".to_owned());
    let delta = Delta {
        settings: Some(moved),
        ..Delta::default()
    };
    assert_eq!(
        store.apply(&records[2], delta).await,
        Applied::Done { revision: 1 }
    );
    assert!(store.first().delete(&records[4].id).await.expect("deleted"));
    assert_eq!(listed(&[("team", "one")], None, 9).await, "a");
    assert_eq!(listed(&[("team", "two")], None, 9).await, "bc");
}

pub(super) async fn what_is_cleared_is_counted_and_gone(store: &Store<'_>) {
    for name in ["a", "b", "c"] {
        store.create(&rich(name)).await;
    }
    store.create(&expired("d")).await;
    assert_eq!(store.count().await, 3);
    assert_eq!(store.nth(1).clear().await.expect("cleared"), 3);
    assert_eq!(
        (store.count().await, store.list(&everything()).await),
        (0, Vec::new())
    );
    let late = touch(clock::now(), clock::now() + HALF_AN_HOUR);
    assert_eq!(store.apply(&record("a"), late).await, Applied::Gone);
    let bare = labelled("a", &[("team", "one")]);
    store.create(&bare).await;
    assert_same(store.load(&bare.id).await, &bare);
    let created = store
        .first()
        .create(record("b"), 1)
        .await
        .expect("an answer");
    assert!(matches!(created, Created::Full { .. }), "{created:?}");
}
