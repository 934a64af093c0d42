//! Where in a request the token stands: `Authorization: Bearer` (RFC 6750 §2.1) or `DPoP` (RFC 9449 §7.1), or
//! `x-pti-token` on the paths of that dialect. A request carries one token, in one place, once.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::dpop::Scheme;
use crate::refusal::Refusal;
use crate::requirement::Dialect;

/// The header of the `pti` dialect's one-time token.
pub const PTI_TOKEN: &str = "x-pti-token";
/// The header of the `pti` dialect's client id.
pub const PTI_CLIENT_ID: &str = "x-pti-client-id";
/// The header of the `pti` dialect's request signature.
pub const PTI_SIGNATURE: &str = "x-pti-signature";

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried<'a> {
    /// A token in `Authorization`, under its scheme.
    Token(Scheme, &'a str),
    /// A token in `x-pti-token`: only one-time tokens travel there.
    PtiToken(&'a str),
    /// No token, but a vendor's signed request.
    PtiSigned,
    /// Nothing.
    Nothing,
}

/// Finds the token of a request to an operation of `dialect`.
///
/// # Errors
/// 400 for more than one token or an unreadable header, 401 for a scheme other than Bearer and DPoP.
pub fn find(headers: &HeaderMap, dialect: Option<Dialect>) -> Result<Carried<'_>, Refusal> {
    let authorization = single(headers, AUTHORIZATION.as_str())?.map(access_token).transpose()?;
    let on_pti = dialect == Some(Dialect::Pti);
    // Outside the dialect the header has no meaning: a token in it is as good as absent.
    let pti_token = if on_pti { single(headers, PTI_TOKEN)? } else { None };
    match (authorization, pti_token) {
        (Some(_), Some(_)) => Err(Refusal::bad_request("The request carries more than one token.")),
        (Some((scheme, token)), None) => Ok(Carried::Token(scheme, token)),
        (None, Some(token)) => Ok(Carried::PtiToken(token)),
        (None, None) if on_pti && headers.contains_key(PTI_SIGNATURE) => Ok(Carried::PtiSigned),
        (None, None) => Ok(Carried::Nothing),
    }
}

/// The scheme of `Authorization`, whatever comes after it; `None` for no such header and for other schemes.
pub(crate) fn scheme(headers: &HeaderMap) -> Option<Scheme> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    scheme_of(value.split_once(' ').map_or(value, |(scheme, _)| scheme))
}

fn scheme_of(name: &str) -> Option<Scheme> {
    let schemes = [("bearer", Scheme::Bearer), ("dpop", Scheme::Dpop)];
    schemes.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, scheme)| scheme)
}

/// The one value of a header, as text.
///
/// # Errors
/// 400 when it is repeated or not visible ASCII.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::bad_request("A header that carries a credential is repeated."));
    }
    first
        .to_str()
        .map(Some)
        .map_err(|_| Refusal::bad_request("A header that carries a credential is not text."))
}

/// RFC 9110 §11.1: the scheme is case-insensitive; RFC 6750 §2.1 and RFC 9449 §7.1: one space, then the token.
fn access_token(value: &str) -> Result<(Scheme, &str), Refusal> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let scheme = scheme_of(scheme).ok_or_else(Refusal::no_credentials)?;
    let token_char = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if token.is_empty() || !token.bytes().all(token_char) {
        return Err(Refusal::bad_request("The access token is malformed."));
    }
    Ok((scheme, token))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn each_carrier_is_found_where_it_is_allowed() {
        let pti = Some(Dialect::Pti);
        let cases = [
            (vec![], None, Carried::Nothing),
            (vec![("authorization", "Bearer a.b.c")], None, Carried::Token(Scheme::Bearer, "a.b.c")),
            (vec![("authorization", "bEARER a.b.c")], pti, Carried::Token(Scheme::Bearer, "a.b.c")),
            (vec![("authorization", "dPoP a.b.c")], None, Carried::Token(Scheme::Dpop, "a.b.c")),
            (vec![(PTI_TOKEN, "a.b.c")], pti, Carried::PtiToken("a.b.c")),
            (vec![(PTI_TOKEN, "a.b.c")], None, Carried::Nothing),
            (vec![(PTI_SIGNATURE, "x")], pti, Carried::PtiSigned),
            (vec![(PTI_SIGNATURE, "x")], None, Carried::Nothing),
        ];
        for (pairs, dialect, expected) in cases {
            assert_eq!(find(&headers(&pairs), dialect).unwrap(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_doubled_or_malformed_credential_is_refused() {
        let cases = [
            (vec![("authorization", "Bearer a"), ("authorization", "Bearer a")], 400),
            (vec![("authorization", "Bearer a"), (PTI_TOKEN, "b")], 400),
            (vec![(PTI_TOKEN, "a"), (PTI_TOKEN, "b")], 400),
            (vec![("authorization", "Bearer")], 400),
            (vec![("authorization", "Bearer  a")], 400),
            (vec![("authorization", "Bearer a b")], 400),
            (vec![("authorization", "Basic YTpi")], 401),
            (vec![("authorization", "DPoP")], 400),
            (vec![("authorization", "DPoP a"), ("authorization", "Bearer a")], 400),
        ];
        for (pairs, status) in cases {
            let refusal = find(&headers(&pairs), Some(Dialect::Pti)).unwrap_err();
            assert_eq!(refusal.status, StatusCode::from_u16(status).unwrap(), "{pairs:?}");
        }
    }
}
