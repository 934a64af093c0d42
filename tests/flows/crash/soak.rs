//! Kills at random moments under load. As a test there are a few; `make soak` asks for 200 and prints what it saw.
//!
//! The seed of the moments is printed; with `COUNTERSIGN_SOAK_SEED` the same moments come again (not the same
//! interleaving: the processes are real).

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::db::Engine;
use chassis::{SystemEntropy, entropy};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::auditor::Auditor;
use super::history::{Entry, History, Kind};
use super::load::Load;
use super::rig::{Rig, Running};

/// Kills of the test, unless `COUNTERSIGN_SOAK_KILLS` asks for more.
const KILLS: u64 = 3;
/// Clients at the same time.
const CLIENTS: usize = 24;
/// Shortest life of a process under load, and how much longer it may get, milliseconds.
const LIFE_MS: (u64, u64) = (250, 1_000);
/// Kills between two full audits; the operations of each kill are settled after it in any case.
const AUDIT_EVERY: u64 = 25;
/// Kills between two words on how far it is.
const PROGRESS_EVERY: u64 = 10;
/// What `make soak` wants to have seen: orders a second, and the share of kills that met orders in flight.
const ORDERS_PER_SECOND_MIN: f64 = 50.0;

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) kills: u64,
    pub(crate) seed: u64,
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) violations: Vec<String>,
    kills: u64,
    kills_in_flight: u64,
    operations: usize,
    orders: usize,
    acknowledged: usize,
    refused: usize,
    in_flight: usize,
    under_load: Duration,
    ready: Vec<Duration>,
}

/// One run over a rig.
pub(crate) struct Soak<'a> {
    rig: &'a Rig,
    history: &'a History,
    auditor: Auditor<'a>,
    seen: Seen,
}

impl<'a> Soak<'a> {
    pub(crate) fn new(rig: &'a Rig, history: &'a History) -> Self {
        Self { rig, history, auditor: Auditor::new(rig, history), seen: Seen::default() }
    }

    /// Kills as often as planned, settling after each kill what was under way, and audits in the end.
    pub(crate) async fn run(mut self, plan: &Plan) -> Seen {
        let mut moments = Moments(plan.seed);
        let mut running = self.start().await;
        let mut owed: Vec<usize> = Vec::new();
        while self.seen.kills < plan.kills {
            let first = self.history.len();
            let life = Duration::from_millis(LIFE_MS.0 + moments.next() % LIFE_MS.1);
            self.live_and_die(running, life, &owed).await;
            running = self.start().await;
            // What was acknowledged has to be there at once. What was not is sent again under the next load, and looked
            // at after it: by then nobody waits for the lease of a dead process any more.
            let (open, known): (Vec<usize>, Vec<usize>) =
                (first..self.history.len()).partition(|place| self.history.entry(*place).answer.is_none());
            let due = [owed, known].concat();
            owed = open;
            let wrong = self.auditor.settle(&running, due).await;
            self.seen.violations.extend(wrong);
            if self.seen.kills.is_multiple_of(PROGRESS_EVERY) {
                let (kills, found) = (self.seen.kills, self.seen.violations.len());
                eprintln!(
                    "{kills} of {} kills, {} operations, {found} violations",
                    plan.kills,
                    self.history.len()
                );
            }
            if self.seen.kills.is_multiple_of(AUDIT_EVERY) {
                // An audit is of what is at rest: an order that ends between two of its looks would look like a loss.
                let open = std::mem::take(&mut owed);
                self.seen.violations.extend(self.auditor.settle(&running, open).await);
                self.seen.violations.extend(self.auditor.audit(&running).await);
            }
        }
        self.seen.violations.extend(self.auditor.settle(&running, owed).await);
        self.seen.violations.extend(self.auditor.audit(&running).await);
        self.count();
        self.seen
    }

    async fn start(&mut self) -> Running {
        let began = Instant::now();
        let running = self.rig.start().await;
        self.seen.ready.push(began.elapsed());
        running
    }

    /// Load on the process until it is killed in the middle of it.
    async fn live_and_die(&mut self, running: Running, life: Duration, owed: &[usize]) {
        let first = self.history.len();
        let stop = AtomicBool::new(false);
        let load = Load {
            running: &running,
            history: self.history,
            prefix: format!("k{}", self.seen.kills),
            stop: &stop,
        };
        let customers = load.prepare(CLIENTS).await;

        tokio::join!(
            load.run(customers),
            join_all(owed.iter().map(|place| self.history.send_again(&running, *place))),
            async {
                tokio::time::sleep(life).await;
                running.dev.kill_now();
                stop.store(true, Ordering::Relaxed);
            }
        );

        self.seen.under_load += life;
        self.seen.kills += 1;
        let entries = &self.history.entries()[first..];
        let open = entries.iter().filter(|entry| entry.answer.is_none() && is_order(entry)).count();
        self.seen.in_flight += open;
        self.seen.kills_in_flight += u64::from(open > 0);
        self.seen.acknowledged += entries.iter().filter(|entry| entry.made().is_some()).count();
    }

    fn count(&mut self) {
        let entries = self.history.entries();
        self.seen.operations = entries.len();
        self.seen.orders = entries.iter().filter(|entry| is_order(entry)).count();
        let refused = |entry: &&Entry| entry.answer.as_ref().is_some_and(|answer| answer.status >= 400);
        self.seen.refused = entries.iter().filter(refused).count();
    }
}

fn is_order(entry: &Entry) -> bool {
    entry.operation.kind == Kind::Order
}

impl Seen {
    fn orders_per_second(&self) -> f64 {
        let orders = u32::try_from(self.orders).unwrap_or(u32::MAX);
        f64::from(orders) / self.under_load.as_secs_f64().max(f64::EPSILON)
    }

    /// For people, one line for each figure.
    fn report(&self, engine: Engine, plan: &Plan) -> String {
        let mut ready = self.ready.clone();
        ready.sort();
        let seconds = |at: usize| ready.get(at).map_or(0.0, Duration::as_secs_f64);
        let verdict = if self.violations.is_empty() { "nothing lost, nothing doubled" } else { "FAILED" };
        format!(
            "soak on {engine:?}, seed {}\n\
             kills                       {} ({} with orders in flight, {} orders in all)\n\
             operations sent             {} ({} orders, {:.0} orders/s under load)\n\
             acknowledged before a kill  {}\n\
             refused for good            {}\n\
             ready after a start         median {:.2} s, longest {:.2} s, {} starts\n\
             verdict                     {verdict}\n{}",
            plan.seed,
            self.kills,
            self.kills_in_flight,
            self.in_flight,
            self.operations,
            self.orders,
            self.orders_per_second(),
            self.acknowledged,
            self.refused,
            seconds(ready.len() / 2),
            seconds(ready.len().saturating_sub(1)),
            ready.len(),
            self.violations.join("\n"),
        )
    }
}

/// `SplitMix64`: the moments follow from the seed alone.
pub(crate) struct Moments(pub(crate) u64);

impl Moments {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn asked(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text} is no number")))
}

both_engines! {
    async fn kills_at_random_moments_under_load_lose_and_double_nothing(engine: Engine) {
        let kills = asked("COUNTERSIGN_SOAK_KILLS");
        let seed = asked("COUNTERSIGN_SOAK_SEED");
        let seed = seed.unwrap_or_else(|| u64::from(u32::from_le_bytes(entropy::bytes(&SystemEntropy))));
        let plan = Plan { kills: kills.unwrap_or(KILLS), seed };
        let rig = Rig::on(engine).await;
        let history = History::in_file(&rig.beside("history.jsonl"));
        let seen = Soak::new(&rig, &history).run(&plan).await;
        let report = seen.report(engine, &plan);
        println!("{report}");
        assert!(seen.violations.is_empty(), "{report}");
        // What a busy machine may not reach is asked for by `make soak` only.
        if kills.is_some() {
            assert!(seen.orders_per_second() >= ORDERS_PER_SECOND_MIN, "too little load: {report}");
            assert!(seen.kills_in_flight * 2 >= seen.kills, "too few kills met an order: {report}");
        }
    }
}
