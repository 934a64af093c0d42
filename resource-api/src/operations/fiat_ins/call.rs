//! What the gateway is asked about a charge that was taken, by where the charge stands.
//!
//! A charge about which something was asked before is looked for by our own reference first. That the gateway does
//! not find it proves nothing soon after it was sent: its reads may lag behind its writes. Only after the configured
//! consistency window is the charge sent again, under the same key, which can never collect twice. It is never
//! declared failed because it was not found.

use chassis::Fault;
use keys::token::Money;

use super::verdict::Heard;
use crate::app::App;
use crate::domain::charge::{Channel, ChargeState};
use crate::gateway::{Answer, ChargeAsk, Found};
use crate::store::charges::Charge;

/// What a probe that finds nothing says.
const NOT_FOUND: Answer = Answer::Unknown("the gateway does not know the charge yet");

/// What the gateway said last, and everything that was heard on the way.
pub(super) struct Asked {
    pub(super) answer: Answer,
    pub(super) trail: Vec<Heard>,
}

/// What a charge waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaits {
    /// Its answer.
    Charge,
    /// The payer.
    Payer,
    /// Its capture: it is authorized.
    Capture,
    /// Its void: its order has ended.
    Void,
}

impl Awaits {
    /// By state and marks of the charge.
    ///
    /// # Errors
    /// A state this version does not know.
    pub(super) fn of(charge: &Charge) -> Result<Self, Fault> {
        Ok(match charge.state()? {
            _ if charge.void_requested_at_s.is_some() => Self::Void,
            ChargeState::RequiresAction => Self::Payer,
            ChargeState::Authorized => Self::Capture,
            _ => Self::Charge,
        })
    }

    /// Whether an answer brings the charge any further.
    fn is_met_by(self, answer: &Answer) -> bool {
        match self {
            Self::Charge | Self::Payer => answer.leads_to().is_some(),
            Self::Capture | Self::Void => answer.leads_to().is_some_and(ChargeState::is_final),
        }
    }
}

/// Asks the gateway what the charge waits for.
///
/// # Errors
/// A state of the charge that this version does not know.
pub(super) async fn ask_gateway(app: &App, charge: &Charge) -> Result<Asked, Fault> {
    let awaits = Awaits::of(charge)?;
    let ask = ChargeAsk {
        charge_id: charge.charge_id.clone(),
        money: Money { amount: charge.amount, currency: charge.currency.clone() },
        source: charge.source_token.clone(),
    };
    // Both calls of one round may fall into one millisecond: the second one's id is made to sort after the first's.
    let attempt_id = app.platform.new_id("att");
    let mut trail = Vec::new();
    if charge.attempt > 1 || awaits == Awaits::Payer {
        let found = match app.gateway.find(&ask).await {
            Found::Charge(answer) => answer,
            Found::Nothing => NOT_FOUND,
        };
        // That the payer is still awaited is no news.
        let news = awaits != Awaits::Payer || found.leads_to() != Some(ChargeState::RequiresAction);
        if news {
            trail.push(Heard::new(attempt_id.clone(), Channel::Probe, &found));
        }
        let only_looks = awaits == Awaits::Charge && (is_soon(app, charge) || is_old(app, charge));
        if awaits.is_met_by(&found) || awaits == Awaits::Payer || only_looks {
            return Ok(Asked { answer: found, trail });
        }
    }
    let (channel, answer) = match awaits {
        Awaits::Capture => (Channel::Capture, app.gateway.capture(&ask).await),
        Awaits::Void => (Channel::Void, app.gateway.void(&ask).await),
        Awaits::Charge | Awaits::Payer => (Channel::Charge, app.gateway.charge(&ask).await),
    };
    trail.push(Heard::new(attempt_id + "_2", channel, &answer));
    Ok(Asked { answer, trail })
}

/// Whether the charge was sent so shortly before that the gateway may not find it although it has it.
fn is_soon(app: &App, charge: &Charge) -> bool {
    age_s(app, charge) < app.config.gateway.consistency_window_s
}

/// Whether the charge was sent so long ago that the gateway may have forgotten its key: sent again it could be collected
/// a second time. So a charge that was left to a person is only looked for.
fn is_old(app: &App, charge: &Charge) -> bool {
    age_s(app, charge) >= app.config.gateway.give_up_after_s
}

/// How long ago it was sent first.
fn age_s(app: &App, charge: &Charge) -> i64 {
    app.platform.now().0.saturating_sub(charge.submitted_at_s.unwrap_or(charge.created_at_s))
}
