//! The sandbox gateway and the HTTP adapter, over real HTTP.

use keys::token::Money;
use resource_api::domain::card::Card;
use resource_api::gateway::{
    Answer, ChargeAsk, DeclineCategory, Found, GatewayConfig, HttpGateway, PaymentGateway, TokeniseRefusal,
};
use resource_api::sandbox::{Outcome, Sandbox, Step};

use super::world::{loopback, start_sandbox};

async fn gateway() -> (Sandbox, HttpGateway) {
    let (sandbox, url) = start_sandbox().await;
    let mut config = GatewayConfig::at(url.parse().unwrap());
    config.deadline_ms = 300;
    (sandbox, HttpGateway::new(loopback(), config))
}

fn ask(charge_id: &str, source: &str) -> ChargeAsk {
    ChargeAsk {
        charge_id: charge_id.to_owned(),
        money: Money { amount: 1_050, currency: "EUR".to_owned() },
        source: source.to_owned(),
    }
}

fn captured(answer: &Answer) -> bool {
    matches!(answer, Answer::Captured { .. })
}

fn unknown(answer: &Answer) -> bool {
    matches!(answer, Answer::Unknown(_))
}

#[tokio::test]
async fn definite_outcomes_are_told_and_recorded() {
    let (sandbox, gateway) = gateway().await;
    assert!(captured(&gateway.charge(&ask("chg_1", "tok_success")).await));
    for (id, source, code) in
        [("chg_2", "tok_decline", "card_declined"), ("chg_3", "tok_insufficient_funds", "insufficient_funds")]
    {
        let Answer::Declined { code: told, category, .. } = gateway.charge(&ask(id, source)).await else {
            panic!("{source} was not declined")
        };
        assert_eq!((told.as_str(), category), (code, DeclineCategory::Soft));
    }
    let kept: Vec<_> =
        sandbox.charges().into_iter().map(|charge| (charge.reference, charge.outcome)).collect();
    let declined = |code: &str| Outcome::Declined { decline_code: code.to_owned() };
    assert_eq!(
        kept,
        [
            ("chg_1".to_owned(), Outcome::Captured),
            ("chg_2".to_owned(), declined("card_declined")),
            ("chg_3".to_owned(), declined("insufficient_funds")),
        ]
    );
}

#[tokio::test]
async fn the_same_key_sent_often_collects_once() {
    let (sandbox, gateway) = gateway().await;
    let ask = ask("chg_1", "tok_success");
    let answers = futures_util::future::join_all((0..16).map(|_| gateway.charge(&ask))).await;
    assert!(answers.iter().all(captured));
    assert_eq!(sandbox.charges().len(), 1);
    assert_eq!(sandbox.arrivals("chg_1"), 16);
    let other = ChargeAsk { money: Money { amount: 5, currency: "EUR".to_owned() }, ..ask };
    assert!(unknown(&gateway.charge(&other).await), "the same key with another amount is no capture");
}

#[tokio::test]
async fn a_silent_gateway_leaves_the_outcome_unknown_and_nothing_collected() {
    let (sandbox, gateway) = gateway().await;
    let ask = ask("chg_1", "tok_timeout_then_success");
    assert!(unknown(&gateway.charge(&ask).await));
    assert_eq!(gateway.find(&ask).await, Found::Nothing);
    assert_eq!(sandbox.charges().len(), 0);
    assert!(captured(&gateway.charge(&ask).await));
}

#[tokio::test]
async fn a_lost_answer_is_found_again_by_our_own_reference() {
    let (sandbox, gateway) = gateway().await;
    let ask = ask("chg_1", "tok_success_then_lost_answer");
    assert!(unknown(&gateway.charge(&ask).await));
    assert_eq!(sandbox.charges().len(), 1);
    let Found::Charge(answer) = gateway.find(&ask).await else { panic!("not found") };
    assert!(captured(&answer));
}

#[tokio::test]
async fn whatever_is_not_documented_is_unknown() {
    let (sandbox, gateway) = gateway().await;
    let steps = [
        Step::Drop,
        Step::ServerError,
        Step::Garbage,
        Step::CaptureShort,
        Step::CaptureOtherCurrency,
        Step::CaptureThenHang,
        Step::CaptureThenServerError,
        Step::CaptureThenTruncate,
        Step::CaptureHidden(1),
        Step::AuthorizeThenDrop,
    ];
    for (index, step) in steps.into_iter().enumerate() {
        let token = format!("tok_{index}");
        sandbox.script(&token, vec![step.clone()]);
        let answer = gateway.charge(&ask(&format!("chg_{index}"), &token)).await;
        assert!(unknown(&answer), "{step:?}: {answer:?}");
    }
}

/// Security row N9, at the gateway.
#[tokio::test]
async fn n9_capturing_and_voiding_often_or_after_each_other_has_one_effect() {
    let (sandbox, gateway) = gateway().await;
    for id in ["chg_captured", "chg_voided"] {
        assert!(matches!(gateway.charge(&ask(id, "tok_authorized")).await, Answer::Authorized { .. }));
    }
    let captured_one = ask("chg_captured", "tok_authorized");
    let captures = futures_util::future::join_all((0..8).map(|_| gateway.capture(&captured_one))).await;
    assert!(captures.iter().all(captured), "{captures:?}");
    let voided_one = ask("chg_voided", "tok_authorized");
    let voids = futures_util::future::join_all((0..8).map(|_| gateway.void(&voided_one))).await;
    assert!(voids.iter().all(|answer| matches!(answer, Answer::Voided { .. })), "{voids:?}");
    assert!(unknown(&gateway.void(&captured_one).await) && unknown(&gateway.capture(&voided_one).await));
    let Found::Charge(found) = gateway.find(&captured_one).await else { panic!("not found") };
    assert!(captured(&found));
    let outcomes: Vec<_> = sandbox.charges().into_iter().map(|charge| charge.outcome).collect();
    assert_eq!(outcomes, [Outcome::Captured, Outcome::Voided]);
    assert!(unknown(&gateway.capture(&ask("chg_never", "tok_authorized")).await));
}

#[tokio::test]
async fn a_payer_is_sent_where_the_gateway_says() {
    let (sandbox, gateway) = gateway().await;
    let ask = ask("chg_1", "tok_requires_action");
    let Answer::ActionRequired { redirect_url, .. } = gateway.charge(&ask).await else { panic!("no action") };
    assert!(redirect_url.ends_with("/challenge/chg_1"), "{redirect_url}");
    assert!(unknown(&gateway.capture(&ask).await), "nothing is reserved");
    assert!(sandbox.confirm("chg_1") && !sandbox.fail("chg_1"));
    assert!(captured(&gateway.charge(&ask).await));
}

#[tokio::test]
async fn an_absent_gateway_is_unknown_too() {
    let config = GatewayConfig::at("http://127.0.0.1:9".parse().unwrap());
    let gateway = HttpGateway::new(loopback(), config);
    assert!(unknown(&gateway.charge(&ask("chg_1", "tok_success")).await));
    let card = Card::new("4242424242424242".to_owned(), None, 12, 2030).unwrap();
    assert!(matches!(gateway.tokenise(&card).await, Err(TokeniseRefusal::Unavailable(_))));
}

#[tokio::test]
async fn cards_become_tokens_with_the_same_outcomes() {
    let (_sandbox, gateway) = gateway().await;
    let card = |number: &str| Card::new(number.to_owned(), Some("123".to_owned()), 12, 2030).unwrap();
    let visa = gateway.tokenise(&card("4242424242424242")).await.unwrap();
    assert_eq!((visa.brand.as_deref(), visa.last4.as_deref()), (Some("visa"), Some("4242")));
    assert!(captured(&gateway.charge(&ask("chg_1", &visa.token)).await));
    for (number, code) in [("4000000000000002", "card_declined"), ("4000000000009995", "insufficient_funds")]
    {
        let token = gateway.tokenise(&card(number)).await.unwrap().token;
        let answer = gateway.charge(&ask(number, &token)).await;
        assert!(matches!(&answer, Answer::Declined { code: told, .. } if told == code), "{answer:?}");
    }
    let refused = gateway.tokenise(&card("4111111111111111")).await;
    assert_eq!(refused, Err(TokeniseRefusal::Refused("unknown_test_card")));
}
