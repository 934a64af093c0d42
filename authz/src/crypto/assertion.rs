//! Client assertions: `private_key_jwt` (RFC 7523 §3, RFC 7521 §5.2).

use keys::{Algorithm, UnixSeconds, claims::Claims, jws::Compact};

use crate::domain::client::{Client, KeyUse};

/// `client_assertion_type` of a JWT (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The algorithms that an assertion may be signed with.
pub const ASSERTION_ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

/// How far ahead `exp` may be, seconds.
const LIFE_S_MAX: i64 = 3600;
/// How far ahead `iat` and `nbf` may be, seconds.
const SKEW_S: i64 = 10;
/// Longest `jti`, bytes.
const JTI_BYTES_MAX: usize = 256;

/// What remains to be done with a verified assertion: remember that it was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its id, unique for the client.
    pub jti: String,
    /// When it was made, as far as it says; otherwise the earliest moment at which its `exp` was acceptable.
    pub issued_at: UnixSeconds,
    /// Until when the id must be remembered.
    pub expires_at: UnixSeconds,
}

/// The client that an assertion says it is from, before anything is verified.
pub fn claimed_client(assertion: &str) -> Option<String> {
    let compact = Compact::parse(assertion).ok()?;
    let claims = Claims::parse(compact.unverified_payload()).ok()?;
    claims.str("sub").ok().map(ToOwned::to_owned)
}

/// Verifies an assertion of `client` at `now`. `audiences` is our issuer, and the URL of the endpoint called for a
/// client that may name it.
///
/// # Errors
/// The reason, for the log.
pub fn verify(
    assertion: &str,
    client: &Client,
    audiences: &[&str],
    now: UnixSeconds,
) -> Result<Verified, &'static str> {
    let compact = Compact::parse(assertion).map_err(|_| "assertion is not an acceptable JWS")?;
    let header = compact.header();
    if !matches!(header.typ.as_deref(), None | Some("JWT" | "client-authentication+jwt")) {
        return Err("assertion has another typ");
    }
    if !ASSERTION_ALGORITHMS.contains(&header.alg) {
        return Err("assertion is signed with an algorithm that is not offered");
    }
    let mut candidates = client.keys_for(KeyUse::Assertion);
    let key = match header.kid.as_deref() {
        Some(kid) => candidates.find(|key| key.kid == kid),
        None => candidates.next().filter(|_| candidates.next().is_none()),
    };
    let key = key.ok_or("assertion names no key of the client")?;
    if key.jwk.alg().is_some_and(|registered| registered != header.alg) {
        return Err("assertion is signed with another algorithm than registered");
    }
    let payload = compact.verify(&key.verifying).map_err(|_| "assertion signature does not verify")?;
    let claims = Claims::parse(payload).map_err(|_| "assertion payload is not strict JSON")?;
    judge(&claims, &client.id, audiences, now)
}

fn judge(
    claims: &Claims,
    client_id: &str,
    audiences: &[&str],
    now: UnixSeconds,
) -> Result<Verified, &'static str> {
    if claims.str("iss") != Ok(client_id) || claims.str("sub") != Ok(client_id) {
        return Err("assertion iss and sub are not the client");
    }
    // Stricter than RFC 7523 §3: one audience, and it is the issuer (RFC 10070).
    if !claims.audience().is_ok_and(|audience| audiences.contains(&audience)) {
        return Err("assertion aud is not the issuer alone");
    }
    let expires_at = claims.time("exp").map_err(|_| "assertion exp is missing or no integer")?;
    if now >= expires_at {
        return Err("assertion has expired");
    }
    if expires_at.since(now) > LIFE_S_MAX {
        return Err("assertion exp is more than an hour ahead");
    }
    for name in ["iat", "nbf"] {
        let moment = claims.opt_time(name).map_err(|_| "assertion iat or nbf is no integer")?;
        if moment.is_some_and(|moment| moment.since(now) > SKEW_S) {
            return Err("assertion is from the future");
        }
    }
    let jti = claims.str("jti").map_err(|_| "assertion jti is missing")?;
    if jti.len() > JTI_BYTES_MAX {
        return Err("assertion jti is too long");
    }
    let issued_at = claims.opt_time("iat").ok().flatten().unwrap_or(expires_at.plus(-LIFE_S_MAX));
    Ok(Verified { jti: jti.to_owned(), issued_at, expires_at })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
    const ISSUER: &str = "https://as.example";

    fn judged(change: impl FnOnce(&mut Value)) -> Result<Verified, &'static str> {
        let mut claims = json!({
            "iss": "cli_1", "sub": "cli_1", "aud": ISSUER, "jti": "j-1", "iat": NOW.0, "exp": NOW.0 + 60,
        });
        change(&mut claims);
        judge(&Claims::parse(claims.to_string().as_bytes()).unwrap(), "cli_1", &[ISSUER], NOW)
    }

    #[test]
    fn a_sound_assertion_is_taken() {
        let expected = Verified { jti: "j-1".into(), issued_at: NOW, expires_at: NOW.plus(60) };
        assert_eq!(judged(|_| {}), Ok(expected.clone()));
        assert_eq!(judged(|claims| claims["aud"] = json!([ISSUER])), Ok(expected.clone()));
        assert_eq!(judged(|claims| claims["nbf"] = json!(NOW.0 + 10)), Ok(expected));
        assert!(judged(|claims| claims["exp"] = json!(NOW.0 + 3600)).is_ok());
        let undated = judged(|claims| drop(claims.as_object_mut().map(|members| members.remove("iat"))));
        assert_eq!(undated.map(|found| found.issued_at), Ok(NOW.plus(60 - 3600)));
    }

    #[test]
    fn each_broken_claim_is_refused() {
        let cases: [(&str, Value); 17] = [
            ("iss", json!("cli_2")),
            ("sub", json!("cli_2")),
            ("aud", json!("https://other.example")),
            ("aud", json!("https://as.example/oauth2/token")),
            ("aud", json!([ISSUER, "https://other.example"])),
            ("aud", json!([])),
            ("exp", Value::Null),
            ("exp", json!("1700000060")),
            ("exp", json!(1_700_000_060.5)),
            ("exp", json!(NOW.0)),
            ("exp", json!(NOW.0 + 3601)),
            ("iat", json!(NOW.0 + 11)),
            ("nbf", json!(NOW.0 + 61)),
            ("nbf", json!("now")),
            ("jti", json!(1)),
            ("jti", json!("")),
            ("jti", json!("j".repeat(257))),
        ];
        for (name, value) in cases {
            let shown = value.to_string();
            assert!(judged(|claims| claims[name] = value).is_err(), "{name}: {shown}");
        }
        for name in ["iss", "sub", "aud", "exp", "jti"] {
            let without = judged(|claims| drop(claims.as_object_mut().map(|members| members.remove(name))));
            assert!(without.is_err(), "{name}");
        }
    }
}
