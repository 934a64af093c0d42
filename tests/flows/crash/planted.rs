//! The harness proves itself: three mistakes that a payments API must not make are planted in the running process, and
//! each is found. A harness that finds nothing in a broken build says nothing about a sound one.

use std::sync::Arc;

use chassis::db::Engine;
use futures_util::future::join_all;

use super::auditor::Auditor;
use super::history::{History, Operation};
use super::order_in;
use super::rig::Rig;

/// One-time tokens that are raced for until the first is spent twice.
const TOKENS: usize = 10;
/// Apps that race for each.
const RIVALS: usize = 8;
/// Kills until a lost acknowledgement must have been seen.
const KILLS: u32 = 3;

fn names(violations: &[String], invariant: &str) -> bool {
    violations.iter().any(|violation| violation.starts_with(invariant))
}

both_engines! {
    async fn a_token_consumed_by_reading_first_and_writing_then_is_caught(engine: Engine) {
        let rig = Rig::on(engine).await;
        rig.plant("read_then_write");
        let running = rig.start().await;
        let history = History::in_file(&rig.beside("history.jsonl"));
        let auditor = Auditor::new(&rig, &history);
        let mut wrong = Vec::new();
        for round in 0..TOKENS {
            let name = format!("raced{round}");
            let wallet = running.wallet(&name).await.expect("a wallet");
            let token = running.one_time(&name).await.expect("a one-time token");
            let rivals = (0..RIVALS).map(|rival| {
                let operation = Operation::order(&wallet, &format!("{name}-{rival}"), 100, "tok_success");
                history.send(&running, operation.with_token(&token))
            });
            join_all(rivals).await;
            wrong = auditor.audit(&running).await;
            if names(&wrong, "INV4") {
                return;
            }
        }
        panic!("{TOKENS} tokens were raced for, and nothing was noticed but {wrong:?}");
    }

    async fn an_answer_before_the_commit_is_caught(engine: Engine) {
        let rig = Rig::on(engine).await;
        let history = History::in_file(&rig.beside("history.jsonl"));
        let auditor = Auditor::new(&rig, &history);
        let mut wrong = Vec::new();
        for kill in 0..KILLS {
            let running = rig.start().await;
            let (payer, payee) = (format!("payer{kill}"), format!("payee{kill}"));
            let [payer, payee] = [running.wallet(&payer).await, running.wallet(&payee).await];
            let (payer, payee) = (payer.expect("a wallet"), payee.expect("a wallet"));
            let purse = format!("purse{kill}");
            history.insist(&running, Operation::order(&payer, &purse, 1_000, "tok_success")).await;
            order_in(&running.dev, &running.token, &purse, &["completed"]).await;
            rig.plant("answer_before_commit");
            let transfer = Operation::transfer(&payer, &payee, &format!("believed{kill}"), 10);
            let answer = history.insist(&running, transfer).await;
            running.dev.kill_now();
            assert_eq!(answer.status, 201, "{}", answer.body);
            drop(running);
            rig.lift("answer_before_commit");
            let running = rig.start().await;
            wrong = auditor.settle(&running, (0..history.len()).collect()).await;
            if names(&wrong, "INV3") {
                return;
            }
            running.dev.kill_now();
        }
        panic!("{KILLS} kills right after an acknowledgement, and nothing was noticed but {wrong:?}");
    }

    async fn an_event_outside_the_transaction_is_caught(engine: Engine) {
        let rig = Rig::on(engine).await;
        rig.plant("event_outside");
        let running = rig.start().await;
        let history = Arc::new(History::in_file(&rig.beside("history.jsonl")));
        let auditor = Auditor::new(&rig, &history);
        let payer = running.wallet("payer").await.expect("a wallet");
        let payee = running.wallet("payee").await.expect("a wallet");
        history.insist(&running, Operation::order(&payer, "purse", 1_000, "tok_success")).await;
order_in(&running.dev, &running.token, "purse", &["completed"]).await;
        rig.arm("once.after_commit");
        let held = {
            let (running, history) = (running.clone(), Arc::clone(&history));
            let transfer = Operation::transfer(&payer, &payee, "told", 10);
            tokio::spawn(async move { history.send(&running, transfer).await })
        };
        rig.held("once.after_commit").await;
        running.dev.kill_now();
        assert_eq!(held.await.expect("a task"), None);
        drop(running);
        rig.disarm();
        let running = rig.start().await;
        let mut wrong = auditor.settle(&running, (0..history.len()).collect()).await;
        wrong.extend(auditor.audit(&running).await);
        assert!(names(&wrong, "INV6"), "{wrong:?}");
    }
}
