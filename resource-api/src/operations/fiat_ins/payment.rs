//! What pays: a gateway token, or a card that becomes one before anything is hashed, logged or stored.

use super::super::Failure;
use crate::app::App;
use crate::domain::card::{Card, Instrument, is_card_number};
use crate::domain::refusal::{Class, Refusal};
use crate::domain::transfer::is_reference;
use crate::gateway::TokeniseRefusal;

/// An instrument, and the bytes over which the request is recognised when it comes again.
pub(crate) struct Paid {
    pub(crate) instrument: Instrument,
    pub(crate) hashed: Vec<u8>,
}

/// An instrument known by the gateway's token. A card number in its place is refused.
///
/// # Errors
/// 422 `payment_token_invalid` at `pointer`.
pub(crate) fn by_token(token: &str, pointer: &str) -> Result<Instrument, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=128).contains(&token.len()) || !token.bytes().all(plain) || is_card_number(token) {
        return Err(Refusal::unprocessable(
            "payment_token_invalid",
            pointer,
            "not a token of the payment gateway",
        ));
    }
    Ok(Instrument { token: token.to_owned(), brand: None, last4: None, fingerprint: None, country: None })
}

/// Turns a card into an instrument. The request is recognised by its bytes with number and code blanked
/// out, and by the gateway's own name of the card.
///
/// # Errors
/// 422 `card_refused`, `cards_not_taken`; 503 `gateway_unavailable`.
pub(crate) async fn by_card(app: &App, card: &Card, raw: &[u8], pointer: &str) -> Result<Paid, Failure> {
    let Some(mut hashed) = card.blank_out(raw) else {
        return Err(Refusal::bad_request("invalid_card", "digits of a card are written plainly").into());
    };
    let instrument = app.gateway.tokenise(card).await.map_err(|refused| match refused {
        TokeniseRefusal::Refused(code) => Refusal::unprocessable(
            "card_refused",
            pointer,
            format!("the payment gateway refuses the card: {code}"),
        ),
        TokeniseRefusal::NotOffered => {
            Refusal::unprocessable("cards_not_taken", pointer, "cards are taken as gateway tokens only")
        }
        TokeniseRefusal::Unavailable(reason) => {
            tracing::warn!(reason, "the payment gateway made no token");
            Refusal::new(Class::Unavailable, "gateway_unavailable", "the payment gateway does not answer")
        }
    })?;
    let name = instrument.fingerprint.as_deref().unwrap_or(&instrument.token);
    hashed.extend_from_slice(name.as_bytes());
    Ok(Paid { instrument, hashed })
}

/// The partner's own reference. A card number is none: it would be stored and shown.
///
/// # Errors
/// 422 `client_reference_not_allowed` at `pointer`.
pub(crate) fn reference(text: &str, pointer: &str) -> Result<String, Refusal> {
    if is_reference(text) && !is_card_number(text) {
        return Ok(text.to_owned());
    }
    let detail = "1 to 64 of A-Z a-z 0-9 . _ - : /";
    Err(Refusal::unprocessable("client_reference_not_allowed", pointer, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_neither_a_token_nor_a_reference() {
        assert_eq!(by_token("4242424242424242", "/t").unwrap_err().code, "payment_token_invalid");
        assert_eq!(reference("4242424242424242", "/r").unwrap_err().code, "client_reference_not_allowed");
        assert!(by_token("tok_success", "/t").is_ok());
        assert_eq!(reference("order-2026/7", "/r").as_deref(), Ok("order-2026/7"));
    }
}
