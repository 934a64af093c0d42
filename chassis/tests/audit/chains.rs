//! Chains: sealed in order, found out when touched.

use chassis::audit::AuditFilter;

use crate::world::World;

#[tokio::test]
async fn each_node_has_a_chain_without_gaps_that_verifies() {
    for world in World::both().await {
        for n in 0..3 {
            let rows = ["a", "b"].map(|node| world.change(node, &format!("cli_{n}")));
            world.commit(rows.to_vec()).await;
            world.sealer().seal().await.unwrap();
        }
        let report = world.verify().await;
        assert_eq!(report.problems, Vec::<String>::new());
        let ends: Vec<_> = report.chains.iter().map(|c| (c.chain.as_str(), c.rows, c.last_seq)).collect();
        assert_eq!(ends, [("a", 3, 3), ("b", 3, 3)]);
        assert_eq!(report.unsealed, 0);
    }
}

#[tokio::test]
async fn more_rows_than_a_pass_takes_are_sealed_at_once() {
    for world in World::both().await {
        world.sealed(600).await;
        let report = world.verify().await;
        assert!(report.is_sound(), "{report}");
        assert_eq!(report.chains[0].last_seq, 600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sealers_at_once_give_each_number_once() {
    for world in World::both().await {
        world.commit((0..300).map(|n| world.change("a", &format!("cli_{n}"))).collect()).await;
        let (one, other) = (world.sealer(), world.other_sealer());
        let (first, second) = tokio::join!(one.seal(), other.seal());
        first.unwrap();
        second.unwrap();
        let report = world.verify().await;
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.chains[0].last_seq, report.unsealed), (300, 0));
    }
}

#[tokio::test]
async fn rows_of_a_node_that_died_before_sealing_are_sealed_by_another() {
    for world in World::both().await {
        world.commit(vec![world.change("dead", "cli_1")]).await;
        assert_eq!(world.verify().await.unsealed, 1);
        world.other_sealer().seal().await.unwrap();
        let report = world.verify().await;
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.chains[0].chain.as_str(), report.unsealed), ("dead", 0));
    }
}

#[tokio::test]
async fn an_edited_row_is_found() {
    for world in World::both().await {
        world.sealed(5).await;
        world.tamper("UPDATE audit_event SET client_id = 'cli_innocent' WHERE seq = 3").await;
        let report = world.verify().await;
        assert_eq!(report.problems.len(), 1, "{report}");
        assert!(report.problems[0].contains("row 3 ("), "{report}");
        assert!(report.problems[0].contains("not what was sealed"), "{report}");
    }
}

#[tokio::test]
async fn a_deleted_row_is_found() {
    for world in World::both().await {
        world.sealed(5).await;
        world.tamper("DELETE FROM audit_event WHERE seq = 3").await;
        assert!(world.verify().await.problems[0].contains("rows 3 to 3 are missing"));
        world.tamper("DELETE FROM audit_event WHERE seq = 5").await;
        assert!(world.verify().await.problems[1].contains("rows 5 to 5 are missing at the end"));
        world.tamper("DELETE FROM audit_event WHERE seq = 1").await;
        assert!(world.verify().await.problems[0].contains("rows 1 to 1 are missing"));
    }
}

const COPY: &str = "INSERT INTO audit_event (audit_id, chain, seq, chain_hash, partner_id, client_id, sub, action,
        object_id, outcome, error_id, occurred_at_s, details, open_until_s, expires_at_s)
    SELECT 'aud_planted', chain, 6, chain_hash, partner_id, client_id, sub, action, object_id, outcome, error_id,
        occurred_at_s, details, open_until_s, expires_at_s FROM audit_event WHERE seq = 5";

#[tokio::test]
async fn an_inserted_row_is_found_at_the_end_and_between_others() {
    for world in World::both().await {
        world.sealed(5).await;
        world.tamper(COPY).await;
        let report = world.verify().await;
        assert!(
            report.problems.iter().any(|p| p.contains("row 6 (aud_planted) is not what was sealed")),
            "{report}"
        );
        assert!(report.problems.iter().any(|p| p.contains("goes on after its end")), "{report}");
        world.tamper("DELETE FROM audit_event WHERE seq = 4").await;
        world.tamper("UPDATE audit_event SET seq = 4 WHERE seq = 6").await;
        let report = world.verify().await;
        assert!(report.problems[0].contains("row 4 (aud_planted) is not what was sealed"), "{report}");
    }
}

#[tokio::test]
async fn two_rows_that_changed_places_are_found() {
    for world in World::both().await {
        world.sealed(5).await;
        world.tamper("UPDATE audit_event SET seq = 99 WHERE seq = 2").await;
        world.tamper("UPDATE audit_event SET seq = 2 WHERE seq = 3").await;
        world.tamper("UPDATE audit_event SET seq = 3 WHERE seq = 99").await;
        let report = world.verify().await;
        assert!(report.problems[0].contains("row 2 ("), "{report}");
        assert!(report.problems[1].contains("row 3 ("), "{report}");
    }
}

#[tokio::test]
async fn a_chain_whose_end_was_forgotten_is_found() {
    for world in World::both().await {
        world.sealed(5).await;
        world.tamper("DELETE FROM audit_chain").await;
        assert_eq!(world.verify().await.problems, ["chain a: 5 rows and no end"]);
    }
}

#[tokio::test]
async fn the_newest_rows_come_first_and_pages_go_on_where_the_last_ended() {
    for world in World::both().await {
        for n in 0..5 {
            world.commit(vec![world.change("a", &format!("cli_{n}"))]).await;
            world.clock.advance(1);
        }
        let all = world.rows(AuditFilter::default()).await;
        let objects: Vec<_> = all.iter().map(|row| row.object_id.as_str()).collect();
        assert_eq!(objects, ["cli_4", "cli_3", "cli_2", "cli_1", "cli_0"]);
        let after = AuditFilter { after: Some(all[3].audit_id.clone()), ..AuditFilter::default() };
        assert_eq!(world.rows(after).await, all[4..]);
        let object = AuditFilter { object_id: Some("cli_2".to_owned()), ..AuditFilter::default() };
        assert_eq!(world.rows(object).await, all[2..3]);
        let foreign = AuditFilter { partner_id: Some("par_other".to_owned()), ..AuditFilter::default() };
        assert_eq!(world.rows(foreign).await, []);
    }
}

#[tokio::test]
async fn a_refused_unit_leaves_no_row() {
    for world in World::both().await {
        let row = world.change("a", "cli_1");
        let undone = world.db.write_or_undo(move |tx| {
            let row = row.clone();
            Box::pin(async move {
                chassis::audit::insert_audit(tx, &[row]).await?;
                Ok(chassis::Outcome::Undo(()))
            })
        });
        undone.await.unwrap();
        assert_eq!(world.rows(AuditFilter::default()).await, []);
    }
}
