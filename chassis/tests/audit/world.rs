//! What the tests stand on: a real database of either kind and a clock that stands still.

use std::sync::Arc;

use chassis::audit::{
    Actor, AuditFilter, AuditReport, AuditRow, AuditSealer, NewAudit, insert_audit, list_audit, verify,
};
use chassis::sqlx::{self, AssertSqlSafe};
use chassis::testing::TestDatabase;
use chassis::{Db, FixedClock, Platform, SystemEntropy, on, while_doing};
use serde_json::json;

pub(crate) const NOW_S: i64 = 1_800_000_000;

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) platform: Platform,
    sealer: AuditSealer,
    _database: TestDatabase,
}

impl World {
    /// One world per database.
    pub(crate) async fn both() -> Vec<Self> {
        let mut worlds = Vec::new();
        for database in TestDatabase::both().await {
            let db = database.migrated(&[]).await;
            let clock = Arc::new(FixedClock::at(NOW_S));
            let platform =
                Platform { clock: clock.clone(), entropy: Arc::new(SystemEntropy), development: true };
            let sealer = AuditSealer::new(db.clone(), platform.clone());
            worlds.push(Self { db, clock, platform, sealer, _database: database });
        }
        worlds
    }

    /// The sealer of this node.
    pub(crate) fn sealer(&self) -> AuditSealer {
        self.sealer.clone()
    }

    /// The sealer of another node.
    pub(crate) fn other_sealer(&self) -> AuditSealer {
        AuditSealer::new(self.db.clone(), self.platform.clone())
    }

    /// A change on the node `node`.
    pub(crate) fn change(&self, node: &str, object_id: &str) -> NewAudit {
        let actor = Actor::client("cli_1", "");
        let change = NewAudit::change(&self.platform, actor, "par_acme", "client.created", object_id);
        NewAudit { node: node.to_owned(), ..change.with(json!({ "alias": object_id })) }
    }

    /// Commits rows in one transaction.
    pub(crate) async fn commit(&self, rows: Vec<NewAudit>) {
        self.db
            .write(move |tx| {
                let rows = rows.clone();
                Box::pin(async move { insert_audit(tx, &rows).await })
            })
            .await
            .unwrap();
    }

    /// Commits and seals `count` changes on the node `a`.
    pub(crate) async fn sealed(&self, count: usize) {
        self.commit((0..count).map(|n| self.change("a", &format!("cli_{n}"))).collect()).await;
        self.sealer().seal().await.unwrap();
    }

    pub(crate) async fn rows(&self, filter: AuditFilter) -> Vec<AuditRow> {
        self.db
            .read(move |tx| {
                let filter = filter.clone();
                Box::pin(async move { list_audit(tx, &filter, 1_000).await })
            })
            .await
            .unwrap()
    }

    pub(crate) async fn verify(&self) -> AuditReport {
        verify(&self.db).await.unwrap()
    }

    /// What an intruder with the database's password does.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query(AssertSqlSafe(sql)).execute(conn).await.map(drop))
                        .map_err(while_doing("tamper"))
                })
            })
            .await
            .unwrap();
    }
}
