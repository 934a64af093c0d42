//! Outcomes of charges that did not come as the answer to a call of our own: an event of the gateway, or a person who
//! looked. They are written by the very transaction C that writes our own answers, so one of all wins.

use chassis::{Fault, Platform, Tx};
use keys::UnixSeconds;

use super::settle::{Verdict, settle};
use crate::app::App;
use crate::domain::fiat_in::{ChargeState, FiatIn};
use crate::gateway::Answer;
use crate::store::charge_views::ChargeRow;

/// A definite outcome from outside, ready to be written. Drawn before the transaction, which may run twice.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    answer: Answer,
    holder: String,
    txn_id: String,
    events: super::events::EventIds,
    now: UnixSeconds,
    now_ms: i64,
}

impl Outside {
    /// An outcome as of now.
    pub(crate) fn now(platform: &Platform, answer: Answer) -> Self {
        let (txn_id, events) = Verdict::ids(platform);
        let holder = platform.new_id("lse");
        Self { answer, holder, txn_id, events, now: platform.now(), now_ms: platform.clock.now_ms() }
    }

    /// Name under which a charge is taken before it is settled.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// The moment it is of, Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The same outcome with the gateway's own id of the charge, where it was told without.
    #[must_use]
    pub(crate) fn known_as(mut self, known: &str) -> Self {
        if let Answer::Captured { provider_ref } = &mut self.answer
            && provider_ref.is_empty()
        {
            known.clone_into(provider_ref);
        }
        self
    }

    fn verdict(self, order: FiatIn, charge: &ChargeRow) -> Verdict {
        Verdict {
            order,
            charge_id: charge.charge_id.clone(),
            provider: charge.provider.clone(),
            answer: self.answer,
            holder: self.holder,
            // Not used: the answer is definite.
            next: (ChargeState::Unknown, self.now_ms),
            txn_id: self.txn_id,
            events: self.events,
            now: self.now,
        }
    }

    /// Writes it down, unless the charge has an end already. Read the charge again to see which it is.
    ///
    /// # Errors
    /// The store's fault.
    pub(crate) async fn settle(self, app: &App, order: FiatIn, charge: &ChargeRow) -> Result<(), Fault> {
        app.settlements.submit(self.verdict(order, charge)).await?;
        app.outbox.wake();
        Ok(())
    }

    /// The same inside a transaction that has taken the charge.
    ///
    /// # Errors
    /// The store's fault.
    pub(crate) async fn settle_in(self, tx: &mut Tx, order: FiatIn, charge: &ChargeRow) -> Result<(), Fault> {
        settle(tx, vec![self.verdict(order, charge)]).await.map(drop)
    }
}
