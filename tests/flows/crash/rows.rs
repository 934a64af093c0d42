//! The crash table of docs/reliability.md, row by row: the real process is held at the point, killed with SIGKILL and
//! started again on the same data; its client sends the same requests again with the same keys and tokens; then the
//! invariants are checked.

use std::sync::Arc;
use std::time::Duration;

use chassis::db::Engine;
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use tokio::task::JoinHandle;

use super::auditor::Auditor;
use super::history::{History, Operation};
use super::order_in;
use super::rig::{Rig, Running};
use crate::process::{Answer, Wallet};

/// Between which steps the process dies, and the point at which it is held. The last one keeps an SQLite file's one
/// writer busy, so it is reached last.
const POINTS: [(&str, &str); 6] = [
    ("row1-before-a", "fiat_in.before_a"),
    ("row2-after-a", "fiat_in.after_a"),
    ("row3-after-b0", "fiat_in.after_b0"),
    ("row5-after-call", "fiat_in.after_call"),
    ("row6-after-c", "fiat_in.after_c"),
    ("row1-in-a", "fiat_in.in_a"),
];

/// A stage with a history that begins.
pub(super) struct Stage<'a> {
    rig: &'a Rig,
    history: &'a History,
    auditor: Auditor<'a>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(rig: &'a Rig, history: &'a History) -> Self {
        Self { rig, history, auditor: Auditor::new(rig, history) }
    }

    /// Kills the process, looks at what it left, and starts another.
    pub(super) async fn restart(&self, running: Running) -> Running {
        running.dev.kill_now();
        drop(running);
        self.rig.disarm();
        assert_eq!(self.rig.ledger_violations(), Vec::<String>::new());
        self.rig.start().await
    }

    /// The client sends everything again; then nothing may be wrong.
    pub(super) async fn assert_sound(&self, running: &Running) {
        let mut wrong = self.auditor.settle(running, (0..self.history.len()).collect()).await;
        wrong.extend(self.auditor.audit(running).await);
        assert_eq!(wrong, Vec::<String>::new());
    }
}

/// Sends in a task of its own: whoever is held does not come back.
pub(super) fn send(
    running: &Running,
    history: &Arc<History>,
    operation: Operation,
) -> JoinHandle<Option<Answer>> {
    let (running, history) = (running.clone(), Arc::clone(history));
    tokio::spawn(async move { history.send(&running, operation).await })
}

pub(super) fn history(rig: &Rig) -> Arc<History> {
    Arc::new(History::in_file(&rig.beside("history.jsonl")))
}

pub(super) async fn wallets(running: &Running, names: &[&str]) -> Vec<Wallet> {
    let made = join_all(names.iter().map(|name| running.wallet(name))).await;
    made.into_iter().map(|wallet| wallet.expect("a wallet")).collect()
}

/// How an order of a reference stands; empty when there is none.
pub(super) async fn state(running: &Running, reference: &str) -> String {
    let orders = running.list("/v1/fiat-ins").await;
    let order = orders.into_iter().find(|order| order["client_reference"] == reference);
    order.map(|order| order["state"].as_str().expect("a state").to_owned()).unwrap_or_default()
}

both_engines! {
    async fn rows_1_2_3_5_6_an_order_killed_at_any_point_is_finished_once_with_the_same_token_or_key(engine: Engine) {
        let rig = Rig::on(engine).await;
        let history = history(&rig);
        let stage = Stage::new(&rig, &history);
        let running = rig.start().await;
        let made = wallets(&running, &POINTS.map(|(name, _)| name)).await;
        let mut held = Vec::new();
        for (number, ((name, point), wallet)) in POINTS.iter().zip(&made).enumerate() {
            let mut operation = Operation::order(wallet, name, 1_000, "tok_success");
            if number % 2 == 0 {
                operation = operation.with_token(&running.one_time(name).await.expect("a one-time token"));
            }
            rig.arm(point);
            held.push(send(&running, &history, operation));
            rig.held(point).await;
        }
        let running = stage.restart(running).await;
        for answer in join_all(held).await {
            assert_eq!(answer.expect("a task"), None, "no answer arrived");
        }
        for (name, expected) in [
            ("row1-before-a", [""].as_slice()),
            ("row1-in-a", &[""]),
            ("row2-after-a", &["processing", "completed"]),
            ("row3-after-b0", &["processing", "completed"]),
            ("row5-after-call", &["processing", "completed"]),
            ("row6-after-c", &["completed"]),
        ] {
            let state = state(&running, name).await;
            assert!(expected.contains(&state.as_str()), "{name} is {state:?}");
        }
        stage.assert_sound(&running).await;
        for (name, _) in POINTS {
            assert_eq!(state(&running, name).await, "completed", "{name}");
        }
    }

    async fn rows_4_5_an_order_whose_gateway_stayed_silent_or_whose_result_was_not_written_is_finished_once(
        engine: Engine
    ) {
        let rig = Rig::on(engine).await;
        let history = history(&rig);
        let stage = Stage::new(&rig, &history);
        let running = rig.start().await;
        let names = ["row4-silent", "row4-lost", "row5-in-c"];
        let made = wallets(&running, &names).await;
        let silent =
            send(&running, &history, Operation::order(&made[0], names[0], 700, "tok_timeout_then_success"));
        order_in(&running.dev, &running.token, names[0], &["processing"]).await;
        let lost = Operation::order(&made[1], names[1], 800, "tok_success_then_lost_answer");
        let lost = history.insist(&running, lost).await;
        assert_eq!(lost.status, 202, "what the gateway did is unknown: {}", lost.body);
        rig.arm("fiat_in.in_c");
        let unwritten = send(&running, &history, Operation::order(&made[2], names[2], 900, "tok_success"));
        rig.held("fiat_in.in_c").await;
        let running = stage.restart(running).await;
        assert_eq!(silent.await.expect("a task"), None);
        assert_eq!(unwritten.await.expect("a task"), None);
        // Rolled back; a machine that is slow to start it again may have gone on already. Or the point held what the
        // silent gateway's order came to, and this one had not been recorded.
        let found = state(&running, names[2]).await;
        assert!(["", "processing", "completed"].contains(&found.as_str()), "it is {found:?}");
        stage.assert_sound(&running).await;
        for name in names {
            assert_eq!(state(&running, name).await, "completed", "{name}");
        }
    }

    async fn a_transfer_killed_before_or_after_its_commit_is_booked_once(engine: Engine) {
        let rig = Rig::on(engine).await;
        let history = history(&rig);
        let stage = Stage::new(&rig, &history);
        let mut running = rig.start().await;
        let made = wallets(&running, &["payer", "payee"]).await;
        let paid = history.insist(&running, Operation::order(&made[0], "purse", 1_000, "tok_success")).await;
        assert!(matches!(paid.status, 201 | 202), "{}", paid.body);
        order_in(&running.dev, &running.token, "purse", &["completed"]).await;
        for (point, booked) in [("transfer.after_commit", 1), ("transfer.in_unit", 1)] {
            rig.arm(point);
            let lost = send(&running, &history, Operation::transfer(&made[0], &made[1], point, 100));
            rig.held(point).await;
            running = stage.restart(running).await;
            assert_eq!(lost.await.expect("a task"), None);
            assert_eq!(running.list("/v1/transfers").await.len(), booked, "{point}");
        }
        stage.assert_sound(&running).await;
        assert_eq!(running.list("/v1/transfers").await.len(), 2);
    }

    async fn row_12_a_database_that_takes_no_writes_answers_503_calls_no_gateway_and_recovers_by_itself(
        engine: Engine
    ) {
        let rig = Rig::on(engine).await;
        let history = history(&rig);
        let stage = Stage::new(&rig, &history);
        let running = rig.start().await;
        let made = wallets(&running, &["dry", "drier"]).await;
        let mut trouble = Trouble::ready(&rig).await;
        trouble.begin().await;
        for (number, wallet) in made.iter().enumerate() {
            let operation = Operation::order(wallet, &format!("row12-{number}"), 400, "tok_success");
            let body = operation.body.clone();
            assert_eq!(history.send(&running, operation).await, None, "not acknowledged");
            let key = format!("row12-{number}");
            let answer = running.dev.post(&running.token, "/v1/fiat-ins", &key, &body).await;
            let answer = answer.expect("an answer");
            assert_eq!((answer.status, &answer.body["retryable"]), (503, &true.into()), "{}", answer.body);
            let read = running.dev.get(&running.token, "/v1/fiat-ins").await;
            assert_eq!((read.status, read.body["data"].as_array().map(Vec::len)), (200, Some(0)));
        }
        assert!(rig.collected().is_empty(), "the gateway was called: {:?}", rig.collected());
        trouble.end().await;
        stage.assert_sound(&running).await;
        for number in 0..made.len() {
            assert_eq!(state(&running, &format!("row12-{number}")).await, "completed");
        }
    }

    async fn row_13_a_limit_reserved_by_an_order_whose_process_died_is_free_again_once_the_order_has_ended(
        engine: Engine
    ) {
        let rig = Rig::on(engine).await;
        let history = history(&rig);
        let stage = Stage::new(&rig, &history);
        let running = rig.start().await;
        // 100.00 a day without identification, at most 50.00 at once.
        let made = wallets(&running, &["limited"]).await;
        let order = |name: &str, instrument: &str| Operation::order(&made[0], name, 5_000, instrument);
        history.insist(&running, order("first", "tok_success")).await;
order_in(&running.dev, &running.token, "first", &["completed"]).await;
        rig.arm("fiat_in.after_b0");
        let held = send(&running, &history, order("held", "tok_decline"));
        rig.held("fiat_in.after_b0").await;
        let over = history.insist(&running, order("over", "tok_success")).await;
        assert_eq!(over.body["state"], "refused", "what is on its way counts: {}", over.body);
        let running = stage.restart(running).await;
        assert_eq!(held.await.expect("a task"), None);
        order_in(&running.dev, &running.token, "held", &["failed"]).await;
        // What failed counts no more.
history.insist(&running, order("again", "tok_success")).await;
order_in(&running.dev, &running.token, "again", &["completed"]).await;
        stage.assert_sound(&running).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_12_a_full_disk_loses_nothing_whatever_the_step_it_stops() {
    let rig = Rig::on(Engine::Sqlite).await;
    let history = history(&rig);
    let stage = Stage::new(&rig, &history);
    let running = rig.start().await;
    let names: Vec<String> = (0..16).map(|number| format!("full-{number}")).collect();
    let made = wallets(&running, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    rig.plant("sqlite_full");
    let mut refused = 0;
    for round in 0..5 {
        for (name, wallet) in names.iter().zip(&made) {
            let operation = Operation::order(wallet, &format!("{name}-{round}"), 100, "tok_success");
            refused += usize::from(history.send(&running, operation).await.is_none());
        }
        if refused > names.len() {
            break;
        }
    }
    assert!(refused > 0, "the disk never was full");
    rig.lift("sqlite_full");
    stage.assert_sound(&running).await;
}

/// A database that refuses writes: SQLite by its own pragma behind a fail point, `PostgreSQL` as a server that has
/// become read-only under its clients.
enum Trouble<'a> {
    Sqlite(&'a Rig),
    Postgres { admin: PgConnection, database: String },
}

impl<'a> Trouble<'a> {
    async fn ready(rig: &'a Rig) -> Self {
        let Some(databases) = &rig.databases else { return Self::Sqlite(rig) };
        let options: sqlx::postgres::PgConnectOptions =
            databases.resource_api.url().expose().parse().expect("a URL");
        let database = options.get_database().expect("a database").to_owned();
        Self::Postgres { admin: options.connect().await.expect("connected"), database }
    }

    async fn begin(&mut self) {
        match self {
            Self::Sqlite(rig) => {
                rig.plant("sqlite_read_only");
                // A group of units that was begun before still commits, and takes units in for some 50 ms.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Self::Postgres { admin, database } => read_only(admin, database, "on").await,
        }
    }

    async fn end(self) {
        match self {
            Self::Sqlite(rig) => rig.lift("sqlite_read_only"),
            Self::Postgres { mut admin, database } => {
                read_only(&mut admin, &database, "off").await;
                admin.close().await.expect("closed");
            }
        }
    }
}

/// Connections made from now on are read-only or not; those there are end.
async fn read_only(admin: &mut PgConnection, database: &str, switch: &str) {
    let alter = format!("ALTER DATABASE {database} SET default_transaction_read_only = {switch}");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for sql in [alter, end.to_owned()] {
        admin.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.expect("the server obeys");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
}
