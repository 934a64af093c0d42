//! Table `customer`.

use chassis::testing::TestDatabase;
use resource_api::domain::customer::CustomerStatus;
use resource_api::store::customers::{
    CustomerFilter, NewCustomer, find, find_by_external_id, find_by_subject, insert, list, upsert_for_subject,
};

use crate::{customer, new_customer, opened, unit};

#[tokio::test]
async fn a_customer_is_registered_once_under_its_subject_and_external_id() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let made = customer(&db, "p", "ann").await;
        assert_eq!((made.status, made.kyc_level, made.pii_version), (CustomerStatus::Active, 0, 0));
        let same_subject = NewCustomer { external_id: "other".to_owned(), ..new_customer("p", "ann") };
        let same_external_id = NewCustomer {
            sub: "usr_other".to_owned(),
            customer_id: "cus_o".to_owned(),
            ..new_customer("p", "ann")
        };
        for taken in [same_subject, same_external_id] {
            assert_eq!(unit!(db, [taken], tx => insert(tx, &taken).await), None);
        }
        let elsewhere = new_customer("q", "ann");
        assert!(unit!(db, [elsewhere], tx => insert(tx, &elsewhere).await).is_some());
    }
}

#[tokio::test]
async fn a_subject_becomes_a_customer_at_its_first_reference() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let new = new_customer("p", "ann");
        let first = unit!(db, [new], tx => upsert_for_subject(tx, &new).await);
        let again = NewCustomer { customer_id: "cus_2".to_owned(), external_id: "zz".to_owned(), ..new };
        let second = unit!(db, [again], tx => upsert_for_subject(tx, &again).await);
        assert_eq!(first, second);
        assert_eq!(first.customer_id, "cus_ann");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_first_references_one_registers() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let racing = (0..16).map(|number| {
            let db = db.clone();
            let new = NewCustomer { customer_id: format!("cus_{number}"), ..new_customer("p", "ann") };
            tokio::spawn(
                async move { unit!(db, [new], tx => upsert_for_subject(tx, &new).await).customer_id },
            )
        });
        let mut ids = Vec::new();
        for task in racing.collect::<Vec<_>>() {
            ids.push(task.await.unwrap());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
}

#[tokio::test]
async fn customers_are_found_within_their_tenant_only() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let made = customer(&db, "p", "ann").await;
        let found = unit!(db, [], tx => {
            Ok([
                find(tx, "p", "cus_ann").await?,
                find_by_subject(tx, "p", "usr_ann").await?,
                find_by_external_id(tx, "p", "ann").await?,
            ])
        });
        assert_eq!(found, [Some(made.clone()), Some(made.clone()), Some(made)]);
        let foreign = unit!(db, [], tx => {
            Ok([
                find(tx, "q", "cus_ann").await?,
                find_by_subject(tx, "q", "usr_ann").await?,
                find_by_external_id(tx, "q", "ann").await?,
            ])
        });
        assert_eq!(foreign, [None, None, None]);
    }
}

#[tokio::test]
async fn a_list_goes_from_the_newest_and_keeps_to_its_filter() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        for name in ["a", "b", "c"] {
            customer(&db, "p", name).await;
        }
        customer(&db, "q", "d").await;
        let names = |found: Vec<resource_api::domain::customer::Customer>| -> Vec<String> {
            found.into_iter().map(|customer| customer.external_id).collect()
        };
        let all = CustomerFilter::default();
        let first = unit!(db, [all], tx => list(tx, "p", &all, "", 2).await);
        assert_eq!(names(first), ["c", "b"]);
        let rest = unit!(db, [all], tx => list(tx, "p", &all, "cus_b", 2).await);
        assert_eq!(names(rest), ["a"]);
        let filters = [
            CustomerFilter { external_id: Some("b".to_owned()), ..CustomerFilter::default() },
            CustomerFilter { sub: Some("usr_b".to_owned()), status: Some("active".to_owned()), ..all },
        ];
        for filter in filters {
            assert_eq!(names(unit!(db, [filter], tx => list(tx, "p", &filter, "", 9).await)), ["b"]);
        }
    }
}
