//! Status tokens (contract: token kinds): a page that has no other credential may follow one order for a
//! day. Nothing is stored: the token is an HMAC over the order's id and the expiry.

use keys::UnixSeconds;
use keys::b64;
use keys::mac::MacKey;

/// How long a status token is good, seconds.
pub const LIFE_S: i64 = 86_400;

const PREFIX: &str = "fst_";

/// The status token of an order. The same order always has the same one, so a repeated answer is the same.
pub fn issue(key: &MacKey, fiat_in_id: &str, created_at: UnixSeconds) -> String {
    let expires_at = created_at.plus(LIFE_S);
    format!("{PREFIX}{}_{}", expires_at.0, b64::encode(mac(key, fiat_in_id, expires_at)))
}

/// Whether `token` gives access to the order now.
pub fn is_good(key: &MacKey, token: &str, fiat_in_id: &str, now: UnixSeconds) -> bool {
    let Some((expiry, tag)) = token.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else {
        return false;
    };
    let (Ok(expiry_s), Ok(tag)) = (expiry.parse::<i64>(), b64::decode(tag)) else { return false };
    let expires_at = UnixSeconds(expiry_s);
    let canonical = expires_at.0.to_string() == expiry;
    canonical && now < expires_at && keys::digest::equal(&tag, mac(key, fiat_in_id, expires_at))
}

fn mac(key: &MacKey, fiat_in_id: &str, expires_at: UnixSeconds) -> [u8; 32] {
    key.mac(&[fiat_in_id.as_bytes(), &expires_at.0.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use keys::seal::{MasterKey, MasterKeys};

    use super::*;

    fn key() -> MacKey {
        MasterKeys::new(MasterKey::new([7; 32]), Vec::new()).mac_key("status_token")
    }

    #[test]
    fn a_token_is_good_for_its_order_for_a_day() {
        let token = issue(&key(), "fin_1", UnixSeconds(1_000));
        assert!(is_good(&key(), &token, "fin_1", UnixSeconds(1_000)));
        assert!(is_good(&key(), &token, "fin_1", UnixSeconds(1_000 + LIFE_S - 1)));
        assert!(!is_good(&key(), &token, "fin_1", UnixSeconds(1_000 + LIFE_S)));
        assert!(!is_good(&key(), &token, "fin_2", UnixSeconds(1_000)));
    }

    #[test]
    fn a_changed_expiry_or_tag_is_no_token() {
        let token = issue(&key(), "fin_1", UnixSeconds(1_000));
        let later = token.replace("fst_87400_", "fst_99999999_");
        assert_ne!(later, token);
        for bad in
            [later.as_str(), "", "fst_", "fst__", "fst_+87400_AAAA", &token[..token.len() - 1], &token[4..]]
        {
            assert!(!is_good(&key(), bad, "fin_1", UnixSeconds(1_000)), "{bad}");
        }
    }

    #[test]
    fn the_same_order_has_the_same_token() {
        assert_eq!(issue(&key(), "fin_1", UnixSeconds(5)), issue(&key(), "fin_1", UnixSeconds(5)));
    }
}
