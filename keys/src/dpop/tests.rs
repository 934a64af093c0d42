//! Rows I1, I2 and H4 to H8 of the security checklist, for proofs.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const URI: &str = "https://rs.example/v1/pay";
const TOKEN: &str = "header.payload.signature";

fn key() -> SigningKey {
    SigningKey::es256_from_seed([1; 32]).unwrap()
}

fn new_proof() -> NewProof<'static> {
    NewProof { method: "POST", uri: URI, jti: "jti-1", iat: NOW, access_token: Some(TOKEN), nonce: None }
}

fn asked() -> Asked<'static> {
    Asked { method: "POST", uri: URI, access_token: Some(TOKEN) }
}

fn judged(proof: &str) -> Result<Verified, ProofRefusal> {
    verify(proof, &asked(), NOW)
}

fn header() -> Value {
    json!({"typ": TYP, "alg": "ES256", "jwk": key().public_jwk().to_value()})
}

fn claims() -> Value {
    json!({"jti": "jti-1", "htm": "POST", "htu": URI, "iat": NOW.0, "ath": digest::sha256_b64(TOKEN)})
}

/// Any header and payload text, truly signed by `signer`.
fn forged(signer: &SigningKey, header: &str, payload: &str) -> String {
    let signing_input = format!("{}.{}", b64::encode(header), b64::encode(payload));
    let signature = signer.sign(signing_input.as_bytes()).unwrap();
    format!("{signing_input}.{}", b64::encode(signature))
}

fn with_header(change: impl FnOnce(&mut Value)) -> String {
    let mut header = header();
    change(&mut header);
    forged(&key(), &header.to_string(), &claims().to_string())
}

fn with_claim(name: &str, value: Option<Value>) -> String {
    let mut claims = claims();
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().remove(name)),
    }
    forged(&key(), &header().to_string(), &claims.to_string())
}

#[test]
fn a_proof_we_make_is_one_we_take_with_every_kind_of_key() {
    let rsa = SigningKey::generate_rsa(2048).unwrap();
    let keys = [
        key(),
        SigningKey::ed25519_from_seed([2; 32]).unwrap(),
        rsa.with_alg(Algorithm::Ps256).unwrap(),
        rsa.with_alg(Algorithm::Rs256).unwrap(),
    ];
    for key in keys {
        let proof = NewProof { nonce: Some("n-1"), ..new_proof() }.sign(&key).unwrap();
        let verified = judged(&proof).unwrap();
        assert_eq!(verified.jkt, key.public_jwk().thumbprint(), "{}", key.alg());
        assert_eq!((verified.jti.as_str(), verified.nonce.as_deref()), ("jti-1", Some("n-1")));
        assert!(is_thumbprint(&verified.jkt));
    }
}

/// The proof of RFC 9449 §7.1, figure 12, and the token it goes with.
#[test]
fn the_example_of_the_rfc_verifies() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    let asked = Asked {
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
        access_token: Some(token),
    };
    let verified = verify(proof, &asked, UnixSeconds(1_562_262_618)).unwrap();
    assert_eq!(verified.jkt, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    assert_eq!(verified.jti, "e1j3V_bKic8-LAEB");
}

/// Row I1: `htm`, `htu`, `jti`, `ath`, and every claim of a wrong JSON type (rows H3 and BI of it).
#[test]
fn every_claim_must_be_there_and_be_right() {
    let cases = [
        ("htm", Some(json!("GET")), ProofRefusal::Method),
        ("htm", Some(json!("post")), ProofRefusal::Method),
        ("htu", Some(json!("https://rs.example/v1/other")), ProofRefusal::Target),
        ("htu", Some(json!("https://as.example/v1/pay")), ProofRefusal::Target),
        ("htu", Some(json!("http://rs.example/v1/pay")), ProofRefusal::Target),
        ("htu", Some(json!("/v1/pay")), ProofRefusal::Target),
        ("ath", Some(json!(digest::sha256_b64("another"))), ProofRefusal::AccessToken),
        ("ath", Some(json!(TOKEN)), ProofRefusal::AccessToken),
        ("ath", None, ProofRefusal::AccessToken),
        ("jti", Some(json!("j".repeat(JTI_BYTES_MAX + 1))), ProofRefusal::BadClaim("jti")),
        ("nonce", Some(json!(1)), ProofRefusal::BadClaim("nonce")),
        ("nonce", Some(json!("")), ProofRefusal::BadClaim("nonce")),
    ];
    for (name, value, refusal) in cases {
        assert_eq!(judged(&with_claim(name, value.clone())), Err(refusal), "{name} {value:?}");
    }
    for name in ["htm", "htu", "jti", "iat"] {
        for value in [None, Some(json!(null)), Some(json!([])), Some(json!({})), Some(json!(true))] {
            assert_eq!(
                judged(&with_claim(name, value.clone())),
                Err(ProofRefusal::BadClaim(name)),
                "{value:?}"
            );
        }
    }
    for bad in [json!("1800000000"), json!(1.8e9), json!(-1), json!(9_007_199_254_740_992_i64)] {
        assert_eq!(
            judged(&with_claim("iat", Some(bad.clone()))),
            Err(ProofRefusal::BadClaim("iat")),
            "{bad}"
        );
    }
}

/// Row I1: 60 s back, 10 s ahead, to the second.
#[test]
fn a_proof_is_of_this_minute() {
    for (offset, expected) in [
        (-61, Err(ProofRefusal::TooOld)),
        (-60, Ok(())),
        (0, Ok(())),
        (10, Ok(())),
        (11, Err(ProofRefusal::Future)),
    ] {
        let proof = NewProof { iat: NOW.plus(offset), ..new_proof() }.sign(&key()).unwrap();
        let verdict = judged(&proof);
        assert_eq!(verdict.clone().map(|_| ()), expected, "{offset}");
        if let Ok(verified) = verdict {
            // What is remembered outlives what is taken.
            let end = verified.remember_until();
            assert_eq!(verify(&proof, &asked(), end), Err(ProofRefusal::TooOld));
        }
    }
}

/// Row I2: the query belongs to neither side.
#[test]
fn the_query_is_not_part_of_the_proof() {
    let proof = NewProof { uri: "https://rs.example/v1/pay?x=1#y", ..new_proof() }.sign(&key()).unwrap();
    assert!(judged(&proof).is_ok());
    let asked = Asked { uri: "https://rs.example/v1/pay?a=b", ..asked() };
    assert!(verify(&proof, &asked, NOW).is_ok());
}

/// Rows I1 and H4: algorithms, and keys that prove nothing.
#[test]
fn only_an_asymmetric_signature_by_a_sound_public_key_counts() {
    for alg in ["none", "HS256", "RS1", "ES384", "es256", ""] {
        assert_eq!(judged(&with_header(|it| it["alg"] = json!(alg))), Err(ProofRefusal::Algorithm), "{alg}");
    }
    let rs512 = SigningKey::generate_rsa(2048).unwrap().with_alg(Algorithm::Rs512).unwrap();
    assert_eq!(judged(&new_proof().sign(&rs512).unwrap()), Err(ProofRefusal::Algorithm));
    let bad_keys = [
        key().to_private_jwk().unwrap(),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "EC", "crv": "P-256", "x": b64::encode([1; 32]), "y": b64::encode([1; 32])}),
        json!({"kty": "EC", "crv": "P-384", "x": b64::encode([1; 48]), "y": b64::encode([1; 48])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": b64::encode([0; 32])}),
        json!({"kty": "RSA", "n": b64::encode([0xFF; 256]), "e": "AQ"}),
        json!({"kty": "RSA", "n": b64::encode([0xFF; 128]), "e": "AQAB"}),
        json!("key"),
        json!(null),
        json!({}),
    ];
    for jwk in bad_keys {
        let proof = with_header(|it| it["jwk"] = jwk.clone());
        assert_eq!(judged(&proof), Err(ProofRefusal::Malformed("jwk")), "{jwk}");
    }
    assert_eq!(
        judged(&with_header(|it| drop(it.as_object_mut().unwrap().remove("jwk")))),
        Err(ProofRefusal::Malformed("jwk"))
    );
    let other = SigningKey::es256_from_seed([9; 32]).unwrap();
    assert_eq!(
        judged(&forged(&other, &header().to_string(), &claims().to_string())),
        Err(ProofRefusal::Signature)
    );
    assert_eq!(judged(&with_header(|it| it["alg"] = json!("EdDSA"))), Err(ProofRefusal::Signature));
    let good = new_proof().sign(&key()).unwrap();
    let unsigned = good.rsplit_once('.').unwrap().0;
    for signature in [b64::encode([0; 64]), String::new(), b64::encode([1; 63])] {
        assert_eq!(judged(&format!("{unsigned}.{signature}")), Err(ProofRefusal::Signature));
    }
}

/// Rows I1 and H1: no other token is a proof.
#[test]
fn only_its_own_type_is_a_proof() {
    for typ in [json!("at+jwt"), json!("JWT"), json!("DPOP+JWT"), json!("application/dpop+jwt"), json!("jwt")]
    {
        assert_eq!(judged(&with_header(|it| it["typ"] = typ.clone())), Err(ProofRefusal::WrongType), "{typ}");
    }
    let untyped = with_header(|it| drop(it.as_object_mut().unwrap().remove("typ")));
    assert_eq!(judged(&untyped), Err(ProofRefusal::WrongType));
}

/// Rows H5 to H8: headers that point elsewhere, odd encodings, floods.
#[test]
fn odd_headers_and_encodings_are_refused() {
    let members = ["crit", "b64", "jku", "x5u", "x5c", "zip", "enc", "cty", "epk", "apu", "p2c"];
    for name in members {
        let proof = with_header(|it| it[name] = json!("x"));
        assert_eq!(judged(&proof), Err(ProofRefusal::Malformed(name)), "{name}");
    }
    let long_kid = with_header(|it| it["kid"] = json!("k".repeat(300)));
    assert_eq!(judged(&long_kid), Err(ProofRefusal::Malformed("kid")));
    let doubled = header().to_string().replacen('{', r#"{"typ":"dpop+jwt","#, 1);
    assert!(judged(&forged(&key(), &doubled, &claims().to_string())).is_err());
    let doubled = claims().to_string().replacen('{', r#"{"htm":"GET","#, 1);
    assert_eq!(
        judged(&forged(&key(), &header().to_string(), &doubled)),
        Err(ProofRefusal::BadClaim("payload"))
    );
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    assert!(judged(&forged(&key(), &deep, "{}")).is_err());
    let good = new_proof().sign(&key()).unwrap();
    for bad in [
        ".".repeat(1 << 20),
        "a".repeat(1 << 20),
        format!("{good}."),
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}.a.b"),
        good.replace('.', ".."),
        good.replacen('.', "=.", 1),
        String::new(),
    ] {
        assert!(matches!(judged(&bad), Err(ProofRefusal::Malformed(_))), "{}", &bad[..bad.len().min(80)]);
    }
}

#[test]
fn a_thumbprint_is_32_bytes_in_canonical_base64url() {
    let good = key().public_jwk().thumbprint();
    assert!(is_thumbprint(&good));
    for bad in ["", "x", &good[1..], &format!("{good}="), &format!("{good}A"), &good.replace(&good[..1], "+")]
    {
        assert!(!is_thumbprint(bad), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_verifier_panic(text in ".*", cut in 0_usize..400) {
        prop_assert!(judged(&text).is_err());
        let good = new_proof().sign(&key()).unwrap();
        let cut = cut.min(good.len() - 1);
        prop_assert!(judged(&good[..cut]).is_err());
    }
}
