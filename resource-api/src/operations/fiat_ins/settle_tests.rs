//! Transaction C on both databases: a mixed batch, and answers that come twice or contradict each other.

use chassis::claim::{ClaimKey, claim};
use chassis::testing::{TestDatabase, platform};
use chassis::{Db, Platform};
use futures_util::future::join_all;
use keys::UnixSeconds;

use super::super::events::EventIds;
use super::super::verdict::{Effect, Heard, Held, Settled};
use super::{Settlements, Verdict, settlements};
use crate::domain::charge::{Channel, ChargeState, ChargeView};
use crate::domain::customer::CustomerKind;
use crate::domain::entity::EntityKind;
use crate::domain::fiat_in::{FiatIn, FiatInState, Origin, RefundTotals};
use crate::domain::money::Money;
use crate::gateway::{Answer, DeclineCategory};
use crate::ledger::{find_accounts, open_entity_account};
use crate::monitoring::Outcome;
use crate::operations::refunds::AutomaticIds;
use crate::store::charges::{Lease, NewCharge, insert_charge, take_ready_charge};
use crate::store::customers::{self, NewCustomer};
use crate::store::entities::{self, NewEntity};
use crate::store::fiat_ins::{find_fiat_in, insert_fiat_in};

const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

struct Stage {
    db: Db,
    platform: Platform,
    settlements: Settlements,
    _database: TestDatabase,
}

fn order(name: &str) -> FiatIn {
    FiatIn {
        fiat_in_id: format!("fin_{name}"),
        partner_id: "acme".to_owned(),
        customer_id: "cus_1".to_owned(),
        sub: "alice".to_owned(),
        external_id: "ext-1".to_owned(),
        entity_id: "ent_1".to_owned(),
        client_id: "backend".to_owned(),
        token_jti: None,
        money: Money { amount: 700, currency: "EUR".parse().unwrap() },
        limit_value: Some(700),
        client_reference: name.to_owned(),
        origin: Origin::default(),
        state: FiatInState::Processing,
        state_reason: None,
        refunds: RefundTotals::default(),
        decision: Outcome::Accept,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        expires_at: None,
        charge: Some(ChargeView::new(&format!("chg_{name}"), ChargeState::Submitting)),
    }
}

fn key(name: &str) -> ClaimKey {
    ClaimKey { kind: "idempotency", owner: "acme".to_owned(), key: name.to_owned(), route: String::new() }
}

impl Stage {
    async fn set(database: TestDatabase) -> Self {
        let db = database.migrated(&[("resource-api", crate::MIGRATIONS)]).await;
        let customer = NewCustomer {
            partner_id: "acme".to_owned(),
            customer_id: "cus_1".to_owned(),
            sub: "alice".to_owned(),
            external_id: "ext-1".to_owned(),
            kind: CustomerKind::Person,
            country: None,
            now: NOW,
        };
        let wallet = NewEntity {
            partner_id: "acme".to_owned(),
            entity_id: "ent_1".to_owned(),
            kind: EntityKind::Customer,
            owner_id: "cus_1".to_owned(),
            label: None,
            currency: "EUR".to_owned(),
            now: NOW,
        };
        db.write(move |tx| {
            let (customer, wallet) = (customer.clone(), wallet.clone());
            Box::pin(async move {
                customers::insert(tx, &customer).await?;
                entities::insert(tx, &wallet).await?;
                open_entity_account(tx, "acme", "ent_1", "EUR", NOW).await
            })
        })
        .await
        .unwrap();
        let settlements = settlements(&db);
        Self { db, platform: platform().0, settlements, _database: database }
    }

    /// An order whose charge is being sent.
    async fn sent(&self, name: &'static str) {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let order = order(name);
                    let key = key(name);
                    claim(tx, &key, "fingerprint", &order.fiat_in_id, NOW, NOW.plus(3_600)).await?;
                    let kept = serde_json::to_string(&key.reference()).unwrap();
                    assert!(insert_fiat_in(tx, &order, &kept).await?);
                    let charge = NewCharge {
                        charge_id: format!("chg_{name}"),
                        partner_id: order.partner_id,
                        fiat_in_id: order.fiat_in_id,
                        provider: "sandbox",
                        amount: 700,
                        currency: "EUR",
                        source_token: "tok_success".to_owned(),
                        due_at_ms: 0,
                        now: NOW,
                    };
                    insert_charge(tx, &charge).await?;
                    let lease = Lease { holder: "me", now_ms: 0, until_ms: 1 };
                    assert!(take_ready_charge(tx, &format!("chg_{name}"), lease).await?.is_some());
                    Ok(())
                })
            })
            .await
            .unwrap();
    }

    fn verdict(&self, name: &str, answer: Answer) -> Verdict {
        Verdict {
            order: order(name),
            charge_id: format!("chg_{name}"),
            provider: "sandbox".to_owned(),
            trail: vec![Heard::new(self.platform.new_id("att"), Channel::Charge, &answer)],
            answer,
            held: Some(Held { holder: "me".to_owned(), next: (ChargeState::Unknown, 5_000) }),
            txn_id: self.platform.new_id("txn"),
            refund: AutomaticIds::draw(&self.platform),
            events: EventIds::draw(&self.platform),
            action_until: NOW.plus(900),
            now_ms: NOW.0 * 1_000,
            now: NOW,
        }
    }

    async fn settle(&self, name: &str, answer: Answer) -> Settled {
        self.settlements.submit(self.verdict(name, answer)).await.unwrap()
    }

    async fn stored(&self, name: &'static str) -> FiatIn {
        let read = self
            .db
            .read(move |tx| Box::pin(async move { find_fiat_in(tx, "acme", &format!("fin_{name}")).await }));
        read.await.unwrap().unwrap()
    }

    async fn balance(&self) -> i64 {
        let wanted = [("acme".to_owned(), crate::ledger::entity_account("ent_1"))];
        let found = self.db.read(move |tx| Box::pin(async move { find_accounts(tx, &wanted).await }));
        found.await.unwrap().iter().map(|account| account.posted).sum()
    }
}

fn captured() -> Answer {
    Answer::Captured { provider_ref: "gch_1".to_owned() }
}

fn authorized() -> Answer {
    Answer::Authorized { provider_ref: "gch_1".to_owned() }
}

fn waits() -> Answer {
    let redirect_url = "https://bank.example/prove".to_owned();
    Answer::ActionRequired { provider_ref: "gch_1".to_owned(), redirect_url }
}

fn voided() -> Answer {
    Answer::Voided { provider_ref: Some("gch_1".to_owned()) }
}

fn declined() -> Answer {
    Answer::Declined { code: "card_declined".to_owned(), category: DeclineCategory::Soft, provider_ref: None }
}

#[tokio::test]
async fn a_mixed_batch_is_written_together_and_each_verdict_gets_its_own_answer() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        for name in ["a", "b", "c"] {
            stage.sent(name).await;
        }
        let verdicts = [
            stage.verdict("a", captured()),
            stage.verdict("b", declined()),
            stage.verdict("c", Answer::Unknown("silence")),
            stage.verdict("a", captured()),
        ];
        let told = join_all(verdicts.map(|verdict| stage.settlements.submit(verdict))).await;
        let told: Vec<Settled> = told.into_iter().map(Result::unwrap).collect();
        let statuses: Vec<_> = told.iter().map(|settled| settled.answer.as_ref().unwrap().status).collect();
        assert_eq!(statuses, [201, 201, 202, 201]);
        assert_eq!(told[0].answer, told[3].answer);
        let effects: Vec<_> = told.into_iter().map(|settled| settled.effect).collect();
        let moved = |state| Effect::Moved(state);
        assert_eq!(
            effects,
            [moved(ChargeState::Captured), moved(ChargeState::Declined), Effect::Waits, Effect::Ignored]
        );
        let states = [stage.stored("a").await, stage.stored("b").await, stage.stored("c").await];
        let states = states.map(|order| (order.state, order.charge.unwrap().state));
        assert_eq!(
            states,
            [
                (FiatInState::Completed, ChargeState::Captured),
                (FiatInState::Failed, ChargeState::Declined),
                (FiatInState::Processing, ChargeState::Unknown),
            ]
        );
        assert_eq!(stage.balance().await, 700);
    }
}

#[tokio::test]
async fn many_verdicts_cost_few_statements() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        let names: Vec<&'static str> = (0..64).map(|index| &*format!("o{index}").leak()).collect();
        for name in &names {
            stage.sent(name).await;
        }
        let before = stage.db.statements();
        let verdicts = names.iter().map(|name| stage.settlements.submit(stage.verdict(name, captured())));
        for told in join_all(verdicts).await {
            assert_eq!(told.unwrap().answer.unwrap().status, 201);
        }
        let statements = stage.db.statements() - before;
        assert!(statements <= 40, "{statements} statements for 64 verdicts");
        assert_eq!(stage.balance().await, 64 * 700);
    }
}

#[tokio::test]
async fn a_definite_end_is_never_overwritten() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.sent("a").await;
        let first = stage.settle("a", captured()).await;
        for late in [declined(), authorized(), voided(), waits(), Answer::Unknown("silence"), captured()] {
            let told = stage.settle("a", late).await;
            assert_eq!((told.effect, told.answer), (Effect::Ignored, first.answer.clone()));
        }
        let order = stage.stored("a").await;
        assert_eq!((order.state, order.version), (FiatInState::Completed, 2));
        assert_eq!(stage.balance().await, 700);
    }
}

#[tokio::test]
async fn a_charge_passes_its_states_forwards_only_and_its_order_follows() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.sent("a").await;
        let moved = |state| Effect::Moved(state);
        let steps = [
            (waits(), moved(ChargeState::RequiresAction), FiatInState::RequiresAction, 2),
            (waits(), Effect::Ignored, FiatInState::RequiresAction, 2),
            (Answer::Unknown("silence"), Effect::Ignored, FiatInState::RequiresAction, 2),
            (authorized(), moved(ChargeState::Authorized), FiatInState::Processing, 3),
            (waits(), Effect::Ignored, FiatInState::Processing, 3),
            (authorized(), Effect::Ignored, FiatInState::Processing, 3),
            (captured(), moved(ChargeState::Captured), FiatInState::Completed, 4),
            (voided(), Effect::Ignored, FiatInState::Completed, 4),
        ];
        for (answer, effect, state, version) in steps {
            assert_eq!(stage.settle("a", answer.clone()).await.effect, effect, "{answer:?}");
            let order = stage.stored("a").await;
            assert_eq!((order.state, order.version), (state, version), "{answer:?}");
            assert_eq!(order.expires_at.is_some(), state == FiatInState::RequiresAction);
            assert_eq!(order.charge.unwrap().action_url.is_some(), state == FiatInState::RequiresAction);
        }
        assert_eq!(stage.balance().await, 700);
        stage.sent("b").await;
        assert_eq!(stage.settle("b", voided()).await.effect, moved(ChargeState::Voided));
        let order = stage.stored("b").await;
        assert_eq!(
            (order.state, order.state_reason.as_deref()),
            (FiatInState::Failed, Some("charge_voided"))
        );
    }
}

#[tokio::test]
async fn of_verdicts_on_one_charge_in_one_batch_the_furthest_counts_and_the_first_of_equal_ones() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        for name in ["a", "b"] {
            stage.sent(name).await;
        }
        let verdicts = [
            stage.verdict("a", waits()),
            stage.verdict("a", captured()),
            stage.verdict("a", authorized()),
            stage.verdict("b", declined()),
            stage.verdict("b", declined()),
        ];
        let told = join_all(verdicts.map(|verdict| stage.settlements.submit(verdict))).await;
        let effects: Vec<_> = told.into_iter().map(|settled| settled.unwrap().effect).collect();
        // Whether they fall into one batch or two is the writer's; what stands in the end is not.
        let decided = effects.iter().filter(|effect| matches!(effect, Effect::Moved(to) if to.is_final()));
        assert_eq!(decided.count(), 2, "{effects:?}");
        let [a, b] = [stage.stored("a").await, stage.stored("b").await];
        assert_eq!((a.state, b.state), (FiatInState::Completed, FiatInState::Failed));
        assert_eq!(stage.balance().await, 700);
    }
}

#[tokio::test]
async fn an_order_that_was_not_waiting_rolls_its_own_charge_back_and_no_other() {
    for database in TestDatabase::both().await {
        let stage = Stage::set(database).await;
        stage.sent("a").await;
        let mut stray = stage.verdict("a", captured());
        stray.order.fiat_in_id = "fin_nobody".to_owned();
        stage.sent("b").await;
        let told = join_all(
            [stray, stage.verdict("b", captured())].map(|verdict| stage.settlements.submit(verdict)),
        );
        let told = told.await;
        assert!(told[0].is_err());
        assert_eq!(told[1].as_ref().unwrap().answer.as_ref().unwrap().status, 201);
        assert_eq!(stage.stored("a").await.charge.unwrap().state, ChargeState::Submitting);
        assert_eq!(stage.balance().await, 700);
    }
}
