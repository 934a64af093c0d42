//! Table `customer_pii`: sealed at rest, changed only when something is new.

use std::collections::BTreeMap;

use chassis::testing::TestDatabase;
use chassis::{Db, SeededEntropy, on, sqlx, while_doing};
use keys::seal::{MasterKey, MasterKeys};
use resource_api::crypto::vault::{SealedPii, Vault};
use resource_api::domain::customer::Customer;
use resource_api::domain::kyc::KycStatus;
use resource_api::domain::pii::{Pii, PiiField};
use resource_api::store::kyc::take_due_jobs;
use resource_api::store::pii::{find_sealed, update_pii};

use crate::{NOW, customer, opened, unit};

fn vault() -> Vault {
    Vault::new(MasterKeys::new(MasterKey::new([7; 32]), Vec::new()))
}

fn sealed(customer: &Customer, fields: &[(PiiField, &str)]) -> SealedPii {
    let fields: BTreeMap<PiiField, String> =
        fields.iter().map(|(field, value)| (*field, (*value).to_owned())).collect();
    vault()
        .seal(&customer.partner_id, &customer.sub, &Pii::from_fields(fields), &SeededEntropy::new(1))
        .unwrap()
}

async fn store(db: &Db, customer: &Customer, pii: &SealedPii) -> (bool, Customer) {
    unit!(db, [customer, pii], tx => {
        let mut customer = customer;
        let changed = update_pii(tx, &mut customer, &pii, NOW).await?;
        Ok((changed, customer))
    })
}

#[tokio::test]
async fn only_what_is_new_raises_the_version_and_queues_a_look() {
    use PiiField::{FamilyName, GivenName};
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let registered = customer(&db, "p", "ann").await;
        let first = sealed(&registered, &[(GivenName, "Ann"), (FamilyName, "Smith")]);
        let (changed, known) = store(&db, &registered, &first).await;
        assert!(changed);
        assert_eq!((known.pii_version, known.kyc_status), (1, KycStatus::Processing));
        let before = db.statements();
        assert!(!store(&db, &known, &first).await.0);
        assert_eq!(db.statements(), before, "an equal submission costs no statement");
        // A part of what is known, in another submission: compared field by field, nothing is new.
        let part = sealed(&known, &[(GivenName, "Ann")]);
        let (changed, same) = store(&db, &known, &part).await;
        assert!(!changed);
        assert_eq!(same.pii_version, 1);
        let married = sealed(&known, &[(FamilyName, "Jones")]);
        let (changed, known) = store(&db, &known, &married).await;
        assert!(changed);
        assert_eq!(known.pii_version, 2);
        let jobs = unit!(db, [], tx => take_due_jobs(tx, NOW, NOW.plus(15), 9).await);
        assert_eq!(jobs.len(), 1);
        assert_eq!((jobs[0].pii_version, jobs[0].identity_changed), (2, true));
    }
}

#[tokio::test]
async fn fields_told_for_the_first_time_are_no_change_of_identity() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let registered = customer(&db, "p", "ann").await;
        let first = sealed(&registered, &[(PiiField::GivenName, "Ann")]);
        let (_, known) = store(&db, &registered, &first).await;
        let more = sealed(&known, &[(PiiField::FamilyName, "Smith"), (PiiField::Gender, "f")]);
        store(&db, &known, &more).await;
        let jobs = unit!(db, [], tx => take_due_jobs(tx, NOW, NOW.plus(15), 9).await);
        assert!(!jobs[0].identity_changed);
    }
}

#[tokio::test]
async fn stored_fields_open_for_their_subject_and_nothing_is_readable_at_rest() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let registered = customer(&db, "p", "ann").await;
        let pii =
            sealed(&registered, &[(PiiField::GivenName, "Canary"), (PiiField::BirthDate, "1990-05-01")]);
        store(&db, &registered, &pii).await;
        let stored = unit!(db, [], tx => find_sealed(tx, "p", "usr_ann").await);
        let opened = vault().open("p", "usr_ann", &stored).unwrap();
        assert_eq!(opened.get(PiiField::GivenName), Some("Canary"));
        assert_eq!(opened.get(PiiField::BirthDate), Some("1990-05-01"));
        assert!(stored.iter().all(|(_, text)| !text.contains("Canary") && !text.contains("1990")));
        assert!(unit!(db, [], tx => find_sealed(tx, "q", "usr_ann").await).is_empty());
        let rows: Vec<(String, String)> = unit!(db, [], tx => {
            on!(tx, conn => sqlx::query_as("SELECT sealed, value_mac FROM customer_pii").fetch_all(conn).await)
                .map_err(while_doing("read rows"))
        });
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|(_, mac)| mac.len() == 43));
    }
}

#[tokio::test]
async fn the_residence_follows_the_first_address() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let registered = customer(&db, "p", "ann").await;
        assert_eq!(registered.country.as_deref(), Some("BE"));
        let addresses = r#"[{"line1":"1","city":"Kyiv","country":"UA"}]"#;
        let moved = sealed(&registered, &[(PiiField::Addresses, addresses)]);
        let (_, known) = store(&db, &registered, &moved).await;
        assert_eq!(known.country.as_deref(), Some("UA"));
        let named = sealed(&known, &[(PiiField::GivenName, "Ann")]);
        let (_, known) = store(&db, &known, &named).await;
        assert_eq!(known.country.as_deref(), Some("UA"));
    }
}
