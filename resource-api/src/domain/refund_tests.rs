//! What refunds and disputes do to an order, case by case.

use keys::UnixSeconds;

use super::*;
use crate::domain::fiat_in::{Origin, RefundTotals};
use crate::monitoring::Outcome;

const NOW: UnixSeconds = UnixSeconds(9);

fn order(state: FiatInState, refunded: i64, held: i64) -> FiatIn {
    FiatIn {
        fiat_in_id: "fin_1".to_owned(),
        partner_id: "acme".to_owned(),
        customer_id: "cus_1".to_owned(),
        sub: "alice".to_owned(),
        external_id: "ext-1".to_owned(),
        entity_id: "ent_1".to_owned(),
        client_id: "backend".to_owned(),
        token_jti: None,
        money: Money { amount: 1_000, currency: "EUR".parse().unwrap() },
        limit_value: None,
        client_reference: "order-1".to_owned(),
        origin: Origin::default(),
        state,
        state_reason: None,
        refunds: RefundTotals { refunded, held },
        decision: Outcome::Accept,
        version: 1,
        created_at: UnixSeconds(1),
        updated_at: UnixSeconds(1),
        expires_at: None,
        charge: None,
    }
}

#[test]
fn an_ask_has_an_amount_above_zero_and_a_reason() {
    for amount in [0, -1, i64::MIN] {
        assert_eq!(RefundAsk::checked(Some(amount), "x").unwrap_err().code, "amount_not_positive");
    }
    assert_eq!(RefundAsk::checked(None, " ").unwrap_err().code, "reason_required");
    assert_eq!(RefundAsk::checked(None, &"x".repeat(501)).unwrap_err().code, "reason_too_long");
    assert_eq!(RefundAsk::checked(Some(1), " broken ").unwrap().reason, "broken");
}

#[test]
fn no_more_goes_back_than_is_left() {
    let ask = |amount| RefundAsk { amount, reason: "x".to_owned() };
    let order = order(FiatInState::PartiallyRefunded, 300, 200);
    assert_eq!(ask(None).amount_of(&order), Ok(500));
    assert_eq!(ask(Some(500)).amount_of(&order), Ok(500));
    for amount in [501, i64::MAX] {
        let refusal = ask(Some(amount)).amount_of(&order).unwrap_err();
        assert_eq!(refusal.code, "amount_exceeds_refundable");
        assert!(refusal.detail.starts_with("500 minor units of EUR"), "{}", refusal.detail);
    }
}

#[test]
fn an_order_that_went_back_has_nothing_left_and_an_open_one_is_not_refunded() {
    let ask = RefundAsk { amount: None, reason: "x".to_owned() };
    for state in FiatInState::ALL {
        let code = ask.amount_of(&order(*state, 1_000, 0)).unwrap_err().code;
        let expected = match state {
            FiatInState::Completed | FiatInState::PartiallyRefunded | FiatInState::Refunded => {
                "amount_exceeds_refundable"
            }
            _ => "not_refundable",
        };
        assert_eq!(code, expected, "{state}");
    }
}

#[test]
fn refunds_move_an_order_to_partially_refunded_and_refunded() {
    let held = with_held(&order(FiatInState::Completed, 0, 0), 400, NOW).unwrap();
    assert_eq!((held.state, held.refunds.held, held.version), (FiatInState::Completed, 400, 2));
    let part = with_ended(&held, 400, true, NOW).unwrap();
    assert_eq!((part.state, part.refunds.refunded), (FiatInState::PartiallyRefunded, 400));
    let all = with_ended(&with_held(&part, 600, NOW).unwrap(), 600, true, NOW).unwrap();
    assert_eq!((all.state, all.refunds), (FiatInState::Refunded, RefundTotals { refunded: 1_000, held: 0 }));
    assert_eq!(with_held(&all, 1, NOW), None);
    assert_eq!(with_ended(&all, 1, true, NOW), None);
}

#[test]
fn a_failed_refund_leaves_the_order_as_it_was() {
    let before = order(FiatInState::Completed, 0, 0);
    let held = with_held(&before, 400, NOW).unwrap();
    let failed = with_ended(&held, 400, false, NOW).unwrap();
    assert_eq!((failed.state, failed.refunds), (before.state, before.refunds));
}

#[test]
fn a_refund_that_ends_during_a_dispute_does_not_hide_it() {
    for state in [FiatInState::Disputed, FiatInState::ChargedBack, FiatInState::Cancelled] {
        let ended = with_ended(&order(state, 0, 400), 400, true, NOW).unwrap();
        assert_eq!((ended.state, ended.refunds.refunded), (state, 400));
    }
}

#[test]
fn a_dispute_takes_its_turns_in_any_order() {
    use DisputeTurn::{Lost, Opened, Won};
    use FiatInState as State;
    let cases = [
        (State::Completed, 0, Opened, Some(State::Disputed)),
        (State::Refunded, 1_000, Opened, Some(State::Disputed)),
        (State::Disputed, 0, Opened, Some(State::Disputed)),
        (State::Disputed, 0, Won, Some(State::Completed)),
        (State::Disputed, 300, Won, Some(State::PartiallyRefunded)),
        (State::Disputed, 1_000, Won, Some(State::Refunded)),
        (State::Completed, 0, Won, Some(State::Completed)),
        (State::Disputed, 0, Lost, Some(State::ChargedBack)),
        (State::Completed, 0, Lost, Some(State::ChargedBack)),
        (State::ChargedBack, 0, Won, Some(State::ChargedBack)),
        (State::ChargedBack, 0, Opened, Some(State::ChargedBack)),
        (State::Processing, 0, Opened, None),
        (State::Failed, 0, Lost, None),
        (State::Cancelled, 0, Won, None),
    ];
    for (from, refunded, turn, expected) in cases {
        let after = after_dispute(&order(from, refunded, 0), turn, false, NOW);
        assert_eq!(after.map(|order| order.state), expected, "{from} {turn:?}");
    }
    let other = after_dispute(&order(State::Disputed, 0, 0), Won, true, NOW);
    assert_eq!(other.map(|order| order.state), Some(State::Disputed), "another dispute is open");
}
