//! The vault: personal data in and out of its sealed form.
//!
//! Sealing is done before a transaction begins (it costs time and random bytes); inside, only keyed hashes are compared.

use std::collections::BTreeMap;

use chassis::sealed::{SealedColumn, SealedField as Field};
use chassis::{Entropy, Fault, entropy};
use keys::mac::MacKey;
use keys::seal::MasterKeys;

use crate::domain::pii::{Pii, PiiField};

/// Personal data: a text opens only for its partner, subject and field.
const PERSONAL_DATA: SealedColumn = SealedColumn {
    table: "customer_pii",
    column: "sealed",
    tenant: Some("partner_id"),
    row: "sub",
    field: Field::Column("field"),
};

/// The sealed columns that this service has beside those of [`chassis::sealed::COLUMNS`].
pub const SEALED: &[SealedColumn] = &[PERSONAL_DATA];

/// Seals and opens personal data.
#[derive(Clone)]
pub struct Vault {
    master: MasterKeys,
    mac_key: MacKey,
}

/// One field, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedField {
    /// Which field.
    pub field: PiiField,
    /// Ciphertext with key id and nonce.
    pub sealed: String,
    /// Keyed hash of the canonical value: equal values of one subject's field have equal hashes.
    pub value_mac: String,
}

/// One submission, sealed and ready to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealedPii {
    /// The fields that were submitted.
    pub fields: Vec<SealedField>,
    /// Keyed hash of the whole submission in canonical form.
    pub mac: String,
    /// Country of the first address: not personal by itself, used by rules.
    pub residence: Option<String>,
}

impl Vault {
    /// A vault under these master keys.
    pub fn new(master: MasterKeys) -> Self {
        let mac_key = master.mac_key("customer-pii");
        Self { master, mac_key }
    }

    /// Seals a submission for one subject. A ciphertext opens only in the row it was made for.
    ///
    /// # Errors
    /// A fault when the crypto library fails.
    pub fn seal(
        &self,
        partner_id: &str,
        sub: &str,
        pii: &Pii,
        random: &dyn Entropy,
    ) -> Result<SealedPii, Fault> {
        let mut fields = Vec::new();
        let mut macs = Vec::new();
        for (field, value) in pii.iter() {
            let place = [partner_id, sub, field.as_str()];
            let mac = self.mac_key.mac(&[
                place[0].as_bytes(),
                place[1].as_bytes(),
                place[2].as_bytes(),
                value.as_bytes(),
            ]);
            let aad = PERSONAL_DATA.place(partner_id, sub, field.as_str());
            let sealed = self
                .master
                .seal(entropy::bytes(random), &aad, value.as_bytes())
                .map_err(chassis::while_doing("seal personal data"))?;
            fields.push(SealedField { field, sealed, value_mac: keys::b64::encode(mac) });
            macs.push(mac);
        }
        let parts: Vec<&[u8]> = macs.iter().map(<[u8; 32]>::as_slice).collect();
        Ok(SealedPii { fields, mac: self.mac_key.mac_b64(&parts), residence: pii.residence() })
    }

    /// Opens stored fields of one subject. Fields this version does not know are left out.
    ///
    /// # Errors
    /// A fault when a ciphertext does not belong here or its key is not held.
    pub fn open(&self, partner_id: &str, sub: &str, sealed: &[(String, String)]) -> Result<Pii, Fault> {
        let mut fields = BTreeMap::new();
        for (name, text) in sealed {
            let Ok(field) = name.parse::<PiiField>() else { continue };
            let aad = PERSONAL_DATA.place(partner_id, sub, field.as_str());
            let plain = self.master.open(&aad, text).map_err(chassis::while_doing("open personal data"))?;
            let value = String::from_utf8(plain).map_err(chassis::while_doing("read personal data"))?;
            fields.insert(field, value);
        }
        Ok(Pii::from_fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use chassis::SeededEntropy;
    use keys::seal::MasterKey;

    use super::*;

    fn vault() -> Vault {
        Vault::new(MasterKeys::new(MasterKey::new([7; 32]), Vec::new()))
    }

    fn pii(name: &str) -> Pii {
        Pii::from_fields(BTreeMap::from([(PiiField::GivenName, name.to_owned())]))
    }

    fn stored(sealed: &SealedPii) -> Vec<(String, String)> {
        sealed.fields.iter().map(|field| (field.field.as_str().to_owned(), field.sealed.clone())).collect()
    }

    #[test]
    fn what_was_sealed_opens_in_its_own_row_only() {
        let (vault, random) = (vault(), SeededEntropy::new(1));
        let sealed = vault.seal("p", "usr_1", &pii("Ann"), &random).unwrap();
        assert!(!format!("{sealed:?}").contains("Ann"));
        assert_eq!(vault.open("p", "usr_1", &stored(&sealed)).unwrap(), pii("Ann"));
        assert!(vault.open("p", "usr_2", &stored(&sealed)).is_err());
        assert!(vault.open("q", "usr_1", &stored(&sealed)).is_err());
        let moved = vec![("family_name".to_owned(), sealed.fields[0].sealed.clone())];
        assert!(vault.open("p", "usr_1", &moved).is_err());
    }

    #[test]
    fn equal_submissions_have_equal_hashes_and_other_ciphertexts() {
        let (vault, random) = (vault(), SeededEntropy::new(1));
        let [first, again, other] =
            ["Ann", "Ann", "Anne"].map(|name| vault.seal("p", "usr_1", &pii(name), &random).unwrap());
        assert_eq!((&first.mac, &first.fields[0].value_mac), (&again.mac, &again.fields[0].value_mac));
        assert_ne!(first.fields[0].sealed, again.fields[0].sealed);
        assert_ne!(first.mac, other.mac);
        let elsewhere = vault.seal("p", "usr_2", &pii("Ann"), &random).unwrap();
        assert_ne!(first.fields[0].value_mac, elsewhere.fields[0].value_mac);
    }
}
