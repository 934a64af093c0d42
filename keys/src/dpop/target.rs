//! Whether two URIs name one target (RFC 9449 §4.3 step 9): without query and fragment, after the normalisations
//! of RFC 3986 §6.2.2 and §6.2.3.

/// Longest URI that is looked at, bytes.
const URI_BYTES_MAX: usize = 2_048;

/// Whether a proof's `htu` names the target of the request.
///
/// Case of scheme and host, a default port, an empty path and needless percent-encoding make no difference; query and
/// fragment are ignored. What is no http(s) URI, or has user information, names no target.
// Stricter than RFC 3986 §6.2.2.3: dot segments are compared as text, since the router compares them so.
pub fn same_target(htu: &str, target: &str) -> bool {
    matches!((normalised(htu), normalised(target)), (Some(htu), Some(target)) if htu == target)
}

/// Scheme, host, port and path in their one form.
fn normalised(uri: &str) -> Option<String> {
    if uri.len() > URI_BYTES_MAX || !uri.bytes().all(is_uri_byte) {
        return None;
    }
    let end = uri.find(['?', '#']).unwrap_or(uri.len());
    let (scheme, rest) = uri[..end].split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = split_port(authority)?;
    let port = if port.is_empty() { default_port } else { decimal(port)? };
    let path = if path.is_empty() { "/".to_owned() } else { plain_escapes(path)? };
    Some(format!("{scheme}://{}:{port}{path}", host.to_ascii_lowercase()))
}

/// The characters of a URI (RFC 3986 §2); all others would be read differently by different readers.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn split_port(authority: &str) -> Option<(&str, &str)> {
    let after_literal = authority.rfind(']').map_or(0, |end| end + 1);
    let colon = authority[after_literal..].find(':').map(|at| after_literal + at);
    let (host, port) = colon.map_or((authority, ""), |at| (&authority[..at], &authority[at + 1..]));
    (!host.is_empty() && !host.contains('@') && !port.contains('@')).then_some((host, port))
}

fn decimal(port: &str) -> Option<u16> {
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten()
}

/// Escapes of unreserved characters are undone, all others have capital digits (RFC 3986 §6.2.2.1 and §6.2.2.2).
fn plain_escapes(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..2)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            plain.push(char::from(byte));
        } else {
            plain.push('%');
            plain.push_str(&digits.to_ascii_uppercase());
        }
        plain.push_str(&part[2..]);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "https://rs.example/v1/things/a%20b";

    /// Row I2.
    #[test]
    fn ways_to_write_one_target_are_equal() {
        for same in [
            TARGET,
            "https://rs.example/v1/things/a%20b?q=1",
            "https://rs.example/v1/things/a%20b#top",
            "https://rs.example/v1/things/a%20b?q=1#top",
            "HTTPS://RS.Example/v1/things/a%20b",
            "https://rs.example:443/v1/things/a%20b",
            "https://rs.example:/v1/things/a%20b",
            "https://rs.example/v1/%74hings/%61%20b",
        ] {
            assert!(same_target(same, TARGET), "{same}");
            assert!(same_target(TARGET, same), "{same}");
        }
        assert!(same_target("https://rs.example", "https://rs.example/"));
        assert!(same_target("http://[::1]:80/a%3a", "http://[::1]/a%3A"));
    }

    /// Row I1: path, host, scheme.
    #[test]
    fn another_target_or_no_target_is_never_equal() {
        for other in [
            "http://rs.example/v1/things/a%20b",
            "https://rs.example:8443/v1/things/a%20b",
            "https://other.example/v1/things/a%20b",
            "https://rs.example./v1/things/a%20b",
            "https://rs.example/v1/things/a%20b/",
            "https://rs.example/v1/things/A%20b",
            "https://rs.example/v1//things/a%20b",
            "https://rs.example/v1/x/../things/a%20b",
            "https://rs.example\\v1/things/a%20b",
            "https://user@rs.example/v1/things/a%20b",
            "https://rs.example:443@evil.example/v1/things/a%20b",
            "https://rs.example:00443x/v1/things/a%20b",
            "https://rs.example:99999/v1/things/a%20b",
            "https://rs.example/v1/things/a%2",
            "https://rs.example/v1/things/a%+1b",
            "https://rs.example/v1/things/a%zzb",
            "https://rs.example/v1/things/a b",
            " https://rs.example/v1/things/a%20b",
            "https://rs.exämple/v1/things/a%20b",
            "ftp://rs.example/v1/things/a%20b",
            "//rs.example/v1/things/a%20b",
            "/v1/things/a%20b",
            "https:///v1/things/a%20b",
            "",
        ] {
            assert!(!same_target(other, TARGET), "{other:?}");
            assert!(!same_target(other, other) || other.starts_with("http"), "{other:?}");
        }
        let long = format!("https://rs.example/{}", "a".repeat(URI_BYTES_MAX));
        assert!(!same_target(&long, &long));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_comparison_panic(text in ".*") {
            proptest::prop_assert!(!same_target(&text, "https://rs.example/never%00"));
        }
    }
}
