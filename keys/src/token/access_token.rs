//! The access token: what it says, how it is signed, and the one validator for it (RFC 9068).

use serde_json::{Map, Value, json};

use super::operation::{OperationGrant, read_operation};
use super::{SKEW_S, Scope, TYP_ACCESS, TYP_OPERATION, TokenKind};
use crate::claims::{BadClaim, Claims};
use crate::jws::{self, BadJws, SignFault};
use crate::{SigningKey, UnixSeconds, VerifyingKey};

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessToken {
    /// `iss`: the authorization server.
    pub iss: String,
    /// `aud`: the one service it is for.
    pub aud: String,
    /// `sub`: the client's id for kind `client`, else a user's, which is never equal to the client's.
    pub sub: String,
    /// `client_id`: the client it was issued to.
    pub client_id: String,
    /// `jti`: unique, and what a revocation or a one-time use names.
    pub jti: String,
    /// `partner_id`: the tenant.
    pub partner_id: String,
    /// `iat`.
    pub iat: UnixSeconds,
    /// `exp`: from this moment on the token is refused.
    pub exp: UnixSeconds,
    /// `token_kind`.
    pub kind: TokenKind,
    /// `scope`; empty, and absent on the wire, for one-time tokens.
    pub scope: Scope,
    /// `sid`: the session, on all kinds but `client` and `one_time`.
    pub sid: Option<String>,
    /// `act`: who acts for the subject (RFC 8693 §4.1).
    pub act: Option<Value>,
    /// `cnf.jkt`: the DPoP key's thumbprint (RFC 9449 §6.1).
    pub cnf_jkt: Option<String>,
    /// `cnf.x5t#S256`: the client certificate's thumbprint (RFC 8705 §3.1).
    pub cnf_x5t: Option<String>,
    /// `authorization_details[0]`, on one-time tokens and only there.
    pub operation: Option<OperationGrant>,
    /// `process_id`, on process tokens.
    pub process_id: Option<String>,
    /// `roles`, of staff.
    pub roles: Vec<String>,
    /// `acr`: how the user was authenticated.
    pub acr: Option<String>,
    /// `auth_time`: when the user was authenticated.
    pub auth_time: Option<UnixSeconds>,
    /// `external_id`: the partner's own id of the subject.
    pub external_id: Option<String>,
}

/// Who a verifier is: the issuer it trusts and the audience it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect<'a> {
    /// The one `iss` that is accepted.
    pub issuer: &'a str,
    /// The one `aud` that is accepted.
    pub audience: &'a str,
}

/// Why a token is refused. The client is told `invalid_token`; the reason is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Not a JWS we read.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Another kind of JWT: an ID token, an assertion, a proof.
    #[error("wrong typ")]
    WrongType,
    /// No `kid`, or none of ours.
    #[error("unknown key")]
    UnknownKey,
    /// The signature does not verify.
    #[error("bad signature")]
    BadSignature,
    /// `iss` is another.
    #[error("wrong issuer")]
    WrongIssuer,
    /// `aud` is another.
    #[error("wrong audience")]
    WrongAudience,
    /// `exp` is reached.
    #[error("expired")]
    Expired,
    /// `iat` or `nbf` lies further ahead than clocks differ.
    #[error("not yet valid")]
    NotYetValid,
    /// A claim is missing, of the wrong type, or does not go with the token's kind.
    #[error("bad claim {0}")]
    BadClaim(&'static str),
}

impl From<BadClaim> for TokenRefusal {
    fn from(bad: BadClaim) -> Self {
        Self::BadClaim(bad.0)
    }
}

impl AccessToken {
    /// Signs the token; `typ` follows from its kind.
    ///
    /// # Errors
    /// [`SignFault`] when the library fails.
    pub fn sign(&self, key: &SigningKey) -> Result<String, SignFault> {
        jws::sign(key, self.kind.typ(), &self.to_claims())
    }

    /// The claims as they go on the wire. Absent ones are left out, never `null`.
    pub fn to_claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", self.iss.as_str().into());
        put("aud", self.aud.as_str().into());
        put("sub", self.sub.as_str().into());
        put("client_id", self.client_id.as_str().into());
        put("jti", self.jti.as_str().into());
        put("iat", self.iat.0.into());
        put("exp", self.exp.0.into());
        put("partner_id", self.partner_id.as_str().into());
        put("token_kind", self.kind.as_str().into());
        if self.kind != TokenKind::OneTime {
            put("scope", self.scope.to_string().into());
        }
        let texts = [("sid", &self.sid), ("process_id", &self.process_id), ("acr", &self.acr)];
        for (name, value) in texts.into_iter().chain([("external_id", &self.external_id)]) {
            if let Some(value) = value {
                put(name, value.as_str().into());
            }
        }
        if let Some(act) = &self.act {
            put("act", act.clone());
        }
        let confirmation = [("jkt", &self.cnf_jkt), ("x5t#S256", &self.cnf_x5t)];
        let confirmation =
            confirmation.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let confirmation: Map<_, _> = confirmation.map(|(name, value)| (name.into(), value.into())).collect();
        if !confirmation.is_empty() {
            put("cnf", confirmation.into());
        }
        if let Some(operation) = &self.operation {
            put("authorization_details", json!([operation.to_value()]));
        }
        if !self.roles.is_empty() {
            put("roles", self.roles.clone().into());
        }
        if let Some(auth_time) = self.auth_time {
            put("auth_time", auth_time.0.into());
        }
        claims
    }

    /// Verifies a token from the wire and reads it.
    ///
    /// Checked are: form and `typ`, the key and its algorithm, the signature, `iss`, `aud`, the times, every
    /// claim by presence and JSON type, and that the claims go with the kind. `exp` has no grace; `iat` and `nbf`
    /// may be [`SKEW_S`] ahead.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub fn verify(
        token: &str,
        expect: &Expect<'_>,
        key_for: impl Fn(&str) -> Option<VerifyingKey>,
        now: UnixSeconds,
    ) -> Result<Self, TokenRefusal> {
        let compact = jws::Compact::parse(token).map_err(|bad| TokenRefusal::Malformed(reason(bad)))?;
        let header = compact.header();
        let typ = header.typ.as_deref().filter(|typ| [TYP_ACCESS, TYP_OPERATION].contains(typ));
        let typ = typ.ok_or(TokenRefusal::WrongType)?;
        let key = header.kid.as_deref().and_then(key_for).ok_or(TokenRefusal::UnknownKey)?;
        let payload = compact.verify(&key).map_err(|_| TokenRefusal::BadSignature)?;
        let token = Self::from_claims(&Claims::parse(payload)?, expect, now)?;
        if token.kind.typ() != typ {
            return Err(TokenRefusal::WrongType);
        }
        Ok(token)
    }

    fn from_claims(claims: &Claims, expect: &Expect<'_>, now: UnixSeconds) -> Result<Self, TokenRefusal> {
        if claims.str("iss")? != expect.issuer {
            return Err(TokenRefusal::WrongIssuer);
        }
        // Stricter than RFC 7519 §4.1.3: `aud` is one string, as we issue it.
        if claims.str("aud").map_err(|_| TokenRefusal::WrongAudience)? != expect.audience {
            return Err(TokenRefusal::WrongAudience);
        }
        let (iat, exp) = (claims.time("iat")?, claims.time("exp")?);
        if now >= exp {
            return Err(TokenRefusal::Expired);
        }
        let latest = now.plus(SKEW_S);
        if iat > latest || claims.opt_time("nbf")?.is_some_and(|nbf| nbf > latest) {
            return Err(TokenRefusal::NotYetValid);
        }
        let owned = |name| claims.str(name).map(str::to_owned);
        let optional = |name| claims.opt_str(name).map(|text| text.map(str::to_owned));
        let kind = claims.str("token_kind")?.parse().map_err(|_| BadClaim("token_kind"))?;
        let token = Self {
            iss: expect.issuer.to_owned(),
            aud: expect.audience.to_owned(),
            sub: owned("sub")?,
            client_id: owned("client_id")?,
            jti: owned("jti")?,
            partner_id: owned("partner_id")?,
            iat,
            exp,
            kind,
            scope: read_scope(claims, kind)?,
            sid: optional("sid")?,
            act: claims.object("act")?.map(|act| Value::Object(act.clone())),
            cnf_jkt: confirmation(claims, "jkt")?,
            cnf_x5t: confirmation(claims, "x5t#S256")?,
            operation: read_operation(claims)?,
            process_id: optional("process_id")?,
            roles: claims.strings("roles")?,
            acr: optional("acr")?,
            auth_time: claims.opt_time("auth_time")?,
            external_id: optional("external_id")?,
        };
        token.check_kind()?;
        Ok(token)
    }

    /// Whether the claims go with the kind. A token we issued always passes.
    fn check_kind(&self) -> Result<(), BadClaim> {
        let wrong = [
            ("exp", self.exp <= self.iat),
            ("sub", (self.sub == self.client_id) != (self.kind == TokenKind::Client)),
            ("sid", self.sid.is_some() != self.kind.has_session()),
            ("authorization_details", self.operation.is_some() != (self.kind == TokenKind::OneTime)),
            ("process_id", self.process_id.is_some() != (self.kind == TokenKind::Process)),
            ("roles", !self.roles.is_empty() && self.kind != TokenKind::Employee),
        ];
        wrong.into_iter().find(|(_, wrong)| *wrong).map_or(Ok(()), |(name, _)| Err(BadClaim(name)))
    }
}

fn reason(bad: BadJws) -> &'static str {
    match bad {
        BadJws::TooLong => "too long",
        BadJws::NotCompact => "not a compact JWS",
        BadJws::Encoding => "encoding",
        BadJws::Header(name) => name,
        BadJws::Algorithm => "algorithm",
        BadJws::Signature => "signature",
    }
}

fn read_scope(claims: &Claims, kind: TokenKind) -> Result<Scope, BadClaim> {
    match (claims.value("scope"), kind) {
        (None, TokenKind::OneTime) => Ok(Scope::default()),
        (Some(Value::String(text)), kind) if kind != TokenKind::OneTime => {
            text.parse().map_err(|_| BadClaim("scope"))
        }
        _ => Err(BadClaim("scope")),
    }
}

fn confirmation(claims: &Claims, name: &str) -> Result<Option<String>, BadClaim> {
    match claims.object("cnf")?.map(|cnf| cnf.get(name)) {
        None | Some(None) => Ok(None),
        Some(Some(Value::String(text))) if !text.is_empty() => Ok(Some(text.clone())),
        Some(Some(_)) => Err(BadClaim("cnf")),
    }
}

#[cfg(test)]
mod tests;
