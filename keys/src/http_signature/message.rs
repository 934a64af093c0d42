//! The messages that signatures are about, and the values of their components (RFC 9421 §2).

use http::{HeaderMap, HeaderName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::BadComponent;

/// A request as its receiver sees it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The method, exactly as sent.
    pub method: &'a str,
    /// Host, and port unless it is the scheme's default. Case does not matter.
    pub authority: &'a str,
    /// The path as sent, still percent-encoded.
    pub path: &'a str,
    /// The query as sent, without its question mark; `None` when there is no question mark.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The content.
    pub body: &'a [u8],
}

/// What a signature is about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// A request.
    Request(&'a Message<'a>),
    /// A response.
    Response {
        /// The status code.
        status: u16,
        /// The header fields.
        headers: &'a HeaderMap,
        /// The request that it answers, for components of it.
        request: Option<&'a Message<'a>>,
    },
}

impl Subject<'_> {
    /// The request that a response answers.
    pub(super) fn request(&self) -> Option<Self> {
        match self {
            Self::Response { request: Some(request), .. } => Some(Self::Request(request)),
            Self::Response { request: None, .. } | Self::Request(_) => None,
        }
    }

    /// The value of a component without parameters other than `name`, which `@query-param` has.
    pub(super) fn component(&self, name: &str, query_param: Option<&str>) -> Result<String, BadComponent> {
        match (self, name, query_param) {
            (Self::Request(request), "@query-param", Some(wanted)) => request.query_param(wanted),
            (_, _, Some(_)) => Err(BadComponent(name.to_owned())),
            (Self::Request(request), "@method", None) => Ok(request.method.to_owned()),
            (Self::Request(request), "@authority", None) => Ok(request.authority.to_ascii_lowercase()),
            (Self::Request(request), "@path", None) if request.path.is_empty() => Ok("/".to_owned()),
            (Self::Request(request), "@path", None) => Ok(request.path.to_owned()),
            (Self::Request(request), "@query", None) => Ok(format!("?{}", request.query.unwrap_or_default())),
            (Self::Response { status, .. }, "@status", None) => Ok(status.to_string()),
            (Self::Request(Message { headers, .. }) | Self::Response { headers, .. }, _, None) => {
                field(headers, name).ok_or_else(|| BadComponent(name.to_owned()))
            }
        }
    }
}

/// The `application/x-www-form-urlencoded` percent-encode set of the URL standard.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

impl Message<'_> {
    /// One query parameter, decoded and encoded again (RFC 9421 §2.2.8). A repeated one cannot be covered.
    fn query_param(&self, wanted: &str) -> Result<String, BadComponent> {
        let again = |text: &str| {
            let spaced = text.replace('+', " ");
            let decoded: Vec<u8> = percent_decode(spaced.as_bytes()).collect();
            percent_encode(&decoded, FORM).to_string()
        };
        let pairs = self.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(name, _)| again(name) == wanted).map(|(_, value)| again(value));
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(BadComponent(format!("@query-param;name=\"{wanted}\""))),
        }
    }
}

/// The values of a field, trimmed and joined (RFC 9421 §2.1); `None` when it is absent or not ASCII, or when the
/// name is no lower-case field name. Derived components that were not matched before end here too.
pub(super) fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let known = HeaderName::from_bytes(name.as_bytes()).ok().filter(|known| known.as_str() == name)?;
    let values = headers.get_all(known).iter().map(|value| value.to_str().ok().map(str::trim));
    let values: Vec<_> = values.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.join(", "))
}
