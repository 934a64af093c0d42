//! [`Verdict`]: something heard of a charge, on its way into transaction C, whoever heard it. And what came of it.

use std::ops::Deref;

use chassis::claim::StoredAnswer;
use keys::UnixSeconds;

use super::events::EventIds;
use super::late::LateSuccess;
use crate::app::App;
use crate::domain::charge::{Channel, ChargeState};
use crate::domain::fiat_in::{FiatIn, FiatInState};
use crate::gateway::Answer;
use crate::operations::refunds::AutomaticIds;
use crate::store::charge_attempts::NewAttempt;
use crate::store::charges::{Charge, ChargeStep};

/// One thing that was heard of a charge, for its evidence trail.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(super) attempt_id: String,
    pub(super) channel: Channel,
    /// A state of a charge.
    pub(super) said: &'static str,
    pub(super) reason: Option<String>,
}

impl Heard {
    /// `attempt_id` sorts after those of what was heard before.
    pub(super) fn new(attempt_id: String, channel: Channel, answer: &Answer) -> Self {
        Self { attempt_id, channel, said: answer.word(), reason: answer.reason().map(str::to_owned) }
    }
}

/// The lease of whoever called the gateway, and where the charge goes if nothing new is known.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) holder: String,
    pub(super) next: (ChargeState, i64),
}

/// What was said of a charge, and everything needed to write it down.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The order. What never changes of it counts; its state is decided by what the database has.
    pub(super) order: FiatIn,
    pub(super) charge_id: String,
    pub(super) provider: String,
    pub(super) answer: Answer,
    pub(super) trail: Vec<Heard>,
    /// None: it was heard without a call of ours.
    pub(super) held: Option<Held>,
    pub(super) txn_id: String,
    pub(super) events: EventIds,
    /// Of the refund that money gets which comes after its order has ended.
    pub(super) refund: AutomaticIds,
    /// When an order that has to wait for its payer ends by itself.
    pub(super) action_until: UnixSeconds,
    pub(super) now_ms: i64,
    pub(super) now: UnixSeconds,
}

impl Verdict {
    /// What came without a call of ours: an event of the gateway, or a person's decision. `order` is the charge's
    /// order and the answer speaks of exactly the charge's amount and currency; whoever makes a verdict has checked
    /// that. `reason` is kept in the evidence trail and public; it defaults to the answer's own.
    pub fn heard(
        app: &App,
        (order, charge): (FiatIn, &Charge),
        answer: Answer,
        channel: Channel,
        reason: Option<String>,
    ) -> Self {
        let mut heard = Heard::new(app.platform.new_id("att"), channel, &answer);
        heard.reason = reason.or(heard.reason);
        Self::new(app, (order, charge), answer, vec![heard])
    }

    /// Draws the ids that the transaction, which may run twice, needs.
    pub(super) fn new(
        app: &App,
        (order, charge): (FiatIn, &Charge),
        answer: Answer,
        trail: Vec<Heard>,
    ) -> Self {
        let now = app.platform.now();
        Self {
            order,
            charge_id: charge.charge_id.clone(),
            provider: charge.provider.clone(),
            answer,
            trail,
            held: None,
            txn_id: app.platform.new_id("txn"),
            events: EventIds::draw(&app.platform),
            refund: AutomaticIds::draw(&app.platform),
            action_until: now.plus(app.config.gateway.action_ttl_s),
            now_ms: app.platform.clock.now_ms(),
            now,
        }
    }

    /// The step of the charge; `None` when nothing definite was said.
    pub(super) fn step(&self) -> Option<ChargeStep<'_>> {
        let state = self.answer.leads_to()?;
        let decline = match &self.answer {
            Answer::Declined { code, category, .. } => Some((code.as_str(), category.as_str())),
            _ => None,
        };
        let action_url = match &self.answer {
            Answer::ActionRequired { redirect_url, .. } => Some(redirect_url.as_str()),
            _ => None,
        };
        // Who waits for the payer is looked at when its look is due; what is authorized is captured at once.
        let held_until = self.held.as_ref().map(|held| held.next.1);
        let due_at_ms = match state {
            ChargeState::RequiresAction => held_until.unwrap_or(self.now_ms),
            _ => self.now_ms,
        };
        let provider_ref = self.answer.provider_ref();
        Some(ChargeStep {
            charge_id: &self.charge_id,
            state,
            provider_ref,
            decline,
            action_url,
            due_at_ms,
            now: self.now,
        })
    }

    /// The order as it follows its charge, but for the version.
    pub(super) fn followed(&self, charge: ChargeState) -> FiatIn {
        let mut order = self.order.clone();
        order.updated_at = self.now;
        order.expires_at = None;
        (order.state, order.state_reason) = match charge {
            ChargeState::Captured => (FiatInState::Completed, None),
            ChargeState::Declined => (FiatInState::Failed, self.answer.reason().map(str::to_owned)),
            ChargeState::Voided => (FiatInState::Failed, Some("charge_voided".to_owned())),
            ChargeState::RequiresAction => {
                order.expires_at = Some(self.action_until);
                (FiatInState::RequiresAction, None)
            }
            _ => (FiatInState::Processing, None),
        };
        if let (Some(view), Some(step)) = (&mut order.charge, self.step()) {
            view.state = charge;
            view.action_url = step.action_url.map(str::to_owned);
            let decline = step.decline.map(|(code, category)| (code.to_owned(), category.to_owned()));
            (view.decline_code, view.decline_category) = decline.unzip();
        }
        order
    }

    /// What is kept in the evidence trail.
    pub(super) fn attempts(&self) -> impl Iterator<Item = NewAttempt<'_>> {
        self.trail.iter().map(|heard| NewAttempt {
            attempt_id: &heard.attempt_id,
            charge_id: &self.charge_id,
            partner_id: &self.order.partner_id,
            channel: heard.channel,
            heard: heard.said,
            reason: heard.reason.as_deref(),
            heard_at_s: self.now.0,
        })
    }
}

/// What came of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// By this verdict the charge went to this state, and its order followed.
    Moved(ChargeState),
    /// By this verdict money was booked whose order, or whose charge, had ended: it is in suspense.
    Late(LateSuccess),
    /// Nothing definite was said; the charge waits for its next probe or for a person.
    Waits,
    /// The charge was there already, or further. Nothing but the evidence was written.
    Ignored,
}

/// What came of a verdict, and what the request that made the order is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// What it did.
    pub effect: Effect,
    /// The answer to the order's request, now or before; `None` while none is recorded.
    pub answer: Option<StoredAnswer>,
}

/// A definite verdict with the order that follows from it.
pub(super) struct Step<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) charge: ChargeState,
    pub(super) order: FiatIn,
}

impl Deref for Step<'_> {
    type Target = Verdict;

    fn deref(&self) -> &Verdict {
        self.verdict
    }
}
