//! Issued tokens and refusals: noted without waiting, written in groups, bounded, kept for 7 days.

use chassis::audit::{
    AuditFilter, AuditQueue, AuditRow, IssuedToken, REQUEST_LIFE_S, RefusedRequest, find_audit_of_request,
};
use serde_json::Value;

use crate::world::World;

fn refusal(client_id: &str, code: &'static str, n: usize) -> RefusedRequest {
    RefusedRequest {
        error_id: format!("err_{client_id}_{n:032x}"),
        method: "POST",
        path: "/oauth2/token".to_owned(),
        status: 401,
        code,
        reason: "wrong secret or unknown client".to_owned(),
        partner_id: "par_acme".to_owned(),
        client_id: client_id.to_owned(),
        sub: String::new(),
    }
}

fn token<'t>(client_id: &'t str, jti: &'t str, sub: &'t str) -> IssuedToken<'t> {
    IssuedToken {
        jti,
        sub,
        client_id,
        partner_id: "par_acme",
        kind: "client",
        audience: "http://localhost:8081",
    }
}

fn details(row: &AuditRow) -> Value {
    serde_json::from_str(&row.details).unwrap()
}

#[tokio::test]
async fn a_refusal_is_found_by_its_error_id_with_its_private_reason() {
    for world in World::both().await {
        let queue = AuditQueue::new("authz", world.platform.clone());
        queue.refused(refusal("cli_1", "invalid_client", 7));
        queue.flush(&world.db).await.unwrap();
        let error_id = refusal("cli_1", "invalid_client", 7).error_id;
        let found = world.db.read(move |tx| {
            let error_id = error_id.clone();
            Box::pin(async move { find_audit_of_request(tx, &error_id).await })
        });
        let found = found.await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].action.as_str(), found[0].outcome.as_str()), ("request.refused", "refused"));
        assert_eq!(details(&found[0])["reason"], "wrong secret or unknown client");
        assert_eq!(details(&found[0])["code"], "invalid_client");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_twenty_rows_and_a_count_that_grows_until_the_minute_is_over() {
    for world in World::both().await {
        let queue = AuditQueue::new("authz", world.platform.clone());
        for n in 0..5_000 {
            queue.refused(refusal("cli_1", "invalid_client", n));
        }
        queue.flush(&world.db).await.unwrap();
        for n in 0..5_000 {
            queue.refused(refusal("cli_1", "invalid_client", n));
        }
        queue.refused(refusal("cli_2", "invalid_client", 0));
        queue.flush(&world.db).await.unwrap();
        let count_of =
            |rows: &[AuditRow], action: &str| rows.iter().filter(|row| row.action == action).count();
        let rows = world.rows(AuditFilter::default()).await;
        assert_eq!((count_of(&rows, "request.refused"), count_of(&rows, "requests.refused")), (21, 1));
        let count = rows.iter().find(|row| row.action == "requests.refused").unwrap();
        assert_eq!(details(count)["more"], 9_980);
        world.sealer().seal().await.unwrap();
        assert_eq!(world.verify().await.unsealed, 1, "the count may still grow");
        world.clock.advance(71);
        queue.refused(refusal("cli_1", "invalid_client", 1));
        queue.flush(&world.db).await.unwrap();
        world.sealer().seal().await.unwrap();
        let report = world.verify().await;
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.unsealed, report.chains[0].last_seq), (0, 23));
    }
}

#[tokio::test]
async fn a_count_of_the_minute_before_is_not_lost_when_the_next_begins() {
    for world in World::both().await {
        let queue = AuditQueue::new("authz", world.platform.clone());
        for n in 0..30 {
            queue.refused(refusal("cli_1", "invalid_client", n));
        }
        world.clock.advance(60);
        queue.refused(refusal("cli_1", "invalid_client", 31));
        queue.flush(&world.db).await.unwrap();
        let rows = world.rows(AuditFilter::default()).await;
        let count = rows.iter().find(|row| row.action == "requests.refused").unwrap();
        assert_eq!(details(count)["more"], 10);
        assert_eq!(rows.len(), 22);
    }
}

/// A million refusals of ten thousand clients, and a hundred thousand tokens, with a writer that does not write.
#[tokio::test]
async fn memory_stays_flat_under_a_flood_that_is_not_written() {
    let world = World::both().await.remove(0);
    let queue = AuditQueue::new("authz", world.platform.clone());
    let clients: Vec<String> = (0..10_000).map(|n| format!("cli_{n}")).collect();
    let mut after_first = 0;
    for round in 0..100_usize {
        for (n, client_id) in clients.iter().enumerate() {
            queue.refused(refusal(client_id, "invalid_client", n));
        }
        for _ in 0..1_000 {
            queue.issued(token("cli_1", "tok_1", "cli_1"));
        }
        if round == 24 {
            after_first = queue.waiting();
        }
    }
    assert_eq!(queue.waiting(), after_first, "what waits does not grow");
    assert!(after_first <= 1_024 * 2 + 1 + 20_000, "{after_first}");
    queue.flush(&world.db).await.unwrap();
    let rows = world.rows(AuditFilter::default()).await;
    assert!(rows.len() <= 1_000, "a page");
    let other = AuditFilter { client_id: Some(String::new()), ..AuditFilter::default() };
    let other = world.rows(other).await;
    assert_eq!(details(&other[0])["code"], "other", "clients beyond the bound share one count");
    assert_eq!(queue.waiting(), 1_024 + 1, "the counts of the minute");
}

#[tokio::test]
async fn tokens_of_a_client_issued_within_a_second_are_one_row() {
    for world in World::both().await {
        let queue = AuditQueue::new("authz", world.platform.clone());
        for jti in ["tok_1", "tok_2", "tok_3"] {
            queue.issued(token("cli_1", jti, "cli_1"));
        }
        queue.issued(IssuedToken { kind: "one_time", ..token("cli_1", "tok_4", "usr_1") });
        queue.flush(&world.db).await.unwrap();
        let rows = world.rows(AuditFilter::default()).await;
        assert_eq!(rows.len(), 2);
        let several = rows.iter().find(|row| row.object_id.is_empty()).unwrap();
        assert_eq!(details(several)["tokens"], serde_json::json!(["tok_1", "tok_2", "tok_3"]));
        let single = rows.iter().find(|row| row.object_id == "tok_4").unwrap();
        assert_eq!(details(single)["tokens"], serde_json::json!([{ "jti": "tok_4", "sub": "usr_1" }]));
        assert_eq!((single.client_id.as_str(), single.partner_id.as_str()), ("cli_1", "par_acme"));
    }
}

#[tokio::test]
async fn what_cannot_be_written_waits_for_the_next_time() {
    for world in World::both().await {
        let queue = AuditQueue::new("authz", world.platform.clone());
        queue.refused(refusal("cli_1", "invalid_client", 1));
        world.tamper("ALTER TABLE audit_event RENAME TO hidden").await;
        queue.flush(&world.db).await.unwrap_err();
        queue.refused(refusal("cli_1", "invalid_client", 2));
        world.tamper("ALTER TABLE hidden RENAME TO audit_event").await;
        queue.flush(&world.db).await.unwrap();
        queue.flush(&world.db).await.unwrap();
        assert_eq!(world.rows(AuditFilter::default()).await.len(), 2);
    }
}

#[tokio::test]
async fn requests_are_removed_after_seven_days_and_the_chain_still_verifies() {
    for world in World::both().await {
        world.sealed(3).await;
        let queue = AuditQueue::new("authz", world.platform.clone());
        let note = async |client_id: &str| {
            queue.refused(refusal(client_id, "invalid_client", 1));
            queue.flush(&world.db).await.unwrap();
            world.sealer().seal().await.unwrap();
        };
        note("cli_1").await;
        note("cli_2").await;
        world.clock.advance(86_400);
        note("cli_3").await;
        assert_eq!(world.sealer().remove_expired().await.unwrap(), 0);
        world.clock.advance(REQUEST_LIFE_S - 86_400);
        assert_eq!(world.sealer().remove_expired().await.unwrap(), 2);
        let report = world.verify().await;
        assert!(report.is_sound(), "{report}");
        let kept: Vec<_> = report.chains.iter().map(|chain| (chain.first_seq, chain.last_seq)).collect();
        assert_eq!(kept, [(1, 3), (3, 3)], "changes are kept");
        world.tamper("UPDATE audit_event SET sub = 'usr_x' WHERE seq = 3 AND expires_at_s IS NOT NULL").await;
        assert_eq!(world.verify().await.problems.len(), 1);
    }
}
