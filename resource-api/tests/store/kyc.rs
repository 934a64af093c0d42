//! Tables `kyc_profile`, `kyc_decision`, `kyc_job`.

use chassis::testing::TestDatabase;
use chassis::{Db, on, sqlx, while_doing};
use keys::UnixSeconds;
use resource_api::domain::kyc::KycStatus;
use resource_api::operations::kyc::{LevelDecision, set_level};
use resource_api::store::customers::find;
use resource_api::store::kyc::{
    Decided, KycJob, NewDecision, decide, find_profile, finish_job, has_due_job, take_due_jobs,
};

use crate::{NOW, customer, opened, unit};

fn decision(id: &str, level: i64, status: KycStatus) -> NewDecision {
    NewDecision {
        partner_id: "p".to_owned(),
        decision_id: id.to_owned(),
        customer_id: "cus_ann".to_owned(),
        level,
        status,
        missing_fields: vec!["emails".to_owned()],
        reason_codes: vec!["under_age".to_owned()],
        decided_by: "rules".to_owned(),
        pii_version: Some(0),
        now: NOW,
    }
}

async fn decisions(db: &Db) -> Vec<(i64, i64, String)> {
    unit!(db, [], tx => {
        on!(tx, conn => sqlx::query_as("SELECT from_level, to_level, decided_by FROM kyc_decision ORDER BY decision_id")
            .fetch_all(conn)
            .await)
        .map_err(while_doing("read decisions"))
    })
}

#[tokio::test]
async fn a_level_changes_only_together_with_a_decision_row() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        customer(&db, "p", "ann").await;
        let one = decision("kyd_1", 1, KycStatus::Approved);
        assert_eq!(unit!(db, [one], tx => decide(tx, &one).await), Decided::Changed);
        let again = decision("kyd_2", 1, KycStatus::Approved);
        assert_eq!(unit!(db, [again], tx => decide(tx, &again).await), Decided::AsBefore);
        assert_eq!(decisions(&db).await, [(0, 1, "rules".to_owned())]);
        let known = unit!(db, [], tx => find(tx, "p", "cus_ann").await).unwrap();
        assert_eq!((known.kyc_level, known.kyc_status), (1, KycStatus::Approved));
        let profile = unit!(db, [], tx => find_profile(tx, "p", "cus_ann").await).unwrap();
        assert_eq!(
            (profile.missing_fields, profile.reason_codes),
            (vec!["emails".to_owned()], vec!["under_age".to_owned()])
        );
    }
}

#[tokio::test]
async fn a_decision_on_older_data_does_not_count() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        customer(&db, "p", "ann").await;
        let stale = NewDecision { pii_version: Some(3), ..decision("kyd_1", 1, KycStatus::Approved) };
        assert_eq!(unit!(db, [stale], tx => decide(tx, &stale).await), Decided::Stale);
        let foreign = NewDecision { partner_id: "q".to_owned(), ..decision("kyd_1", 1, KycStatus::Approved) };
        assert_eq!(unit!(db, [foreign], tx => decide(tx, &foreign).await), Decided::Stale);
        assert!(decisions(&db).await.is_empty());
        assert_eq!(unit!(db, [], tx => find_profile(tx, "p", "cus_ann").await), None);
    }
}

#[tokio::test]
async fn somebody_sets_a_higher_level_and_the_partner_is_told_once() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        customer(&db, "p", "ann").await;
        let ask = LevelDecision {
            partner_id: "p".to_owned(),
            customer_id: "cus_ann".to_owned(),
            level: 2,
            decided_by: "dev".to_owned(),
            decision_id: "kyd_1".to_owned(),
            event_id: "evt_1".to_owned(),
            now: NOW,
        };
        assert_eq!(unit!(db, [ask], tx => set_level(tx, &ask).await), Decided::Changed);
        assert_eq!(unit!(db, [ask], tx => set_level(tx, &ask).await), Decided::AsBefore);
        assert_eq!(decisions(&db).await, [(0, 2, "dev".to_owned())]);
        let events: Vec<(String, String)> = unit!(db, [], tx => {
            on!(tx, conn => sqlx::query_as("SELECT event_id, kind FROM event").fetch_all(conn).await)
                .map_err(while_doing("read events"))
        });
        assert_eq!(events, [("evt_1".to_owned(), "kyc.updated".to_owned())]);
        let no_such_level = LevelDecision { level: 6, ..ask };
        let refused = db
            .write(move |tx| {
                let ask = no_such_level.clone();
                Box::pin(async move { set_level(tx, &ask).await })
            })
            .await;
        assert!(refused.is_err());
    }
}

async fn enqueue(db: &Db, version: i64, due_at: UnixSeconds) {
    unit!(db, [], tx => {
        on!(tx, conn => sqlx::query("INSERT INTO kyc_job VALUES ('p', 'cus_ann', $1, FALSE, $2, 0)
                ON CONFLICT (partner_id, customer_id) DO UPDATE SET pii_version = excluded.pii_version")
            .bind(version)
            .bind(due_at.0)
            .execute(conn)
            .await
            .map(drop))
        .map_err(while_doing("queue a job"))
    });
}

#[tokio::test]
async fn a_job_is_taken_by_one_worker_and_comes_back_when_it_was_not_finished() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        enqueue(&db, 1, NOW).await;
        assert!(!unit!(db, [], tx => has_due_job(tx, NOW.plus(-1)).await));
        assert!(unit!(db, [], tx => has_due_job(tx, NOW).await));
        let take = |now: UnixSeconds| {
            let db = db.clone();
            async move { unit!(db, [], tx => take_due_jobs(tx, now, now.plus(15), 9).await) }
        };
        let jobs = take(NOW).await;
        let job = KycJob {
            partner_id: "p".to_owned(),
            customer_id: "cus_ann".to_owned(),
            pii_version: 1,
            identity_changed: false,
            attempt: 1,
        };
        assert_eq!(jobs, std::slice::from_ref(&job));
        assert!(take(NOW).await.is_empty());
        assert_eq!(take(NOW.plus(15)).await[0].attempt, 2);
        // The data changed while the worker looked: the job stays for the newer version.
        enqueue(&db, 2, NOW).await;
        unit!(db, [job], tx => finish_job(tx, &job).await);
        let newer = take(NOW.plus(60)).await;
        assert_eq!(newer[0].pii_version, 2);
        let newer = newer[0].clone();
        unit!(db, [newer], tx => finish_job(tx, &newer).await);
        assert!(!unit!(db, [], tx => has_due_job(tx, NOW.plus(600)).await));
    }
}
