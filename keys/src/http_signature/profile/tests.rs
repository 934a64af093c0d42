//! Signed requests, and every way in which they may be wrong.

use http::HeaderName;
use proptest::prelude::*;

use super::super::TAG_REQUEST;
use super::*;

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

/// A request that can be changed after it was signed.
#[derive(Clone)]
struct Request {
    method: &'static str,
    authority: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    headers: HeaderMap,
    body: &'static [u8],
}

impl Request {
    fn post() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("authorization", HeaderValue::from_static("Bearer a.b.c"));
        headers.insert("idempotency-key", HeaderValue::from_static("k1"));
        let (path, query) = ("/v1/transfers", Some("dry=no&x=1"));
        Self { method: "POST", authority: "api.example:8081", path, query, headers, body: b"{\"amount\":1}" }
    }

    fn get() -> Self {
        Self { method: "GET", query: None, headers: HeaderMap::new(), body: b"", ..Self::post() }
    }

    fn message(&self) -> Message<'_> {
        let Self { method, authority, path, query, headers, body } = self;
        Message { method, authority, path, query: *query, headers, body }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }

    fn signed(mut self) -> Self {
        let signer = Signer { key: &key(), keyid: "k", tag: TAG_REQUEST, created: NOW, nonce: "n-1" };
        let fields = signer.sign(&self.message()).unwrap();
        if let Some(digest) = fields.content_digest {
            self.set("content-digest", &digest);
        }
        self.set("signature-input", &fields.signature_input);
        self.set("signature", &fields.signature);
        self
    }

    /// Signs whatever the member says, as a client that does not keep the profile would.
    fn signed_as(mut self, member: &str) -> Self {
        self.set("content-digest", &content_digest(self.body));
        self.set("signature-input", &format!("s={member}"));
        let (_, input) = SignatureInput::parse(&format!("s={member}")).unwrap();
        let base = input.base(&Subject::Request(&self.message())).unwrap();
        let signature = b64::encode_standard(key().sign(base.as_bytes()).unwrap());
        self.set("signature", &format!("s=:{signature}:"));
        self
    }

    fn verify_at(&self, now: UnixSeconds) -> Result<Verified, SignatureRefusal> {
        let key_for = |keyid: &str| (keyid == "k").then(|| key().public_jwk().verifying_key());
        verify(&self.message(), TAG_REQUEST, now, &key_for)
    }

    fn verify(&self) -> Result<Verified, SignatureRefusal> {
        self.verify_at(NOW)
    }
}

fn key() -> SigningKey {
    SigningKey::ed25519_from_seed([5; 32]).unwrap()
}

const PARAMS: &str = r#";created=1700000000;nonce="n";keyid="k";tag="countersign-request""#;
const COVERED: &str = r#""@method" "@authority" "@path" "@query" "content-digest" "content-type" "authorization" "idempotency-key""#;

#[test]
fn a_signed_request_verifies() {
    let verified = Request::post().signed().verify().unwrap();
    assert_eq!(verified, Verified { keyid: "k".into(), nonce: "n-1".into(), created: NOW });
    assert_eq!(verified.remember_until(), NOW.plus(61));
    assert!(Request::get().signed().verify().is_ok());
    assert!(Request::post().signed_as(&format!("({COVERED}){PARAMS}")).verify().is_ok());
}

#[test]
fn every_algorithm_of_the_registry_signs_and_verifies() {
    let rsa = SigningKey::generate_rsa(2048).unwrap();
    let keys = [
        SigningKey::es256_from_seed([1; 32]).unwrap(),
        key(),
        rsa.with_alg(Algorithm::Rs256).unwrap(),
        rsa.with_alg(Algorithm::Ps512).unwrap(),
    ];
    for key in keys {
        let request = Request::get();
        let signer = Signer { key: &key, keyid: "k", tag: TAG_REQUEST, created: NOW, nonce: "n" };
        let fields = signer.sign(&request.message()).unwrap();
        let mut request = request;
        request.set("signature-input", &fields.signature_input);
        request.set("signature", &fields.signature);
        let public = key.public_jwk().verifying_key();
        let verified = verify(&request.message(), TAG_REQUEST, NOW, &|_| Some(public.clone()));
        assert!(verified.is_ok(), "{:?}", key.alg());
    }
    for alg in [Algorithm::Ps256, Algorithm::Rs512] {
        let key = rsa.with_alg(alg).unwrap();
        let signer = Signer { key: &key, keyid: "k", tag: TAG_REQUEST, created: NOW, nonce: "n" };
        assert_eq!(signer.sign(&Request::get().message()), Err(SigningFault::Algorithm));
    }
}

#[test]
fn whatever_changes_after_signing_is_refused() {
    let changes: [fn(&mut Request); 11] = [
        |request| request.method = "PUT",
        |request| request.authority = "api.example",
        |request| request.path = "/v1/transfers/",
        |request| request.query = Some("x=1&dry=no"),
        |request| request.query = None,
        |request| request.body = b"{\"amount\":2}",
        |request| request.body = b"",
        |request| request.set("authorization", "Bearer x.y.z"),
        |request| request.set("idempotency-key", "k2"),
        |request| request.set("content-type", "text/plain"),
        |request| {
            request.headers.append("idempotency-key", HeaderValue::from_static("k2"));
        },
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut request = Request::post().signed();
        change(&mut request);
        let refusal = request.verify().unwrap_err();
        assert!(
            matches!(refusal, SignatureRefusal::BadSignature | SignatureRefusal::Digest),
            "{index} {refusal}"
        );
    }
    let mut swapped = Request::post().signed();
    swapped.body = b"{\"amount\":2}";
    swapped.set("content-digest", &content_digest(swapped.body));
    assert_eq!(swapped.verify(), Err(SignatureRefusal::BadSignature));
}

#[test]
fn every_required_component_must_be_covered() {
    for name in COVERED.split(' ') {
        let covered: Vec<_> = COVERED.split(' ').filter(|other| *other != name).collect();
        let request = Request::post().signed_as(&format!("({}){PARAMS}", covered.join(" ")));
        let refusal = request.verify().unwrap_err();
        assert_eq!(refusal.code(), "insufficient_coverage", "{name}");
    }
    for name in IF_PRESENT {
        let mut request = Request::get().signed();
        request.set(name, "added");
        assert_eq!(request.verify(), Err(SignatureRefusal::InsufficientCoverage(name)));
    }
    // One parameter of the query is not the query.
    let covered = COVERED.replace("\"@query\"", "\"@query-param\";name=\"x\"");
    let request = Request::post().signed_as(&format!("({covered}){PARAMS}"));
    assert_eq!(request.verify(), Err(SignatureRefusal::InsufficientCoverage("@query")));
}

#[test]
fn the_digest_must_be_there_single_strong_and_true() {
    let values: [&[&str]; 4] = [
        &[],
        &["md5=:Sd/dVLAcvNLSq16eXua5uQ==:"],
        &["sha-256=:AAAA:"],
        &["sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", "sha-256=:AAAA:"],
    ];
    for case in values {
        let mut request = Request::post().signed();
        request.headers.remove("content-digest");
        for value in case {
            request.headers.append("content-digest", value.parse().unwrap());
        }
        assert_eq!(request.verify(), Err(SignatureRefusal::Digest), "{case:?}");
    }
    let mut lying = Request::get();
    lying.set("content-digest", &content_digest(b"something"));
    assert_eq!(lying.signed().verify(), Err(SignatureRefusal::Digest));
}

#[test]
fn a_signature_is_fresh_for_a_minute() {
    let request = Request::post().signed();
    for (shift, fresh) in [(-11, false), (-10, true), (0, true), (60, true), (61, false), (i64::MAX, false)] {
        assert_eq!(request.verify_at(NOW.plus(shift)).is_ok(), fresh, "{shift}");
    }
    let expiring = |at: i64| Request::post().signed_as(&format!("({COVERED}){PARAMS};expires={at}")).verify();
    assert!(expiring(NOW.0 + 1).is_ok());
    assert_eq!(expiring(NOW.0), Err(SignatureRefusal::NotFresh));
}

#[test]
fn parameters_are_required_with_their_types() {
    let swap = |from: &str, to: &str| {
        let params = PARAMS.replace(from, to);
        assert_ne!(params, PARAMS);
        Request::post().signed_as(&format!("({COVERED}){params}")).verify().unwrap_err()
    };
    for bad in ["", ";created=\"1700000000\"", ";created=1700000000.0", ";created"] {
        assert_eq!(swap(";created=1700000000", bad), SignatureRefusal::Malformed("created"), "{bad}");
    }
    for bad in ["", ";nonce=\"\"", ";nonce=1", ";nonce=n"] {
        assert_eq!(swap(";nonce=\"n\"", bad), SignatureRefusal::Malformed("nonce"), "{bad}");
    }
    for bad in ["", ";keyid=k"] {
        assert_eq!(swap(";keyid=\"k\"", bad), SignatureRefusal::Malformed("keyid"), "{bad}");
    }
    assert_eq!(swap(";keyid=\"k\"", ";keyid=\"other\""), SignatureRefusal::UnknownKey);
    for bad in ["", ";tag=\"other\"", ";tag=1"] {
        assert_eq!(swap(";tag=\"countersign-request\"", bad), SignatureRefusal::WrongTag, "{bad}");
    }
    let expires = Request::post().signed_as(&format!("({COVERED}){PARAMS};expires=\"9\""));
    assert_eq!(expires.verify(), Err(SignatureRefusal::Malformed("expires")));
}

#[test]
fn the_key_says_the_algorithm() {
    let with = |alg: &str| Request::post().signed_as(&format!("({COVERED}){PARAMS};alg={alg}")).verify();
    assert!(with("\"ed25519\"").is_ok());
    for bad in ["\"ecdsa-p256-sha256\"", "\"hmac-sha256\"", "\"none\"", "1", "ed25519"] {
        assert_eq!(with(bad), Err(SignatureRefusal::WrongAlgorithm), "{bad}");
    }
    let rsa = SigningKey::generate_rsa(2048).unwrap().public_jwk().to_value();
    let mut any = rsa.clone();
    any.as_object_mut().unwrap().remove("alg");
    let any = crate::PublicJwk::try_from(&any).unwrap().verifying_key();
    let request = Request::post().signed();
    let verified = verify(&request.message(), TAG_REQUEST, NOW, &|_| Some(any.clone()));
    assert_eq!(verified, Err(SignatureRefusal::WrongAlgorithm), "the key leaves it open");
}

#[test]
fn there_is_exactly_one_signature() {
    assert_eq!(Request::post().verify(), Err(SignatureRefusal::Missing));
    for (name, other) in [("signature", "s=:AAAA:"), ("signature-input", "s=();created=1")] {
        let signed = Request::post().signed();
        let mut missing = signed.clone();
        missing.headers.remove(name);
        assert_eq!(missing.verify(), Err(SignatureRefusal::Missing));
        let mut twice = signed.clone();
        twice.headers.append(name.parse::<HeaderName>().unwrap(), other.parse().unwrap());
        assert_eq!(twice.verify(), Err(SignatureRefusal::Malformed(name)));
        let mut merged = signed.clone();
        let held = signed.headers[name].to_str().unwrap();
        merged.set(name, &format!("{other}, {held}"));
        assert_eq!(merged.verify(), Err(SignatureRefusal::Malformed(name)));
        let mut same_label = signed.clone();
        same_label.set(name, &format!("{held}, {held}"));
        assert_eq!(same_label.verify(), Err(SignatureRefusal::Malformed(name)));
        let mut long = signed.clone();
        long.set(name, &format!("{held}{}", " ".repeat(FIELD_BYTES_MAX) + "x"));
        assert_eq!(long.verify(), Err(SignatureRefusal::Malformed(name)));
    }
    let mut relabelled = Request::post().signed();
    let signature = relabelled.headers["signature"].to_str().unwrap().replace("sig1=", "sig2=");
    relabelled.set("signature", &signature);
    assert_eq!(relabelled.verify(), Err(SignatureRefusal::Malformed("signature")));
}

#[test]
fn content_without_a_type_cannot_be_signed() {
    let mut request = Request::post();
    request.headers.remove("content-type");
    let signer = Signer { key: &key(), keyid: "k", tag: TAG_REQUEST, created: NOW, nonce: "n" };
    assert!(matches!(signer.sign(&request.message()), Err(SigningFault::Component(_))));
    let signer = Signer { nonce: "é", ..signer };
    assert_eq!(signer.sign(&Request::get().message()), Err(SigningFault::Parameter));
}

proptest! {
    #[test]
    fn any_fields_give_an_answer(input in "(s=)?[ -~]{0,60}", signature in "(s=:)?[ -~]{0,60}") {
        let mut request = Request::post();
        request.set("signature-input", &input);
        request.set("signature", &signature);
        prop_assert!(request.verify().is_err());
    }

    #[test]
    fn no_byte_of_the_signed_fields_can_be_changed(index in 0_usize..400, byte in b' '..=b'~') {
        for name in ["signature-input", "signature"] {
            let mut request = Request::post().signed();
            let mut value = request.headers[name].as_bytes().to_vec();
            let index = index % value.len();
            if value[index] == byte { continue; }
            value[index] = byte;
            request.set(name, std::str::from_utf8(&value).unwrap());
            // A label may change in both fields at once, never in one.
            prop_assert!(request.verify().is_err(), "{name} {index}");
        }
    }
}
