//! When a charge of which nothing new is known is looked at again, and when that is left to a person.

use chassis::Fault;

use super::call::Awaits;
use crate::app::App;
use crate::domain::charge::ChargeState;
use crate::store::charges::Charge;

/// Where a charge goes that was taken and of which nothing new was heard, and when it is due, Unix milliseconds.
///
/// # Errors
/// A state of the charge that this version does not know.
pub(super) fn next_look(app: &App, charge: &Charge) -> Result<(ChargeState, i64), Fault> {
    let gateway = &app.config.gateway;
    let now_ms = app.platform.clock.now_ms();
    let after = |wait_s: i64| now_ms.saturating_add(wait_s.saturating_mul(1_000));
    let awaits = Awaits::of(charge)?;
    if awaits == Awaits::Payer {
        // How long the payer may take is the order's time limit, not the charge's.
        return Ok((ChargeState::RequiresAction, after(gateway.look_for_payer_every_s)));
    }
    let begun_at_s = match awaits {
        Awaits::Void => charge.void_requested_at_s,
        _ => charge.submitted_at_s,
    };
    let age_s = app.platform.now().0.saturating_sub(begun_at_s.unwrap_or(charge.created_at_s));
    if age_s >= gateway.give_up_after_s {
        tracing::error!(charge = charge.charge_id, age_s, "the outcome of a charge was not found out");
        return Ok((ChargeState::Manual, now_ms));
    }
    let state = match charge.state()? {
        state @ (ChargeState::RequiresAction | ChargeState::Authorized) => state,
        _ => ChargeState::Unknown,
    };
    let tried = usize::try_from(charge.attempt - 1).unwrap_or_default();
    let schedule = &gateway.look_again_after_s;
    let wait_s = schedule.get(tried).or(schedule.last()).copied().unwrap_or(60);
    Ok((state, after(wait_s)))
}
