//! The examples of RFC 9421 appendix B, with the keys of B.1.
//!
//! B.2.5 is HMAC, which is not offered. ECDSA and PSS signatures differ each time, so those of the RFC are verified
//! and not made again; Ed25519 is made again too.

use http::{HeaderMap, HeaderName};
use serde_json::json;

use super::*;
use crate::{Algorithm, PublicJwk, SigningKey, VerifyingKey, b64};

const TEST_DIGEST: &str =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
const RESPONSE_DIGEST: &str =
    "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:";

/// B.1.2, its modulus and exponent.
fn rsa_pss() -> VerifyingKey {
    let n = "r4tmm3r20Wd_PbqvP1s2-QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct-Lh1GH45x28Rw3Ry53mm-oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL-Wokqltd11nqqzi-bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d-nb4bnNkQVklLQ3fVAvJm-xdDOp9LCNCN48V2pnDOkFV6-U9nV5oyc6XI2w";
    let jwk = PublicJwk::try_from(&json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "PS512"})).unwrap();
    assert_eq!(jwk.thumbprint(), "oD0HwocPBSfpNy5W3bpJeyFGY_IQ_YpqxSjQ3Yd-CLA");
    jwk.verifying_key()
}

/// B.1.3.
fn ecc_p256() -> SigningKey {
    let key = SigningKey::from_private_jwk(&json!({
        "kty": "EC", "crv": "P-256", "kid": "test-key-ecc-p256",
        "x": "qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA", "y": "Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0",
        "d": "UpuF81l-kOxbjf7T4mNSv0r5tN67Gim7rnf6EFpcYDs",
    }))
    .unwrap();
    assert_eq!(key.public_jwk().thumbprint(), "ydQXMtvbsOsZyFir-Y7A8t7fKEM1gbKPvyFkdpu4fvI");
    key
}

/// B.1.4.
fn ed25519() -> SigningKey {
    let key = SigningKey::from_private_jwk(&json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "test-key-ed25519",
        "x": "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs", "d": "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU",
    }))
    .unwrap();
    assert_eq!(key.public_jwk().thumbprint(), "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U");
    key
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

fn test_headers() -> HeaderMap {
    headers(&[
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-digest", TEST_DIGEST),
        ("content-length", "18"),
    ])
}

fn test_request(headers: &HeaderMap) -> Message<'_> {
    Message {
        method: "POST",
        authority: "example.com",
        path: "/foo",
        query: Some("param=Value&Pet=dog"),
        headers,
        body: br#"{"hello": "world"}"#,
    }
}

/// Builds the base, compares it line by line, and verifies the RFC's signature over it.
fn check(
    input: &str,
    subject: &Subject<'_>,
    lines: &[&str],
    key: (&VerifyingKey, Algorithm),
    signature: &str,
) {
    let (_, parsed) = SignatureInput::parse(input).unwrap();
    let member = input.split_once('=').unwrap().1;
    assert_eq!(parsed.serialize(), member, "reading and writing is the identity");
    let base = parsed.base(subject).unwrap();
    let last = format!("\"@signature-params\": {member}");
    let expected: Vec<_> = lines.iter().copied().chain([last.as_str()]).collect();
    assert_eq!(base.lines().collect::<Vec<_>>(), expected);
    let signature = b64::decode_standard(signature).unwrap();
    let (key, algorithm) = key;
    assert_eq!(key.verify(algorithm, base.as_bytes(), &signature), Ok(()));
    let other = base.replace("1618884473", "1618884474");
    assert!(key.verify(algorithm, other.as_bytes(), &signature).is_err());
}

#[test]
fn b21_minimal_signature_with_rsa_pss_sha512() {
    let headers = test_headers();
    check(
        r#"sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        &Subject::Request(&test_request(&headers)),
        &[],
        (&rsa_pss(), Algorithm::Ps512),
        "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==",
    );
}

#[test]
fn b22_selective_covered_components_with_rsa_pss_sha512() {
    let headers = test_headers();
    check(
        r#"sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
        &Subject::Request(&test_request(&headers)),
        &[
            r#""@authority": example.com"#,
            &format!(r#""content-digest": {TEST_DIGEST}"#),
            r#""@query-param";name="Pet": dog"#,
        ],
        (&rsa_pss(), Algorithm::Ps512),
        "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==",
    );
}

#[test]
fn b23_full_coverage_with_rsa_pss_sha512() {
    let headers = test_headers();
    check(
        r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
        &Subject::Request(&test_request(&headers)),
        &[
            r#""date": Tue, 20 Apr 2021 02:07:55 GMT"#,
            r#""@method": POST"#,
            r#""@path": /foo"#,
            r#""@query": ?param=Value&Pet=dog"#,
            r#""@authority": example.com"#,
            r#""content-type": application/json"#,
            &format!(r#""content-digest": {TEST_DIGEST}"#),
            r#""content-length": 18"#,
        ],
        (&rsa_pss(), Algorithm::Ps512),
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==",
    );
}

#[test]
fn b24_response_with_ecdsa_p256_sha256() {
    let headers = headers(&[
        ("date", "Tue, 20 Apr 2021 02:07:56 GMT"),
        ("content-type", "application/json"),
        ("content-digest", RESPONSE_DIGEST),
        ("content-length", "23"),
    ]);
    check(
        r#"sig-b24=("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#,
        &Subject::Response { status: 200, headers: &headers, request: None },
        &[
            r#""@status": 200"#,
            r#""content-type": application/json"#,
            &format!(r#""content-digest": {RESPONSE_DIGEST}"#),
            r#""content-length": 23"#,
        ],
        (&ecc_p256().public_jwk().verifying_key(), Algorithm::Es256),
        "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==",
    );
    assert!(digest::check_content_digest(&headers, b"{\"message\": \"good dog\"}").is_ok());
}

#[test]
fn b26_request_with_ed25519_is_verified_and_made_again() {
    let headers = test_headers();
    let request = test_request(&headers);
    let input = r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    let signature =
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
    check(
        input,
        &Subject::Request(&request),
        &[
            r#""date": Tue, 20 Apr 2021 02:07:55 GMT"#,
            r#""@method": POST"#,
            r#""@path": /foo"#,
            r#""@authority": example.com"#,
            r#""content-type": application/json"#,
            r#""content-length": 18"#,
        ],
        (&ed25519().public_jwk().verifying_key(), Algorithm::EdDsa),
        signature,
    );
    let base = SignatureInput::parse(input).unwrap().1.base(&Subject::Request(&request)).unwrap();
    assert_eq!(b64::encode_standard(ed25519().sign(base.as_bytes()).unwrap()), signature);
}

/// B.4: what an intermediary may change, and what it may not.
#[test]
fn b4_transformations_keep_or_break_the_signature() {
    let input =
        r#"transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519""#;
    let signature =
        "ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==";
    let signature = b64::decode_standard(signature).unwrap();
    let key = ed25519().public_jwk().verifying_key();
    let verifies = |method, authority, accept: &[&str]| {
        let fields: Vec<_> = accept.iter().map(|value| ("accept", *value)).collect();
        let headers = headers(&fields);
        let query = Some("name1=Value1&Name2=value2&param=added");
        let request = Message { method, authority, path: "/demo", query, headers: &headers, body: b"" };
        let base = SignatureInput::parse(input).unwrap().1.base(&Subject::Request(&request)).unwrap();
        key.verify(Algorithm::EdDsa, base.as_bytes(), &signature).is_ok()
    };
    assert!(verifies("GET", "example.org", &["application/json", "*/*"]));
    assert!(verifies("GET", "example.org", &["application/json, */*"]));
    assert!(verifies("GET", "EXAMPLE.org", &["  application/json ", "*/*"]));
    assert!(!verifies("POST", "example.org", &["application/json", "*/*"]));
    assert!(!verifies("GET", "example.com", &["application/json", "*/*"]));
    assert!(!verifies("GET", "example.org", &["*/*", "application/json"]));
}

/// The example of §2.2.8.
#[test]
fn query_parameters_are_encoded_again() {
    let query = "param=value&foo=bar&baz=batman&qux=&var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something";
    let headers = HeaderMap::new();
    let message =
        Message { method: "GET", authority: "a", path: "", query: Some(query), headers: &headers, body: b"" };
    let line = |name: &str| {
        let (_, input) = SignatureInput::parse(&format!("s=(\"@query-param\";name=\"{name}\")")).unwrap();
        let base = input.base(&Subject::Request(&message)).ok()?;
        Some(base.lines().next()?.split_once(": ")?.1.to_owned())
    };
    assert_eq!(line("baz").unwrap(), "batman");
    assert_eq!(line("qux").unwrap(), "");
    assert_eq!(line("var").unwrap(), "this%20is%20a%20big%0Amultiline%20value");
    assert_eq!(line("bar").unwrap(), "with%20plus%20whitespace");
    assert_eq!(line("fa%C3%A7ade%22%3A%20").unwrap(), "something");
    assert_eq!(line("absent"), None);
}

#[test]
fn components_that_cannot_be_covered_are_refused() {
    let headers = test_headers();
    let request = test_request(&headers);
    for bad in [
        r#""x-absent""#,
        r#""Date""#,
        r#""@status""#,
        r#""@unknown""#,
        r#""@signature-params""#,
        r#""@query-param""#,
        r#""@query-param";name="none""#,
        r#""@method";name="a""#,
        r#""date";sf"#,
        r#""date";bs"#,
        r#""date";tr"#,
        r#""@method";req"#,
        r#""date" "date""#,
        r#""date" "@method" "date""#,
        "date",
        "1",
    ] {
        let (_, input) = SignatureInput::parse(&format!("s=({bad});created=1")).unwrap();
        assert!(input.base(&Subject::Request(&request)).is_err(), "{bad}");
    }
    let many: Vec<_> = (0..=base::COMPONENTS_MAX).map(|n| format!("\"@query-param\";name=\"{n}\"")).collect();
    let (_, input) = SignatureInput::parse(&format!("s=({})", many.join(" "))).unwrap();
    assert!(input.base(&Subject::Request(&request)).is_err());
}

#[test]
fn only_one_member_that_is_an_inner_list_is_read() {
    for bad in [
        "",
        "s",
        "s=1",
        "s=(1",
        "s=(\"a\"), t=(\"a\")",
        "s=(\"a\"), s=(\"a\")",
        "s=(\"a\"),",
        "S=()",
        "s=(é)",
    ] {
        assert_eq!(SignatureInput::parse(bad), None, "{bad:?}");
    }
    assert!(SignatureInput::parse(r#"s=("a");nonce="a,\"b,""#).is_some());
}
