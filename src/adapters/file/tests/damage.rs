//! Files that cannot be used: said so, left as they are, and used again when they can be.

use std::fs;

use super::*;

async fn refused(adapter: &FileAdapter, record: &Record, wanted: &str) {
    let mut record = record.clone();
    let delta = set(&mut record, "late=1");
    let errors = [
        adapter.load(&record.id).await.err(),
        apply(adapter, &record, delta).await.err(),
        adapter.create(self::record("new"), 9).await.err(),
        adapter.health().await.err(),
    ];
    for error in errors {
        let error = error.expect("the file is refused").to_string();
        assert!(
            error.contains(wanted) && error.contains("sessions.db"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_file_has_one_user_at_a_time() {
    let (home, record) = Home::inhabited().await;
    let (first, second) = (home.adapter(), home.adapter());
    assert!(load(&first, &record).await.is_some());
    refused(
        &second,
        &record,
        "give each process a file of its own (`adapters.file.path`)",
    )
    .await;
    refused(&second, &record, &format!("({})", std::process::id())).await;
    drop(first);
    assert!(load(&second, &record).await.is_some());
}

#[tokio::test]
async fn a_damaged_file_is_left_as_it_is() {
    let (home, record) = Home::inhabited().await;
    let good = fs::read(home.path()).unwrap();
    let page = 4096;
    let mut garbage = good.clone();
    garbage[..100].fill(0xa5);
    let mut zeroed = good.clone();
    zeroed[2 * page..3 * page].fill(0);
    let mut shuffled = good.clone();
    shuffled[page + 8..2 * page].reverse();
    let cases = [
        ("garbage", garbage),
        ("zeroed", zeroed),
        ("shuffled", shuffled),
        ("torn", good[..good.len() - 1000].to_owned()),
        ("cut", good[..good.len() - page].to_owned()),
        ("text", b"not a database, but a text that is longer than a header of one, which has a hundred bytes, or so".to_vec()),
    ];
    let adapter = home.adapter();
    for (case, bytes) in cases {
        eprintln!("{case}");
        fs::write(home.path(), &bytes).unwrap();
        refused(&adapter, &record, "is damaged").await;
        assert!(
            fs::read(home.path()).unwrap() == bytes,
            "{case}: it was changed"
        );
        // No restart is needed when a copy is put in its place.
        fs::write(home.path(), &good).unwrap();
        assert_eq!(
            load(&adapter, &record).await.as_ref(),
            Some(&record),
            "{case}"
        );
        drop(load(&adapter, &record).await);
        fs::rename(home.path(), home.beside(".away")).unwrap();
        fs::write(home.path(), &good).unwrap();
        assert!(adapter.count().await.is_err(), "{case}: it was moved");
    }
}

#[tokio::test]
async fn a_log_without_its_file_is_not_thrown_away() {
    let (home, record) = Home::inhabited().await;
    fs::write(home.beside("-wal"), "what was acknowledged").unwrap();
    for empty in [false, true] {
        fs::remove_file(home.path()).unwrap();
        if empty {
            fs::write(home.path(), "").unwrap();
        }
        refused(&home.adapter(), &record, "its `-wal` is there").await;
        assert_eq!(
            fs::read(home.beside("-wal")).unwrap(),
            b"what was acknowledged"
        );
        fs::write(home.path(), "").unwrap();
    }
    fs::remove_file(home.beside("-wal")).unwrap();
    // As a crash leaves it between making the file and filling it.
    assert_eq!(load(&home.adapter(), &record).await, None);
}

#[tokio::test]
async fn another_programs_file_is_left_alone() {
    let home = Home::new();
    fs::create_dir_all(home.path().parent().unwrap()).unwrap();
    let sql = Connection::open(home.path()).unwrap();
    sql.execute_batch("CREATE TABLE session (id TEXT)").unwrap();
    drop(sql);
    let bytes = fs::read(home.path()).unwrap();
    refused(&home.adapter(), &record("a"), "is no file of burdock's").await;
    assert_eq!(fs::read(home.path()).unwrap(), bytes);
    fs::remove_file(home.path()).unwrap();
    fs::create_dir(home.path()).unwrap();
    refused(&home.adapter(), &record("a"), "is no file of burdock's").await;
}

#[tokio::test]
async fn a_later_versions_file_is_left_alone() {
    let (home, record) = Home::inhabited().await;
    let sql = Connection::open(home.path()).unwrap();
    sql.execute_batch("PRAGMA user_version = 3").unwrap();
    drop(sql);
    let bytes = fs::read(home.path()).unwrap();
    refused(
        &home.adapter(),
        &record,
        "a later version of burdock (layout 3)",
    )
    .await;
    assert_eq!(fs::read(home.path()).unwrap(), bytes);
}

#[tokio::test]
async fn a_record_of_a_later_format_is_refused_and_others_are_not() {
    let (home, record) = Home::inhabited().await;
    let other = self::record("b");
    create(&home.adapter(), &other).await;
    let sql = Connection::open(home.path()).unwrap();
    sql.execute_batch("UPDATE session SET format = 2 WHERE id = 'a'")
        .unwrap();
    drop(sql);
    let adapter = home.adapter();
    let errors = [
        adapter.load(&record.id).await.err(),
        apply(&adapter, &record, set(&mut record.clone(), "a=1"))
            .await
            .err(),
    ];
    for error in errors {
        let error = error.expect("refused").to_string();
        assert!(
            error.contains("later version of burdock (format 2"),
            "{error}"
        );
    }
    assert_eq!(load(&adapter, &other).await.as_ref(), Some(&other));
    let mut changed = other.clone();
    let delta = set(&mut changed, "a=1");
    assert!(apply(&adapter, &other, delta).await.is_ok());
    adapter.health().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_moved_away_takes_no_more_changes() {
    let (home, mut record) = Home::inhabited().await;
    let adapter = home.adapter();
    assert!(load(&adapter, &record).await.is_some());
    fs::rename(home.path(), home.beside(".away")).unwrap();
    let delta = set(&mut record, "sid=1");
    let error = apply(&adapter, &record, delta.clone()).await.unwrap_err();
    assert!(error.reason.contains("was moved or removed"), "{error}");
    fs::rename(home.beside(".away"), home.path()).unwrap();
    assert!(apply(&adapter, &record, delta).await.is_ok());
    assert_eq!(load(&adapter, &record).await, Some(record));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_told() {
    let home = Home::new();
    fs::write(home.folder.path().join("deep"), "a file").unwrap();
    let error = home.adapter().create(record("a"), 9).await.unwrap_err();
    assert!(error.reason.contains("sessions.db"), "{error}");
}
