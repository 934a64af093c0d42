//! Table `transfer`.

use chassis::testing::TestDatabase;
use resource_api::domain::transfer::Transfer;
use resource_api::store::transfers::{TransferFilter, find, insert, list};

use crate::{NOW, opened, unit};

fn transfer(number: u8, from: &str, to: &str, reference: Option<&str>) -> Transfer {
    Transfer {
        partner_id: "p".to_owned(),
        transfer_id: format!("trf_{number}"),
        mode: "fast".to_owned(),
        source_entity_id: "ent_1".to_owned(),
        destination_entity_id: "ent_2".to_owned(),
        source_owner_id: from.to_owned(),
        destination_owner_id: to.to_owned(),
        amount: 5,
        currency: "EUR".to_owned(),
        category: Some("20".to_owned()),
        client_reference: reference.map(str::to_owned),
        initiator_client_id: "backend".to_owned(),
        initiator_sub: "usr_ann".to_owned(),
        state: "completed".to_owned(),
        ledger_txn_id: format!("txn_{number}"),
        created_at: NOW,
        completed_at: Some(NOW),
    }
}

#[tokio::test]
async fn a_transfer_is_stored_as_it_is_and_found_by_its_tenant() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let made = transfer(1, "cus_a", "cus_b", Some("r-1"));
        assert!(unit!(db, [made], tx => insert(tx, &made).await));
        assert_eq!(unit!(db, [], tx => find(tx, "p", "trf_1").await), Some(made));
        assert_eq!(unit!(db, [], tx => find(tx, "q", "trf_1").await), None);
    }
}

#[tokio::test]
async fn a_partners_reference_counts_once() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let made = transfer(1, "cus_a", "cus_b", Some("r-1"));
        let twin = transfer(2, "cus_a", "cus_b", Some("r-1"));
        let elsewhere = Transfer { partner_id: "q".to_owned(), ..twin.clone() };
        let unnamed = [transfer(3, "cus_a", "cus_b", None), transfer(4, "cus_a", "cus_b", None)];
        assert!(unit!(db, [made], tx => insert(tx, &made).await));
        assert!(!unit!(db, [twin], tx => insert(tx, &twin).await));
        assert!(unit!(db, [elsewhere], tx => insert(tx, &elsewhere).await));
        for one in unnamed {
            assert!(unit!(db, [one], tx => insert(tx, &one).await));
        }
    }
}

#[tokio::test]
async fn a_list_shows_what_left_or_reached_an_owner() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        for made in [
            transfer(1, "cus_a", "cus_b", Some("r-1")),
            transfer(2, "cus_b", "cus_c", None),
            transfer(3, "cus_c", "cus_a", None),
        ] {
            assert!(unit!(db, [made], tx => insert(tx, &made).await));
        }
        let cases = [
            (None, None, "", vec!["trf_3", "trf_2", "trf_1"]),
            (Some("cus_a"), None, "", vec!["trf_3", "trf_1"]),
            (Some("cus_a"), None, "trf_3", vec!["trf_1"]),
            (None, Some("r-1"), "", vec!["trf_1"]),
            (Some("cus_b"), Some("r-1"), "", vec!["trf_1"]),
            (Some("cus_c"), Some("r-1"), "", vec![]),
        ];
        for (owner, reference, after, expected) in cases {
            let filter = TransferFilter {
                owner_id: owner.map(str::to_owned),
                client_reference: reference.map(str::to_owned),
            };
            let found = unit!(db, [filter], tx => list(tx, "p", &filter, after, 9).await);
            let ids: Vec<String> = found.into_iter().map(|transfer| transfer.transfer_id).collect();
            assert_eq!(ids, expected);
        }
    }
}
