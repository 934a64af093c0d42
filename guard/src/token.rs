//! From the text of an access token to a [`Caller`] in good standing.

use keys::claims::Claims;
use keys::jws::Compact;
use keys::token::{AccessToken, Expect, ONE_TIME_REPEAT_S, Scope, TokenKind, TokenRefusal};
use keys::{UnixSeconds, VerifyingKey, jws};

use crate::caller::{Caller, OneTime};
use crate::jwks::KeyCache;
use crate::refusal::Refusal;
use crate::requirement::Requirement;

/// A token whose signature, type, issuer, audience and times hold. Nothing is said about its owner yet.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) token: AccessToken,
    /// It may repeat an answer only: it is a one-time token past its `exp`, or from before a restore.
    pub(crate) late: bool,
}

/// Verifies `text`. With `late_allowed`, a one-time token may be up to [`ONE_TIME_REPEAT_S`] past its `exp`.
pub(crate) async fn verify(
    keys: &KeyCache,
    expect: &Expect<'_>,
    text: &str,
    late_allowed: bool,
    now: UnixSeconds,
) -> Result<Verified, Refusal> {
    let found = AccessToken::verify(text, expect, |kid| keys.known(kid), now);
    let found = match found {
        Err(TokenRefusal::UnknownKey) => {
            let fetched = fetch_key(keys, text, now).await?;
            AccessToken::verify(text, expect, |_| fetched.clone(), now)
        }
        other => other,
    };
    match found {
        Ok(token) => Ok(Verified { token, late: false }),
        Err(TokenRefusal::Expired) if late_allowed => late(keys, expect, text, now),
        Err(refusal) => Err(refuse(&refusal)),
    }
}

async fn fetch_key(keys: &KeyCache, text: &str, now: UnixSeconds) -> Result<Option<VerifyingKey>, Refusal> {
    let malformed = |_: jws::BadJws| Refusal::invalid_token("The token is malformed.");
    let token = Compact::parse(text).map_err(malformed)?;
    let Some(kid) = token.header().kid.as_deref() else {
        return Err(Refusal::invalid_token("The token is malformed."));
    };
    keys.find(kid, now).await.map_err(|failure| {
        tracing::error!(%failure, "no token can be verified");
        Refusal::unavailable("keys_unavailable", "The issuer's keys are not available yet.")
    })
}

/// Judges an expired one-time token as of its last second: it may still repeat an answer.
fn late(keys: &KeyCache, expect: &Expect<'_>, text: &str, now: UnixSeconds) -> Result<Verified, Refusal> {
    let expired = || refuse(&TokenRefusal::Expired);
    let expires_at = unverified_exp(text).ok_or_else(expired)?;
    if now.since(expires_at) > ONE_TIME_REPEAT_S {
        return Err(expired());
    }
    let last_second = expires_at.plus(-1);
    let token =
        AccessToken::verify(text, expect, |kid| keys.known(kid), last_second).map_err(|r| refuse(&r))?;
    if token.kind == TokenKind::OneTime { Ok(Verified { token, late: true }) } else { Err(expired()) }
}

/// The `exp` of a token that is verified right afterwards.
fn unverified_exp(text: &str) -> Option<UnixSeconds> {
    let token = Compact::parse(text).ok()?;
    Claims::parse(token.unverified_payload()).ok()?.time("exp").ok()
}

fn refuse(refusal: &TokenRefusal) -> Refusal {
    Refusal::invalid_token(match refusal {
        TokenRefusal::Expired => "The token has expired.",
        TokenRefusal::NotYetValid => "The token is not valid yet.",
        TokenRefusal::WrongType => "This is not an access token.",
        TokenRefusal::WrongIssuer => "The token is of another issuer.",
        TokenRefusal::WrongAudience => "The token is for another audience.",
        TokenRefusal::UnknownKey | TokenRefusal::BadSignature => "The token's signature does not hold.",
        TokenRefusal::Malformed(_) | TokenRefusal::BadClaim(_) => "The token is malformed.",
    })
}

/// Whether an operation takes the token at all.
///
/// # Errors
/// 401 for a one-time token where none is taken, and for a token bound to a certificate, which cannot be
/// proved here; 403 `wrong_token_kind` for an ordinary token of a kind that is not listed.
pub(crate) fn judge_kind(token: &AccessToken, requirement: &Requirement) -> Result<(), Refusal> {
    if token.cnf_x5t.is_some() {
        return Err(Refusal::invalid_token(
            "The token is bound to a certificate that this request does not prove.",
        ));
    }
    if requirement.kinds.contains(&token.kind) {
        return Ok(());
    }
    if token.kind == TokenKind::OneTime {
        return Err(Refusal::invalid_token("This operation does not take a one-time token."));
    }
    Err(Refusal::wrong_token_kind(token.kind.as_str()))
}

/// Whether `granted` holds every scope the operation needs.
pub(crate) fn judge_scope(granted: &Scope, requirement: &Requirement) -> Result<(), Refusal> {
    if requirement.scopes.iter().all(|scope| granted.contains(scope)) {
        return Ok(());
    }
    Err(Refusal::insufficient_scope(&requirement.scopes.join(" ")))
}

/// The caller that a token in good standing makes.
pub(crate) fn caller(verified: Verified) -> Caller {
    let Verified { token, late } = verified;
    let one_time = token.operation.map(|operation| OneTime {
        issuer: token.iss,
        jti: token.jti.clone(),
        expires_at: token.exp,
        late,
        operation,
    });
    Caller {
        kind: token.kind,
        partner_id: token.partner_id,
        client_id: token.client_id,
        sub: token.sub,
        scope: token.scope,
        jti: Some(token.jti),
        process_id: token.process_id,
        one_time,
    }
}
