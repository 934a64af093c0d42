//! Signed list cursors: where the next page begins, bound to tenant, list and filter.
//!
//! A cursor is `base64url(last id) . base64url(HMAC)`. One from another tenant, list or filter, or one that was
//! touched, is refused: it never becomes part of a query.

use keys::b64;
use keys::mac::MacKey;

use super::refusal::Refusal;

/// What a cursor is bound to.
#[derive(Debug, Clone, Copy)]
pub struct ListScope<'a> {
    /// The tenant.
    pub partner_id: &'a str,
    /// Name of the list.
    pub list: &'static str,
    /// Whatever narrows the list, joined by the caller in a fixed order.
    pub filter: &'a str,
}

fn mac(key: &MacKey, scope: ListScope<'_>, last_id: &str) -> [u8; 32] {
    key.mac(&[
        scope.partner_id.as_bytes(),
        scope.list.as_bytes(),
        scope.filter.as_bytes(),
        last_id.as_bytes(),
    ])
}

/// The cursor after `last_id`.
pub fn sign(key: &MacKey, scope: ListScope<'_>, last_id: &str) -> String {
    format!("{}.{}", b64::encode(last_id.as_bytes()), b64::encode(mac(key, scope, last_id)))
}

/// The id a cursor continues after.
///
/// # Errors
/// 400 `invalid_cursor`.
pub fn open(key: &MacKey, scope: ListScope<'_>, cursor: &str) -> Result<String, Refusal> {
    let refused = || Refusal::bad_request("invalid_cursor", "the cursor does not belong to this list");
    let (id, tag) = cursor.split_once('.').ok_or_else(refused)?;
    let id = b64::decode(id).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(refused)?;
    let tag = b64::decode(tag).map_err(|_| refused())?;
    if keys::digest::equal(&tag, mac(key, scope, &id)) { Ok(id) } else { Err(refused()) }
}

/// One page of a list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// The cursor of the next page, where there is one.
    pub next_cursor: Option<String>,
}

/// How many rows a page has when the caller does not say, and at most.
pub const LIMIT_DEFAULT: i64 = 20;
/// The most rows a page has.
pub const LIMIT_MAX: i64 = 100;

/// Checks a caller's `limit`.
///
/// # Errors
/// 400 `invalid_limit`.
pub fn checked_limit(limit: Option<i64>) -> Result<i64, Refusal> {
    match limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(Refusal::bad_request("invalid_limit", "limit is 1 to 100")),
    }
}

/// Cuts the one row too many that was asked for to see whether there is a next page.
pub fn page<T>(mut rows: Vec<T>, limit: i64, cursor_of: impl Fn(&T) -> String) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or_default();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(cursor_of);
    Page { data: rows, next_cursor }
}

#[cfg(test)]
mod tests {
    use keys::seal::{MasterKey, MasterKeys};

    use super::*;

    fn key() -> MacKey {
        MasterKeys::new(MasterKey::new([3; 32]), Vec::new()).mac_key("cursor")
    }

    const SCOPE: ListScope<'_> = ListScope { partner_id: "p", list: "customers", filter: "status=active" };

    #[test]
    fn a_cursor_opens_in_its_own_list_only() {
        let cursor = sign(&key(), SCOPE, "cus_9");
        assert_eq!(open(&key(), SCOPE, &cursor).unwrap(), "cus_9");
        let elsewhere = [
            ListScope { partner_id: "q", ..SCOPE },
            ListScope { list: "entities", ..SCOPE },
            ListScope { filter: "status=blocked", ..SCOPE },
        ];
        for scope in elsewhere {
            assert_eq!(open(&key(), scope, &cursor).unwrap_err().code, "invalid_cursor");
        }
    }

    #[test]
    fn a_touched_cursor_is_refused() {
        let (_, tag) =
            sign(&key(), SCOPE, "cus_9").split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let other = b64::encode(b"cus_1' OR 1=1");
        for bad in ["", ".", "x", &format!("{other}.{tag}"), &format!("{other}."), "%%.%%"] {
            assert_eq!(open(&key(), SCOPE, bad).unwrap_err().code, "invalid_cursor", "{bad}");
        }
    }

    #[test]
    fn a_page_says_whether_there_is_a_next_one() {
        let full = page(vec![3, 2, 1], 2, ToString::to_string);
        assert_eq!((full.data, full.next_cursor.as_deref()), (vec![3, 2], Some("2")));
        assert_eq!(page(vec![3, 2], 2, ToString::to_string).next_cursor, None);
        for bad in [0, -1, 101] {
            assert!(checked_limit(Some(bad)).is_err());
        }
        assert_eq!(checked_limit(None), Ok(LIMIT_DEFAULT));
    }
}
