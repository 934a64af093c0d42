//! A new master key: everything moves under it while it is used, and nothing that was hashed is lost.

use chassis::db::Migration;
use chassis::keyring::KeyRing;
use chassis::master::with_hash_root;
use chassis::sealed::{COLUMNS, Rekeyed, SealedColumn, SealedField, rekey};
use chassis::testing::{TestDatabase, platform};
use chassis::{Db, Platform, on, while_doing};
use futures_util::future::join_all;
use keys::seal::{MasterKey, MasterKeys};

use super::keyring::{POLICY, interrupt_after};

/// A column whose places name partner, row and field, as personal data has it.
const NOTE_FIELD: SealedColumn = SealedColumn {
    table: "note_field",
    column: "sealed",
    tenant: Some("partner"),
    row: "owner",
    field: SealedField::Column("field"),
};

const TABLES: &[Migration] = &[Migration {
    version: 1,
    name: "note_field",
    sql: "CREATE TABLE note_field (partner TEXT NOT NULL, owner TEXT NOT NULL, field TEXT NOT NULL, sealed TEXT,
          PRIMARY KEY (partner, owner, field))",
}];

/// Rows of it: several units' worth.
const ROWS: usize = 120;

fn old() -> MasterKeys {
    MasterKeys::new(MasterKey::new([7; 32]), Vec::new())
}

fn both() -> MasterKeys {
    MasterKeys::new(MasterKey::new([8; 32]), vec![MasterKey::new([7; 32])])
}

fn new() -> MasterKeys {
    MasterKeys::new(MasterKey::new([8; 32]), Vec::new())
}

fn columns() -> Vec<SealedColumn> {
    [COLUMNS, &[NOTE_FIELD]].concat()
}

async fn execute(db: &Db, sql: &'static str, values: Vec<String>) {
    db.write(move |tx| {
        let values = values.clone();
        Box::pin(async move {
            on!(tx, conn => {
                let mut query = sqlx::query(sql);
                for value in values {
                    query = query.bind(value);
                }
                query.execute(conn).await.map(drop)
            })
            .map_err(while_doing("execute"))
        })
    })
    .await
    .unwrap();
}

const INSERT_NOTE: &str = "INSERT INTO note_field (partner, owner, field, sealed) VALUES ($1, $2, $3, $4)";
const INSERT_ENDPOINT: &str = "INSERT INTO webhook_endpoint (partner_id, endpoint_id, url, event_kinds, secret_sealed,
    public_key, previous_sealed, status, created_at_s) VALUES ($1, $2, 'https://x', '[]', $3, 'whpk', $4, 'enabled', 0)";

/// What note `index` holds, and where.
fn note(index: usize) -> [String; 4] {
    let field = ["city", "name"][index % 2];
    [format!("p{}", index % 3), format!("owner-{index:04}"), field.to_owned(), format!("text {index}")]
}

/// A database in use under the old key: a ring, a hash root, an endpoint in the middle of its rotation, notes.
async fn in_use(database: &TestDatabase, platform: &Platform) -> Db {
    let db = database.migrated(&[("notes", TABLES)]).await;
    KeyRing::open(db.clone(), platform.clone(), old(), POLICY).await.unwrap();
    with_hash_root(&db, platform, old()).await.unwrap();
    let webhook = COLUMNS.iter().find(|column| column.column == "secret_sealed").unwrap();
    let seed =
        |plain: &[u8]| old().seal(platform.random(), &webhook.place("p0", "whe_1", ""), plain).unwrap();
    let endpoint = ["p0".to_owned(), "whe_1".to_owned(), seed(b"present"), seed(b"previous")];
    execute(&db, INSERT_ENDPOINT, endpoint.to_vec()).await;
    for index in 0..ROWS {
        let [partner, owner, field, text] = note(index);
        let place = NOTE_FIELD.place(&partner, &owner, &field);
        let sealed = old().seal(platform.random(), &place, text.as_bytes()).unwrap();
        execute(&db, INSERT_NOTE, vec![partner, owner, field, sealed]).await;
    }
    db
}

/// Opens every text with these keys, and says how many there were.
async fn open_all(db: &Db, master: &MasterKeys) -> usize {
    type Place = (String, String, String, String);
    const ALL: &str = "SELECT partner, owner, field, sealed FROM note_field ORDER BY owner";
    const SEEDS: &str =
        "SELECT partner_id, endpoint_id, secret_sealed, previous_sealed FROM webhook_endpoint";
    let rows = |sql: &'static str| {
        db.read(move |tx| {
            Box::pin(async move {
                on!(tx, conn => sqlx::query_as::<_, Place>(sql).fetch_all(conn).await)
                    .map_err(while_doing("list"))
            })
        })
    };
    let notes = rows(ALL).await.unwrap();
    for (index, (partner, owner, field, sealed)) in notes.iter().enumerate() {
        let plain = master.open(&NOTE_FIELD.place(partner, owner, field), sealed).unwrap();
        assert_eq!(plain, note(index)[3].as_bytes());
    }
    let webhook = COLUMNS.iter().find(|column| column.column == "secret_sealed").unwrap();
    for (partner, endpoint, present, previous) in rows(SEEDS).await.unwrap() {
        let place = webhook.place(&partner, &endpoint, "");
        assert_eq!(master.open(&place, &present).unwrap(), b"present");
        assert_eq!(master.open(&place, &previous).unwrap(), b"previous");
    }
    notes.len()
}

async fn run(db: &Db, platform: &Platform) -> Rekeyed {
    rekey((db, platform), &both(), &columns(), &mut |_| ()).await.unwrap()
}

#[tokio::test]
async fn everything_moves_to_the_new_master_key_and_the_old_one_can_go() {
    for database in TestDatabase::both().await {
        let (platform, _clock) = platform();
        let db = in_use(&database, &platform).await;
        let mut told = Vec::new();
        let done = rekey((&db, &platform), &both(), &columns(), &mut |at| told.push(at)).await.unwrap();
        // The notes, the signing key, the hash root, both seeds of the endpoint.
        assert_eq!(done, Rekeyed { sealed_anew: ROWS as u64 + 4, left: 0 });
        assert!(told.iter().filter(|at| at.table == "note_field").count() > 2, "in small units: {told:?}");
        assert_eq!(run(&db, &platform).await, Rekeyed::default(), "the second run finds nothing to do");
        assert_eq!(open_all(&db, &new()).await, ROWS);
        let ring = KeyRing::open(db.clone(), platform.clone(), new(), POLICY).await.unwrap();
        assert_eq!(ring.list().unwrap().len(), 1);
        with_hash_root(&db, &platform, new()).await.unwrap();
        assert!(with_hash_root(&db, &platform, old()).await.is_err());
    }
}

#[tokio::test]
async fn a_change_of_master_key_that_is_killed_at_any_point_goes_on_where_it_was() {
    for database in TestDatabase::both().await {
        let (platform, _clock) = platform();
        let db = in_use(&database, &platform).await;
        for polls in 1..12 {
            let (columns, master) = (columns(), both());
            let mut told = |_| ();
            interrupt_after(rekey((&db, &platform), &master, &columns, &mut told), polls).await;
            assert_eq!(open_all(&db, &both()).await, ROWS, "after {polls} polls");
        }
        assert_eq!(run(&db, &platform).await.left, 0);
        assert_eq!(open_all(&db, &new()).await, ROWS);
    }
}

#[tokio::test]
async fn what_a_service_writes_meanwhile_stays_and_what_it_seals_under_the_old_key_is_reported() {
    for database in TestDatabase::both().await {
        let (platform, _clock) = platform();
        let db = in_use(&database, &platform).await;
        // Sealed again and again under the old key: a node that was forgotten.
        let ending = chassis::shutdown::Shutdown::new();
        let (writer, stop, random) = (db.clone(), ending.clone(), platform.clone());
        let forgotten = tokio::spawn(async move {
            while !stop.is_triggered() {
                let [partner, owner, field, text] = note(3);
                let place = NOTE_FIELD.place(&partner, &owner, &field);
                let sealed = old().seal(random.random(), &place, text.as_bytes()).unwrap();
                execute(
                    &writer,
                    "UPDATE note_field SET sealed = $1 WHERE partner = $2 AND owner = $3 AND field = $4",
                    vec![sealed, partner, owner, field],
                )
                .await;
            }
        });
        let mut left = 0;
        for _ in 0..20 {
            left = run(&db, &platform).await.left;
            if left > 0 {
                break;
            }
        }
        assert_eq!(left, 1, "the node that still seals under the old key is noticed");
        ending.trigger();
        forgotten.await.unwrap();
        assert_eq!(run(&db, &platform).await.left, 0);
        assert_eq!(open_all(&db, &new()).await, ROWS);
    }
}

#[tokio::test]
async fn a_text_that_opens_with_no_key_stops_the_run_and_is_named() {
    for database in TestDatabase::both().await {
        let (platform, _clock) = platform();
        let db = in_use(&database, &platform).await;
        let foreign = MasterKeys::new(MasterKey::new([9; 32]), Vec::new());
        let place = NOTE_FIELD.place("p9", "owner-z", "city");
        let sealed = foreign.seal(platform.random(), &place, b"x").unwrap();
        execute(&db, INSERT_NOTE, ["p9", "owner-z", "city", &sealed].map(str::to_owned).to_vec()).await;
        let failed = rekey((&db, &platform), &both(), &columns(), &mut |_| ()).await.unwrap_err();
        assert!(failed.to_string().contains("note_field.sealed of owner-z"), "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_starts_draw_one_hash_root() {
    for database in TestDatabase::both().await {
        let db = database.migrated(&[]).await;
        let starts = (0..6).map(|seed| {
            let db = db.clone();
            let entropy = std::sync::Arc::new(chassis::SeededEntropy::new(seed));
            let platform = Platform { entropy, ..platform().0 };
            tokio::spawn(async move { with_hash_root(&db, &platform, old()).await.unwrap() })
        });
        let roots = join_all(starts).await.into_iter().map(|root| root.unwrap().mac_key("x").mac(&[b"y"]));
        let roots: Vec<_> = roots.collect();
        assert!(roots.iter().all(|root| *root == roots[0]), "{:?}", database.engine());
        let later = with_hash_root(&db, &platform().0, both()).await.unwrap();
        assert_eq!(later.mac_key("x").mac(&[b"y"]), roots[0], "under another master key too");
    }
}
