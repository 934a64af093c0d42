//! Spending an operation-bound token (security decision DEC7).
//!
//! The token is taken in the same transaction that records the operation. So there is no moment at
//! which the one is done and the other is not, and a lost answer can be asked for again.

use futures_util::future::BoxFuture;
use keys::UnixSeconds;
use keys::token::Money;

use crate::caller::OneTime;

/// One attempt to spend a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `jti`.
    pub jti: String,
    /// Keyed hash of method, target URI and raw body.
    pub fingerprint: String,
    /// The token's `exp`; the store keeps the use for a day longer.
    pub expires_at: UnixSeconds,
}

/// What the store of spent tokens says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken<A> {
    /// It was unspent and is taken now, unless the transaction is undone.
    Fresh,
    /// It was spent by this very request; the answer, once there is one.
    Same(Option<A>),
    /// It was spent by another request.
    Different,
}

/// The store of spent tokens, bound to an open transaction.
pub trait TokenUses: Send {
    /// A stored answer.
    type Answer: Send;
    /// Why the store failed; the transaction is then rolled back.
    type Fault: Send;

    /// Takes the token, or finds out who had it. One guarded write, so that of many racing
    /// requests one gets `Fresh`.
    fn take<'a>(
        &'a mut self,
        attempt: &'a TokenUse,
    ) -> BoxFuture<'a, Result<Taken<Self::Answer>, Self::Fault>>;
}

/// What a request asks for, to be compared with what the token is bound to.
#[derive(Debug, Clone, Default)]
pub struct AskedOperation<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// The target URI.
    pub uri: &'a str,
    /// The money the body moves.
    pub money: Option<&'a Money>,
    /// The entity the body names.
    pub entity_id: Option<&'a str>,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed<A> {
    /// The token is spent by this operation: carry it out in this transaction.
    Fresh,
    /// The same request again: give the same answer.
    Repeat(A),
    /// The same request again, and the first is not answered yet.
    Running,
    /// 401 `token_already_used`, and an alert.
    AlreadyUsed,
    /// 403 `operation_mismatch`: the named part differs. The token is spent; commit that.
    Mismatch(&'static str),
    /// 401: it expired, or was voided by a restore, before it was ever used. Undo.
    Expired,
}

/// Spends the token for `asked`, in the transaction behind `uses`.
///
/// # Errors
/// The store's fault.
pub async fn redeem<U: TokenUses>(
    uses: &mut U,
    token: &OneTime,
    asked: &AskedOperation<'_>,
    fingerprint: &str,
) -> Result<Redeemed<U::Answer>, U::Fault> {
    let attempt = TokenUse {
        issuer: token.issuer.clone(),
        jti: token.jti.clone(),
        fingerprint: fingerprint.to_owned(),
        expires_at: token.expires_at,
    };
    Ok(match uses.take(&attempt).await? {
        Taken::Same(Some(answer)) => Redeemed::Repeat(answer),
        Taken::Same(None) => Redeemed::Running,
        Taken::Different => Redeemed::AlreadyUsed,
        Taken::Fresh if token.late => Redeemed::Expired,
        Taken::Fresh => match mismatch(token, asked) {
            Some(part) => Redeemed::Mismatch(part),
            None => Redeemed::Fresh,
        },
    })
}

/// The first bound part that differs from what is asked. What the token does not bind may be anything.
pub fn mismatch(token: &OneTime, asked: &AskedOperation<'_>) -> Option<&'static str> {
    let bound = &token.operation;
    if bound.method != asked.method {
        return Some("method");
    }
    if bound.uri != asked.uri {
        return Some("uri");
    }
    if bound.money.as_ref().is_some_and(|money| asked.money != Some(money)) {
        return Some("money");
    }
    if bound.entity_id.as_deref().is_some_and(|entity| asked.entity_id != Some(entity)) {
        return Some("entity_id");
    }
    None
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use keys::token::OperationGrant;

    use super::*;

    /// A store that answers as the test says.
    struct Says(Taken<&'static str>);

    impl TokenUses for Says {
        type Answer = &'static str;
        type Fault = ();

        fn take<'a>(&'a mut self, _attempt: &'a TokenUse) -> BoxFuture<'a, Result<Taken<&'static str>, ()>> {
            std::future::ready(Ok(self.0.clone())).boxed()
        }
    }

    fn money(amount: i64, currency: &str) -> Money {
        Money { amount, currency: currency.to_owned() }
    }

    fn token() -> OneTime {
        OneTime {
            issuer: "https://as.example".into(),
            jti: "jti-1".into(),
            expires_at: UnixSeconds(1_000),
            late: false,
            operation: OperationGrant {
                method: "POST".into(),
                uri: "https://rs.example/v1/fiat-ins".into(),
                money: Some(money(1_000, "EUR")),
                entity_id: Some("ent_1".into()),
            },
        }
    }

    fn asked(money: &Money) -> AskedOperation<'_> {
        AskedOperation {
            method: "POST",
            uri: "https://rs.example/v1/fiat-ins",
            money: Some(money),
            entity_id: Some("ent_1"),
        }
    }

    fn verdict(
        says: Taken<&'static str>,
        token: &OneTime,
        asked: &AskedOperation<'_>,
    ) -> Redeemed<&'static str> {
        redeem(&mut Says(says), token, asked, "print").now_or_never().unwrap().unwrap()
    }

    #[test]
    fn a_fresh_token_is_spent_by_its_own_operation() {
        let money = money(1_000, "EUR");
        assert_eq!(verdict(Taken::Fresh, &token(), &asked(&money)), Redeemed::Fresh);
    }

    #[test]
    fn every_bound_part_must_be_equal() {
        let (same, more, other) = (money(1_000, "EUR"), money(1_001, "EUR"), money(1_000, "USD"));
        let cases = [
            (AskedOperation { method: "PUT", ..asked(&same) }, "method"),
            (AskedOperation { uri: "https://rs.example/v1/transfers", ..asked(&same) }, "uri"),
            (AskedOperation { uri: "https://rs.example/v1/fiat-ins?x=1", ..asked(&same) }, "uri"),
            (asked(&more), "money"),
            (asked(&other), "money"),
            (AskedOperation { money: None, ..asked(&same) }, "money"),
            (AskedOperation { entity_id: Some("ent_2"), ..asked(&same) }, "entity_id"),
            (AskedOperation { entity_id: None, ..asked(&same) }, "entity_id"),
        ];
        for (asked, part) in cases {
            assert_eq!(verdict(Taken::Fresh, &token(), &asked), Redeemed::Mismatch(part));
        }
    }

    #[test]
    fn what_is_not_bound_may_be_anything() {
        let mut free = token();
        free.operation.money = None;
        free.operation.entity_id = None;
        let money = money(7, "JPY");
        assert_eq!(verdict(Taken::Fresh, &free, &asked(&money)), Redeemed::Fresh);
    }

    #[test]
    fn a_spent_token_repeats_its_answer_and_nothing_else() {
        let money = money(1_000, "EUR");
        assert_eq!(
            verdict(Taken::Same(Some("answer")), &token(), &asked(&money)),
            Redeemed::Repeat("answer")
        );
        assert_eq!(verdict(Taken::Same(None), &token(), &asked(&money)), Redeemed::Running);
        assert_eq!(verdict(Taken::Different, &token(), &asked(&money)), Redeemed::AlreadyUsed);
    }

    #[test]
    fn a_late_token_that_was_never_used_has_expired() {
        let late = OneTime { late: true, ..token() };
        let money = money(1_000, "EUR");
        assert_eq!(verdict(Taken::Fresh, &late, &asked(&money)), Redeemed::Expired);
        assert_eq!(verdict(Taken::Same(Some("answer")), &late, &asked(&money)), Redeemed::Repeat("answer"));
    }
}
