//! Table `entity`.

use chassis::Db;
use chassis::testing::TestDatabase;
use resource_api::domain::customer::CustomerStatus;
use resource_api::domain::entity::{Entity, EntityKind, EntityStatus};
use resource_api::ledger;
use resource_api::store::entities::{NewEntity, find, find_many, insert, list};

use crate::{NOW, customer, opened, unit};

fn new_wallet(name: &str, owner: &str) -> NewEntity {
    NewEntity {
        partner_id: "p".to_owned(),
        entity_id: format!("ent_{name}"),
        kind: EntityKind::Customer,
        owner_id: owner.to_owned(),
        label: Some(name.to_owned()),
        currency: "EUR".to_owned(),
        now: NOW,
    }
}

async fn add(db: &Db, new: NewEntity) -> bool {
    unit!(db, [new], tx => {
        let made = insert(tx, &new).await?;
        ledger::open_entity_account(tx, &new.partner_id, &new.entity_id, &new.currency, NOW).await?;
        Ok(made)
    })
}

#[tokio::test]
async fn a_wallet_knows_its_owner_and_has_an_empty_account() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        customer(&db, "p", "ann").await;
        assert!(add(&db, new_wallet("main", "cus_ann")).await);
        let found = unit!(db, [], tx => find(tx, "p", "ent_main").await).unwrap();
        assert_eq!(found.status, EntityStatus::Activated);
        assert_eq!(
            (found.owner_sub.as_deref(), found.owner_status),
            (Some("usr_ann"), Some(CustomerStatus::Active))
        );
        assert!(found.belongs_to("usr_ann") && !found.belongs_to("usr_bob"));
        let wanted = [("p".to_owned(), ledger::entity_account("ent_main"))];
        let accounts = unit!(db, [wanted], tx => ledger::find_accounts(tx, &wanted).await);
        assert_eq!((accounts[0].posted, accounts[0].min_balance, accounts[0].last_seq), (0, Some(0), 0));
        assert_eq!(unit!(db, [], tx => find(tx, "q", "ent_main").await), None);
    }
}

#[tokio::test]
async fn a_label_is_unique_among_the_owners_entities() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let twin = NewEntity { entity_id: "ent_2".to_owned(), ..new_wallet("main", "cus_ann") };
        let of_another = NewEntity { entity_id: "ent_3".to_owned(), ..new_wallet("main", "cus_bob") };
        let unnamed =
            |id: &str| NewEntity { entity_id: id.to_owned(), label: None, ..new_wallet("x", "cus_ann") };
        assert!(add(&db, new_wallet("main", "cus_ann")).await);
        assert!(!add(&db, twin).await);
        assert!(add(&db, of_another).await);
        assert!(add(&db, unnamed("ent_4")).await && add(&db, unnamed("ent_5")).await);
    }
}

#[tokio::test]
async fn entities_are_listed_by_owner_within_their_tenant() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        for name in ["ann", "bob"] {
            customer(&db, "p", name).await;
        }
        for (name, owner) in [("1", "cus_ann"), ("2", "cus_bob"), ("3", "cus_ann")] {
            add(&db, new_wallet(name, owner)).await;
        }
        let ids = |found: Vec<Entity>| -> Vec<String> {
            found.into_iter().map(|entity| entity.entity_id).collect()
        };
        let cases = [
            (None, "", vec!["ent_3", "ent_2", "ent_1"]),
            (None, "ent_3", vec!["ent_2", "ent_1"]),
            (Some("cus_ann"), "", vec!["ent_3", "ent_1"]),
            (Some("cus_none"), "", vec![]),
        ];
        for (owner, after, expected) in cases {
            assert_eq!(ids(unit!(db, [], tx => list(tx, "p", owner, after, 9).await)), expected);
        }
        assert!(unit!(db, [], tx => list(tx, "q", None, "", 9).await).is_empty());
        let some =
            unit!(db, [], tx => find_many(tx, &[("p", "ent_1"), ("p", "ent_9"), ("q", "ent_2")]).await);
        assert_eq!(ids(some), ["ent_1"]);
    }
}
