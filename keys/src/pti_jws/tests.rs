//! Requests signed the vendor's way, and requests that are not the signed one.

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

fn post() -> Parts<'static> {
    Parts {
        method: "POST",
        path: "/auth/userToken",
        query: None,
        body: br#"{"url":"/users/u1"}"#,
        content_type: Some("application/json"),
        date: Some("Tue, 14 Nov 2023 22:13:20 GMT"),
        other_fields: &[],
    }
}

fn get() -> Parts<'static> {
    Parts { method: "GET", path: "/users/u1", body: b"", content_type: None, ..post() }
}

fn key() -> SigningKey {
    SigningKey::ed25519_from_seed([3; 32]).unwrap()
}

fn check(signature: &str, parts: &Parts<'_>) -> Result<Verified, PtiRefusal> {
    check_at(signature, parts, NOW)
}

fn check_at(signature: &str, parts: &Parts<'_>, now: UnixSeconds) -> Result<Verified, PtiRefusal> {
    let key_for = |kid: &str| (kid == key().kid()).then(|| key().public_jwk().verifying_key());
    verify(signature, "pti-backend", parts, now, &key_for)
}

#[test]
fn the_signed_text_has_its_six_lines() {
    let text = string_to_sign(&post(), "pti-backend", "application/json", "Tue, 14 Nov 2023 22:13:20 GMT");
    let hash = "8DF5C88B4F5D9BAC9EBFDDFC9A5E5B6F7F0A3C2D6B1E0F9A8B7C6D5E4F3A2B1C";
    let lines: Vec<_> = text.split('\n').collect();
    assert_eq!(lines.len(), 6);
    assert_eq!((lines[0], lines[1].len()), ("POST", hash.len()));
    assert!(lines[1].bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)));
    assert_eq!(
        lines[2..],
        [
            "content-type:application/json",
            "date:Tue, 14 Nov 2023 22:13:20 GMT",
            "x-pti-client-id:pti-backend",
            "/auth/userToken",
        ]
    );
    let empty = Parts { body: b"", ..post() };
    let text = string_to_sign(&empty, "c", JSON, "d");
    assert!(text.contains("\nE3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\n"));
}

#[test]
fn a_request_without_content_keeps_its_empty_lines() {
    let fields = [("x-pti-token", "t"), ("x-pti-signature", "s"), ("x-pti-a", "1")];
    let parts = Parts { other_fields: &fields, query: Some("page=2"), ..get() };
    let text = string_to_sign(&parts, "c", JSON, "d");
    assert_eq!(text, "GET\n\n\ndate:d\nx-pti-a:1\nx-pti-client-id:c\nx-pti-token:t\n/users/u1?page=2");
}

#[test]
fn a_signed_request_verifies_with_either_algorithm() {
    let signature = sign(&key(), "pti-backend", &post(), NOW).unwrap();
    let verified = check(&signature, &post()).unwrap();
    assert_eq!((verified.client_id.as_str(), verified.date), ("pti-backend", NOW));
    assert_eq!((verified.kid.as_str(), verified.remember_until()), (key().kid(), NOW.plus(301)));
    assert_eq!(verified.signature_hash.len(), 43);
    assert!(check(&sign(&key(), "pti-backend", &get(), NOW).unwrap(), &get()).is_ok());

    let rsa = SigningKey::generate_rsa(2048).unwrap().with_alg(Algorithm::Rs512).unwrap();
    let signature = sign(&rsa, "pti-backend", &post(), NOW).unwrap();
    let key_for = |kid: &str| (kid == rsa.kid()).then(|| rsa.public_jwk().verifying_key());
    assert!(verify(&signature, "pti-backend", &post(), NOW, &key_for).is_ok());
    assert_eq!(check(&signature, &post()), Err(PtiRefusal::UnknownKey));
}

#[test]
fn a_signature_of_another_request_is_refused() {
    let signature = sign(&key(), "pti-backend", &post(), NOW).unwrap();
    let token = [("x-pti-token", "t")];
    let others = [
        Parts { method: "PUT", ..post() },
        Parts { path: "/auth/jwt", ..post() },
        Parts { query: Some(""), ..post() },
        Parts { body: b"{}", ..post() },
        Parts { content_type: Some("text/plain"), ..post() },
        Parts { date: Some("Tue, 14 Nov 2023 22:13:21 GMT"), ..post() },
        Parts { other_fields: &token, ..post() },
    ];
    for parts in others {
        assert_eq!(check(&signature, &parts), Err(PtiRefusal::OtherRequest), "{parts:?}");
    }
    let smuggled = Parts { body: b"{}", ..get() };
    let signature = sign(&key(), "pti-backend", &smuggled, NOW).unwrap();
    assert_eq!(check(&signature, &smuggled), Err(PtiRefusal::OtherRequest));
}

#[test]
fn the_content_type_may_have_parameters() {
    let charset = Parts { content_type: Some("application/json; charset=utf-8"), ..post() };
    assert!(check(&sign(&key(), "pti-backend", &post(), NOW).unwrap(), &charset).is_ok());
    assert!(check(&sign(&key(), "pti-backend", &charset, NOW).unwrap(), &charset).is_ok());
}

#[test]
fn the_date_is_within_five_minutes() {
    let undated = Parts { date: None, ..post() };
    let signature = sign(&key(), "pti-backend", &undated, NOW).unwrap();
    for (shift, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        assert_eq!(check_at(&signature, &undated, NOW.plus(shift)).is_ok(), fresh, "{shift}");
    }
    for bad in [
        "Tuesday, 14-Nov-23 22:13:20 GMT",
        "Tue Nov 14 22:13:20 2023",
        "1700000000",
        "",
        "Mon, 14 Nov 2023 22:13:20 GMT",
    ] {
        let text = string_to_sign(&undated, "pti-backend", JSON, bad);
        let signature = jws::sign_with(&key(), &[("cid", "pti-backend")], text.as_bytes()).unwrap();
        assert_eq!(check(&signature, &undated), Err(PtiRefusal::NotFresh), "{bad}");
    }
}

#[test]
fn the_header_names_the_client_and_a_vendor_algorithm() {
    let text = string_to_sign(&post(), "pti-backend", JSON, &imf_fixdate(NOW));
    let signed = |cid: &[(&str, &str)], key: &SigningKey| jws::sign_with(key, cid, text.as_bytes()).unwrap();
    assert_eq!(check(&signed(&[], &key()), &post()), Err(PtiRefusal::WrongClient));
    assert_eq!(check(&signed(&[("cid", "other")], &key()), &post()), Err(PtiRefusal::WrongClient));
    let es256 = SigningKey::es256_from_seed([3; 32]).unwrap();
    assert_eq!(check(&signed(&[("cid", "pti-backend")], &es256), &post()), Err(PtiRefusal::Malformed("alg")));
    let stranger = SigningKey::ed25519_from_seed([4; 32]).unwrap().with_kid(key().kid()).unwrap();
    assert_eq!(check(&signed(&[("cid", "pti-backend")], &stranger), &post()), Err(PtiRefusal::BadSignature));
    for bad in ["", "a.b", "a.b.c"] {
        assert_eq!(check(bad, &post()), Err(PtiRefusal::Malformed("not a JWS")), "{bad}");
    }
}

#[test]
fn moments_out_of_range_are_still_dates() {
    assert_eq!(imf_fixdate(UnixSeconds(-5)), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(imf_fixdate(UnixSeconds(i64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
}
