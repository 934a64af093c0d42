//! Row A20: a broken database is answered in general words, and its cause is in the log under the same id.

use chassis::on;
use chassis::testing::TestDatabase;
use sqlx::AssertSqlSafe;

use crate::world::{Call, Databases, Reply, World, eventually, log};

/// Words of a database, a file system or a library that no caller may read.
const INSIDE: &[&str] = &[
    "sqlite",
    "postgres",
    "SQL",
    "SELECT",
    "no such table",
    "relation",
    "sqlx",
    ".rs",
    "/tmp",
    "panicked",
    "chassis",
    "src/",
];

async fn break_table(database: &TestDatabase, table: &'static str) {
    let db = database.open().await;
    let dropped = db.write(move |tx| {
        Box::pin(async move {
            let sql = AssertSqlSafe(format!("ALTER TABLE {table} RENAME TO {table}_gone"));
            on!(tx, conn => sqlx::query(sql).execute(conn).await.map(drop))
                .map_err(chassis::while_doing("break a table"))
        })
    });
    dropped.await.expect("the table is renamed");
    db.close().await;
}

async fn assert_tells_nothing(reply: &Reply) {
    assert!(matches!(reply.status, 500 | 503), "{}", reply.text);
    let headers = format!("{:?}", reply.headers);
    for word in INSIDE {
        assert!(!reply.text.contains(word), "{word} in {}", reply.text);
        assert!(!headers.contains(word), "{word} in {headers}");
    }
    assert!(reply.headers.get("server").is_none(), "no version is told");
    let id = reply.body["error_id"].as_str().expect("error_id");
    let digits = id.trim_start_matches("err_").to_owned();
    let cause = eventually("the cause is logged", || async {
        log::text().lines().find(|line| line.contains(&digits) && line.contains("ERROR")).map(str::to_owned)
    });
    let cause = cause.await;
    assert!(
        cause.contains("webhook_endpoint") || cause.contains("subject") || cause.contains("no such table"),
        "{cause}"
    );
}

flows! {
    async fn a20_a_fault_is_answered_in_general_words_and_logged_with_its_cause(databases: Databases) {
        let world = World::start(databases).await;
        let users = world.token("ta/backend", "users:read").await;
        let webhooks = world.token("ta/backend", "webhooks:read").await;
        break_table(&world.databases.authz, "subject").await;
        break_table(&world.databases.resource_api, "webhook_endpoint").await;
        let user = Call::get(format!("{}/v1/users/usr_1", world.issuer)).bearer(&users);
        assert_tells_nothing(&world.send(user).await).await;
        let endpoints = Call::get(format!("{}/v1/webhook-endpoints", world.resource)).bearer(&webhooks);
        assert_tells_nothing(&world.send(endpoints).await).await;
        world.end().await;
    }
}
