//! The life of a healthy file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use futures_util::future::join_all;
use rusqlite::TransactionBehavior;

use super::*;
use crate::session::storage::{Area, ItemKey};

#[tokio::test]
async fn there_is_no_file_before_there_is_a_session() {
    let home = Home::new();
    let adapter = home.adapter();
    let nobody = record("a");
    let touched = Some(Touch {
        last_used: nobody.created,
        expires: nobody.expires,
    });
    let touch = Delta {
        touched,
        ..Delta::default()
    };
    adapter.health().await.unwrap();
    assert_eq!(load(&adapter, &nobody).await, None);
    assert_eq!(
        apply(&adapter, &nobody, touch).await.unwrap(),
        Applied::Gone
    );
    assert_eq!(
        adapter.count().await.unwrap() + adapter.sweep().await.unwrap(),
        0
    );
    assert!(!adapter.delete(&nobody.id).await.unwrap());
    assert_eq!(adapter.clear().await.unwrap(), 0);
    assert_eq!(fs::read_dir(home.folder.path()).unwrap().count(), 0);
    create(&adapter, &nobody).await;
    assert!(home.path().is_file());
}

#[tokio::test]
async fn what_is_made_is_its_owners_alone() {
    let (home, record) = Home::inhabited().await;
    let adapter = home.adapter();
    assert!(load(&adapter, &record).await.is_some());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for suffix in ["", "-lock", "-wal", "-shm"] {
        assert_eq!(mode(&home.beside(suffix)), 0o600, "{suffix}");
    }
    assert_eq!(mode(home.path().parent().unwrap()), 0o700);
}

#[tokio::test]
async fn sessions_survive_their_process() {
    let (home, mut record) = Home::inhabited().await;
    let adapter = home.adapter();
    for line in ["sid=1", "sid=2; Max-Age=900", "__Host-x=y; Secure; Path=/"] {
        let delta = set(&mut record, line);
        apply(&adapter, &record, delta).await.unwrap();
    }
    drop(adapter);
    let (again, other) = (home.adapter(), self::record("b"));
    assert_eq!(load(&again, &record).await.as_ref(), Some(&record));
    assert_eq!(again.count().await.unwrap(), 1);
    assert_eq!(
        again.create(other, 1).await.unwrap(),
        Created::Full {
            until: Some(record.expires)
        }
    );
    // Everything is in the file itself, so that it can be copied.
    drop(again);
    assert!(!home.beside("-wal").exists());
}

#[tokio::test]
async fn what_waits_at_one_moment_shares_a_transaction() {
    let (home, record) = Home::inhabited().await;
    let adapter = home.adapter();
    assert!(load(&adapter, &record).await.is_some());
    let deltas = (0..200).map(|n| set(&mut record.clone(), &format!("cookie-{n}={n}; Path=/{n}")));
    let before = commits(&home);
    let applied = join_all(deltas.map(|delta| apply(&adapter, &record, delta))).await;
    assert!(applied.iter().all(Result::is_ok));
    let commits = commits(&home) - before;
    assert!((1..50).contains(&commits), "{commits} transactions");
}

/// How many transactions are in the log: a frame that ends one says how many pages the file has thereby.
fn commits(home: &Home) -> usize {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4096;
    let log = fs::read(home.beside("-wal")).unwrap();
    let frames = log.get(HEADER..).unwrap_or_default().chunks(FRAME);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn reading_does_not_wait_for_who_writes() {
    let (home, mut record) = Home::inhabited().await;
    let adapter = home.adapter();
    let before = load(&adapter, &record).await;
    // Somebody with a shell of SQLite's is at it.
    let mut other = Connection::open(home.path()).unwrap();
    let held = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let delta = set(&mut record, "sid=1");
    let mut writing = Box::pin(apply(&adapter, &record, delta.clone()));
    tokio::select! {
        biased;
        applied = &mut writing => panic!("the file is locked: {applied:?}"),
        read = load(&adapter, &record) => assert_eq!(read, before),
    }
    let error = writing.await.unwrap_err();
    assert!(
        error.reason.contains("is locked by another program"),
        "{error}"
    );
    drop(held);
    assert_eq!(
        apply(&adapter, &record, delta).await.unwrap(),
        Applied::Done { revision: 1 }
    );
    assert_eq!(load(&adapter, &record).await, Some(record));
}

#[tokio::test]
async fn marks_are_summed_up_and_nothing_is_forgotten() {
    let (home, mut record) = Home::inhabited().await;
    let adapter = home.adapter();
    for n in 0..700 {
        let name = n % 4;
        let delta = set(&mut record, &format!("cookie-{name}={n}"));
        apply(&adapter, &record, delta).await.unwrap();
    }
    assert_eq!(load(&adapter, &record).await.as_ref(), Some(&record));
    let sql = Connection::open(home.path()).unwrap();
    let (rows, marks): (i64, String) = sql
        .query_row(
            "SELECT count(*), group_concat(mark, '') FROM mark",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert!((1..32).contains(&rows), "{rows}");
    assert!(marks.split_ascii_whitespace().count() < 400, "{marks}");
}

#[tokio::test]
async fn with_a_key_no_secret_is_in_the_files() {
    const CANARY: &str = "canary-d41d8cd9";
    let home = Home::new();
    let sealing = |keys: &[u8]| {
        let codec = Codec::new(Some(Arc::new(seal::keyring(keys))));
        FileAdapter::new(home.path(), codec)
    };
    let adapter = sealing(&[1]);
    let mut record = record("a");
    record
        .settings
        .headers
        .insert("X-Key".to_owned(), CANARY.to_owned());
    record.settings.upstream_proxy = format!("http://u:{CANARY}@127.0.0.1:1").parse().ok();
    create(&adapter, &record).await;
    let mut delta = set(&mut record, &format!("sid={CANARY}"));
    let key = ItemKey {
        origin: "https://shop.example".parse().unwrap(),
        area: Area::LocalStorage,
        name: CANARY.into(),
    };
    let mut storage = Delta::default();
    storage.storage.set(key.clone(), CANARY);
    record.apply(&storage);
    record.revision -= 1;
    delta = delta.then(storage.clone());
    apply(&adapter, &record, delta).await.unwrap();
    let found = |home: &Home| {
        ["", "-wal"].iter().any(|suffix| {
            let bytes = fs::read(home.beside(suffix)).unwrap_or_default();
            bytes
                .windows(CANARY.len())
                .any(|window| window == CANARY.as_bytes())
        })
    };
    assert!(!found(&home));
    assert_eq!(load(&adapter, &record).await.as_ref(), Some(&record));
    drop(adapter);
    assert!(!found(&home));

    // Under a new key an item moves to a new name, and is removed from under all.
    let adapter = sealing(&[2, 1]);
    let items = || -> i64 {
        let sql = Connection::open(home.path()).unwrap();
        sql.query_row("SELECT count(*) FROM item", [], |row| row.get(0))
            .unwrap()
    };
    apply(&adapter, &record, storage.clone()).await.unwrap();
    record.apply(&storage);
    assert_eq!(
        (items(), load(&adapter, &record).await.as_ref()),
        (1, Some(&record))
    );
    let mut removal = Delta::default();
    removal.storage.remove(key);
    apply(&adapter, &record, removal).await.unwrap();
    assert_eq!(items(), 0);
    drop(adapter);
    let error = sealing(&[3]).load(&record.id).await.unwrap_err();
    assert!(error.reason.contains("add that key to the file"), "{error}");
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_brought_up_and_loses_nothing() {
    let home = Home::new();
    fs::create_dir_all(home.path().parent().unwrap()).unwrap();
    let sql = Connection::open(home.path()).unwrap();
    sql.execute_batch(include_str!("layout-1.sql")).unwrap();
    drop(sql);
    let id = "shop-1".parse().unwrap();
    let mut record = home.adapter().load(&id).await.unwrap().unwrap();
    assert_eq!((record.revision, record.counters.requests), (8, 8));
    assert_eq!(record.jar.superseded().marks().count(), 7);
    let cookies: Vec<_> = record.jar.iter().map(|cookie| cookie.value()).collect();
    assert_eq!(cookies.len(), 1);
    assert_eq!(cookies[0].to_text(), "7");
    // Opened again, and by then of this layout: the marks in its table go on being counted.
    let adapter = home.adapter();
    for n in 0..700 {
        let delta = set(&mut record, &format!("n={n}"));
        apply(&adapter, &record, delta).await.unwrap();
    }
    drop(adapter);
    assert_eq!(load(&home.adapter(), &record).await, Some(record));
    let sql = Connection::open(home.path()).unwrap();
    let layout: i64 = sql
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(layout, layout::LAYOUT);
}
