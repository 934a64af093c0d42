//! The ledger against a model: random postings, holds, releases and reversals, on both databases.
//!
//! The model is a handful of integers. After every step balances must agree, no account may be below its floor, and
//! the sum over all accounts must be zero; at the end `verify` must find nothing.

use std::collections::BTreeMap;

use chassis::Db;
use chassis::testing::TestDatabase;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use resource_api::domain::ledger::{AccountId, NewHold, NewPosting};
use resource_api::ledger;

use crate::ledger::{account, clearing, open_wallets, post, posting, wallet};
use crate::{NOW, opened, unit};

const WALLETS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    /// Money from outside.
    In { to: usize, amount: i64 },
    /// Several transfers in one call.
    Pay(Vec<(usize, usize, i64)>),
    /// Money set aside.
    Hold { from: usize, amount: i64 },
    /// The n-th hold given back.
    Release { hold: usize },
    /// The n-th hold taken, for at most its amount.
    Take { hold: usize, to: usize, amount: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let amount = 1..200_i64;
    prop_oneof![
        2 => (0..3_usize, amount.clone()).prop_map(|(to, amount)| Step::In { to, amount }),
        4 => prop::collection::vec((0..3_usize, 0..3_usize, amount.clone()), 1..5).prop_map(Step::Pay),
        2 => (0..3_usize, amount.clone()).prop_map(|(from, amount)| Step::Hold { from, amount }),
        1 => (0..6_usize).prop_map(|hold| Step::Release { hold }),
        2 => (0..6_usize, 0..3_usize, amount).prop_map(|(hold, to, amount)| Step::Take { hold, to, amount }),
    ]
}

/// What the ledger must agree with.
#[derive(Debug, Default)]
struct Model {
    posted: [i64; 3],
    outside: i64,
    /// Number of the hold -> (from, amount), while it holds.
    holds: BTreeMap<usize, (usize, i64)>,
    holds_made: usize,
    references: usize,
}

impl Model {
    fn available(&self, wallet: usize) -> i64 {
        let held: i64 =
            self.holds.values().filter(|(from, _)| *from == wallet).map(|(_, amount)| amount).sum();
        self.posted[wallet] - held
    }

    fn pay(&mut self, from: usize, to: usize, amount: i64) -> bool {
        let possible = self.available(from) >= amount;
        if possible {
            self.posted[from] -= amount;
            self.posted[to] += amount;
        }
        possible
    }

    fn reference(&mut self) -> String {
        self.references += 1;
        self.references.to_string()
    }
}

async fn run(db: &Db, partner: &str, model: &mut Model, step: Step) {
    match step {
        Step::In { to, amount } => {
            let one = posting(partner, &model.reference(), clearing(), wallet(WALLETS[to]), amount);
            assert_eq!(post(db, vec![one]).await, [Ok(())]);
            model.posted[to] += amount;
            model.outside += amount;
        }
        Step::Pay(payments) => {
            let mut postings = Vec::new();
            let mut expected = Vec::new();
            for (from, to, amount) in payments {
                let (source, destination) = (wallet(WALLETS[from]), wallet(WALLETS[to]));
                postings.push(posting(partner, &model.reference(), source, destination, amount));
                expected.push(model.pay(from, to, amount));
            }
            let verdicts: Vec<bool> = post(db, postings).await.iter().map(Result::is_ok).collect();
            assert_eq!(verdicts, expected);
        }
        Step::Hold { from, amount } => {
            let number = model.holds_made;
            model.holds_made += 1;
            let holds = vec![new_hold(partner, number, wallet(WALLETS[from]), amount)];
            let verdict = unit!(db, [holds], tx => ledger::hold(tx, &holds, NOW).await).remove(0);
            assert_eq!(verdict.is_ok(), model.available(from) >= amount);
            if verdict.is_ok() {
                model.holds.insert(number, (from, amount));
            }
        }
        Step::Release { hold } => {
            let (partner, id) = (partner.to_owned(), hold_id(partner, hold));
            let verdict = unit!(db, [partner, id], tx => ledger::release(tx, &partner, &id, NOW).await);
            assert_eq!(verdict.is_ok(), model.holds.remove(&hold).is_some());
        }
        Step::Take { hold, to, amount } => take(db, partner, model, (hold, to, amount)).await,
    }
}

async fn take(db: &Db, partner: &str, model: &mut Model, (hold, to, amount): (usize, usize, i64)) {
    let from = model.holds.get(&hold).map_or(0, |(from, _)| *from);
    let one = NewPosting {
        takes_hold: Some(hold_id(partner, hold)),
        ..posting(partner, &model.reference(), wallet(WALLETS[from]), wallet(WALLETS[to]), amount)
    };
    let expected = model.holds.get(&hold).is_some_and(|(_, held)| amount <= *held);
    assert_eq!(post(db, vec![one]).await.remove(0).is_ok(), expected);
    if expected {
        model.holds.remove(&hold);
        assert!(model.pay(from, to, amount), "what was held is there");
    }
}

fn hold_id(partner: &str, number: usize) -> String {
    format!("hld_{partner}_{number}")
}

fn new_hold(partner: &str, number: usize, from: AccountId, amount: i64) -> NewHold {
    NewHold {
        partner_id: partner.to_owned(),
        hold_id: hold_id(partner, number),
        reference: format!("hold {number}"),
        account_id: from,
        counter_account_id: None,
        amount,
        currency: "EUR".to_owned(),
    }
}

async fn agrees(db: &Db, partner: &str, model: &Model) {
    let mut sum = 0;
    for (number, name) in WALLETS.iter().enumerate() {
        let found = account(db, partner, wallet(name)).await;
        assert_eq!(
            (found.posted, found.available()),
            (model.posted[number], model.available(number)),
            "{name}"
        );
        assert!(found.available() >= 0, "{name} is below its floor");
        sum += found.posted;
    }
    assert_eq!(sum, model.outside);
}

/// Plays sequences on one database; each is a partner of its own.
async fn play(db: &Db, sequences: Vec<Vec<Step>>) {
    for (number, steps) in sequences.into_iter().enumerate() {
        let partner = format!("p{number}");
        open_wallets(db, &partner, &WALLETS).await;
        let mut model = Model::default();
        for step in steps {
            run(db, &partner, &mut model, step).await;
            agrees(db, &partner, &model).await;
        }
    }
    let report = ledger::verify(db).await.unwrap();
    assert!(report.is_sound() && report.entries > 0, "{report}");
}

#[tokio::test]
async fn the_ledger_agrees_with_its_model_whatever_is_asked_of_it() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let sequence = prop::collection::vec(step(), 20..40);
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let sequences = (0..12).map(|_| sequence.new_tree(&mut runner).unwrap().current()).collect();
        play(&db, sequences).await;
    }
}
