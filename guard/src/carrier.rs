//! Where in a request the token stands: `Authorization: Bearer` (RFC 6750 §2.1), or `x-pti-token`
//! on the paths of that dialect. A request carries one token, in one place, once.

use http::HeaderMap;
use http::header::AUTHORIZATION;

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
    /// A bearer token.
    Bearer(&'a str),
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
/// 400 for more than one token or an unreadable header, 401 for a scheme other than Bearer.
pub fn find(headers: &HeaderMap, dialect: Option<Dialect>) -> Result<Carried<'_>, Refusal> {
    let bearer = single(headers, AUTHORIZATION.as_str())?.map(bearer_token).transpose()?;
    let on_pti = dialect == Some(Dialect::Pti);
    // Outside the dialect the header has no meaning: a token in it is as good as absent.
    let pti_token = if on_pti { single(headers, PTI_TOKEN)? } else { None };
    match (bearer, pti_token) {
        (Some(_), Some(_)) => Err(Refusal::bad_request("The request carries more than one token.")),
        (Some(token), None) => Ok(Carried::Bearer(token)),
        (None, Some(token)) => Ok(Carried::PtiToken(token)),
        (None, None) if on_pti && headers.contains_key(PTI_SIGNATURE) => Ok(Carried::PtiSigned),
        (None, None) => Ok(Carried::Nothing),
    }
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

/// RFC 9110 §11.1: the scheme is case-insensitive; RFC 6750 §2.1: one space, then b64token.
fn bearer_token(value: &str) -> Result<&str, Refusal> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::no_credentials());
    }
    let token_char = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if token.is_empty() || !token.bytes().all(token_char) {
        return Err(Refusal::bad_request("The bearer token is malformed."));
    }
    Ok(token)
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
            (vec![("authorization", "Bearer a.b.c")], None, Carried::Bearer("a.b.c")),
            (vec![("authorization", "bEARER a.b.c")], pti, Carried::Bearer("a.b.c")),
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
            (vec![("authorization", "DPoP a")], 401),
        ];
        for (pairs, status) in cases {
            let refusal = find(&headers(&pairs), Some(Dialect::Pti)).unwrap_err();
            assert_eq!(refusal.status, StatusCode::from_u16(status).unwrap(), "{pairs:?}");
        }
    }
}
