//! Copies of an SQLite file under load, putting them back, and the restore epoch.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use chassis::backup::{Restoring, back_up};
use chassis::db::{DatabaseUrl, Db, DbOptions};
use chassis::epoch::{CLOCKS_DIFFER_S, advance_epoch, find_epoch};
use chassis::testing::TestDatabase;
use keys::UnixSeconds;

use super::{insert_note, notes, opened};

#[tokio::test]
async fn an_epoch_begins_with_each_restore_and_voids_what_is_not_younger() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let now = UnixSeconds(1_000);
        let epoch = || db.read(|tx| Box::pin(find_epoch(tx)));
        assert!(!epoch().await.unwrap().voids(now));
        for number in 1..3 {
            let now = now.plus(number * 100);
            let begun = db.write(move |tx| Box::pin(advance_epoch(tx, now))).await.unwrap();
            assert_eq!((begun, begun.number()), (epoch().await.unwrap(), number));
            assert!(begun.voids(now) && begun.voids(now.plus(CLOCKS_DIFFER_S)));
            assert!(!begun.voids(now.plus(CLOCKS_DIFFER_S + 1)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_while_others_write_and_holds_one_moment() {
    let database = TestDatabase::sqlite();
    let db = opened(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let (writer, ending) = (db.clone(), chassis::shutdown::Shutdown::new());
    let stop = ending.clone();
    let load = tokio::spawn(async move {
        let mut written = 0_u32;
        while !stop.is_triggered() {
            // Two notes in one transaction: a copy has both or none.
            let id = written;
            writer
                .write(move |tx| {
                    Box::pin(async move {
                        insert_note(tx, &format!("{id:05}-a")).await?;
                        insert_note(tx, &format!("{id:05}-b")).await
                    })
                })
                .await
                .unwrap();
            written += 1;
        }
        written
    });
    let mut sizes = Vec::new();
    for round in 0..4 {
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        let file = folder.path().join(format!("copy-{round}.sqlite"));
        back_up(database.url(), &file).await.unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = Db::open(&DatabaseUrl::sqlite(&file), &DbOptions::default()).await.unwrap();
        let held = notes(&copy).await;
        copy.close().await;
        assert_eq!(held.len() % 2, 0, "half a transaction");
        for pair in held.chunks(2) {
            assert_eq!(pair[0].trim_end_matches("-a"), pair[1].trim_end_matches("-b"));
        }
        sizes.push(held.len());
    }
    ending.trigger();
    let written = load.await.unwrap();
    assert!(sizes.is_sorted() && sizes[3] <= 2 * written as usize, "{sizes:?} of {written}");
    assert!(sizes[3] > sizes[0], "the writer went on meanwhile: {sizes:?}");
}

#[tokio::test]
async fn a_copy_overwrites_nothing_and_needs_a_database() {
    let database = TestDatabase::sqlite();
    drop(opened(&database).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.sqlite");
    fs::write(&file, "mine").unwrap();
    assert!(back_up(database.url(), &file).await.is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let nowhere = DatabaseUrl::sqlite(&folder.path().join("none.sqlite"));
    assert!(back_up(&nowhere, &folder.path().join("other.sqlite")).await.is_err());
    assert!(!folder.path().join("none.sqlite").exists());
    let postgres = "postgres://localhost/x".parse().unwrap();
    let refused = back_up(&postgres, &folder.path().join("third.sqlite")).await.unwrap_err();
    assert!(refused.to_string().contains("--epoch-only"), "{refused}");
}

#[tokio::test]
async fn a_copy_is_put_back_whole_or_not_at_all() {
    let database = TestDatabase::sqlite();
    let db = opened(&database).await;
    db.write(|tx| Box::pin(insert_note(tx, "kept"))).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.sqlite");
    let measured = back_up(database.url(), &copy).await.unwrap();

    let over = Restoring::begin(&copy, &measured, database.url()).await.unwrap_err();
    assert!(over.to_string().contains("exists"), "{over}");

    let place = folder.path().join("place.sqlite");
    let url = DatabaseUrl::sqlite(&place);
    let changed = folder.path().join("changed.sqlite");
    let mut bytes = fs::read(&copy).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&changed, bytes).unwrap();
    let refused = Restoring::begin(&changed, &measured, &url).await.unwrap_err();
    assert!(refused.to_string().contains("SHA-256"), "{refused}");

    // Cut off twice: at the copying, and before it was moved in.
    fs::write(folder.path().join("place.sqlite.restoring"), "half").unwrap();
    drop(Restoring::begin(&copy, &measured, &url).await.unwrap());
    assert!(!place.exists());

    let restoring = Restoring::begin(&copy, &measured, &url).await.unwrap();
    let beside = Db::open(&restoring.url(), &DbOptions::default()).await.unwrap();
    beside.write(|tx| Box::pin(insert_note(tx, "on the way"))).await.unwrap();
    beside.close().await;
    restoring.finish().await.unwrap();
    let restored = Db::open(&url, &DbOptions::default()).await.unwrap();
    assert_eq!(notes(&restored).await, ["kept", "on the way"]);
    restored.close().await;
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restoring")), "{left:?}");
}
