//! Key pairs read back, and what is no key pair.

use serde_json::json;

use super::*;

fn every_key() -> Vec<SigningKey> {
    vec![
        SigningKey::es256_from_seed([9; 32]).unwrap(),
        SigningKey::ed25519_from_seed([9; 32]).unwrap(),
        SigningKey::generate_rsa(2048).unwrap().with_alg(Algorithm::Ps256).unwrap(),
    ]
}

#[test]
fn a_private_jwk_reads_back_as_the_same_key() {
    for key in every_key() {
        for key in [key.clone(), key.with_kid("my key").unwrap()] {
            let written = key.to_private_jwk().unwrap();
            assert_eq!(PublicJwk::try_from(&written), Err(BadJwk::Private));
            let read = SigningKey::from_private_jwk(&written).unwrap();
            assert_eq!((read.kid(), read.alg()), (key.kid(), key.alg()));
            assert_eq!(read.public_jwk(), key.public_jwk());
            let signature = read.sign(b"x").unwrap();
            assert_eq!(key.public_jwk().verifying_key().verify(key.alg(), b"x", &signature), Ok(()));
            assert_eq!(read.to_private_jwk().unwrap(), written);
        }
    }
}

#[test]
fn a_seed_always_gives_the_same_key() {
    for seed in [[0; 32], [1; 32], [0xFF; 32]] {
        // Neither zero nor a number beyond the group's order is a scalar; their hash takes their place.
        let key = SigningKey::es256_from_seed(seed).unwrap();
        assert_eq!(key.kid(), SigningKey::es256_from_seed(seed).unwrap().kid());
        assert_eq!(key.kid(), key.public_jwk().thumbprint());
        let ed25519 = SigningKey::ed25519_from_seed(seed).unwrap();
        assert_eq!(ed25519.to_private_jwk().unwrap()["d"], b64::encode(seed));
    }
    let one = SigningKey::es256_from_seed([1; 32]).unwrap();
    assert_eq!(one.to_private_jwk().unwrap()["d"], b64::encode([1; 32]));
    assert_ne!(one.kid(), SigningKey::es256_from_seed([2; 32]).unwrap().kid());
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    for (key, number) in every_key().iter().zip(["d", "d", "p"]) {
        let mut jwk = key.to_private_jwk().unwrap();
        let mut bytes = b64::decode(jwk[number].as_str().unwrap()).unwrap();
        bytes[5] ^= 1;
        jwk[number] = b64::encode(bytes).into();
        assert!(matches!(SigningKey::from_private_jwk(&jwk), Err(KeyFault::Private(_))), "{:?}", key.alg());
    }
}

#[test]
fn incomplete_or_foreign_private_keys_are_refused() {
    for key in every_key() {
        let whole = key.to_private_jwk().unwrap();
        for name in ["kty", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi"] {
            let mut jwk = whole.clone();
            if jwk.as_object_mut().unwrap().remove(name).is_some() {
                assert!(SigningKey::from_private_jwk(&jwk).is_err(), "{name}");
                jwk[name] = json!(1);
                assert!(SigningKey::from_private_jwk(&jwk).is_err(), "{name}");
            }
        }
    }
    let mut many_primes = every_key()[2].to_private_jwk().unwrap();
    many_primes["oth"] = json!([]);
    assert!(matches!(SigningKey::from_private_jwk(&many_primes), Err(KeyFault::Unsupported(_))));
    for bad in [json!(null), json!([]), json!({"kty": "oct", "k": "AAAA"})] {
        assert!(SigningKey::from_private_jwk(&bad).is_err(), "{bad}");
    }
}

#[test]
fn algorithms_and_sizes_that_do_not_fit_are_refused() {
    for key in every_key() {
        for alg in Algorithm::ALL {
            let fits = key.public_jwk().material().takes(alg);
            assert_eq!(key.with_alg(alg).is_ok(), fits, "{:?} {alg}", key.alg());
        }
    }
    for bits in [0, 512, 1024, 2047, 8192] {
        assert_eq!(SigningKey::generate_rsa(bits).unwrap_err(), KeyFault::Unsupported("RSA key size"));
    }
}

#[test]
fn debug_and_faults_show_no_secret() {
    for key in every_key() {
        let jwk = key.to_private_jwk().unwrap();
        let shown = format!("{key:?} {:?} {:?}", key.public_jwk(), key.public_jwk().verifying_key());
        assert!(shown.contains(key.kid()) && !shown.contains(jwk["d"].as_str().unwrap()));
    }
}
