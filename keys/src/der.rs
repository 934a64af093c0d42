//! The little DER (X.690) that RSA and EC private keys need: sequences, octet strings and positive integers.

/// Writes a DER value: tag, length in its shortest form (X.690 §10.1), content.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let mut out = vec![tag];
    match &length[zeros..] {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // At most eight bytes, so the sum stays below 0x89.
            out.push(0x80 + u8::try_from(long.len()).unwrap_or(0));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// Writes a positive INTEGER from big-endian bytes.
pub(crate) fn integer(big_endian: &[u8]) -> Vec<u8> {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let digits = &big_endian[zeros..];
    let mut content = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|byte| *byte >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    value(INTEGER, &content)
}

/// An RSA public key as `SubjectPublicKeyInfo` (RFC 5280 §4.1, RFC 8017 §A.1.1).
pub(crate) fn rsa_public_key_info(n: &[u8], e: &[u8]) -> Vec<u8> {
    /// `rsaEncryption`, 1.2.840.113549.1.1.1, and its NULL parameters.
    const RSA_ENCRYPTION: [u8; 13] =
        [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];
    let key = value(SEQUENCE, &[integer(n), integer(e)].concat());
    let bits = value(BIT_STRING, &[&[0][..], &key].concat()); // no unused bits
    value(SEQUENCE, &[value(SEQUENCE, &RSA_ENCRYPTION), bits].concat())
}

const BIT_STRING: u8 = 0x03;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const SEQUENCE: u8 = 0x30;

/// Takes one value with this tag off the front of `input` and returns its content.
pub(crate) fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let rest = input.strip_prefix(&[tag])?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7F);
        if count == 0 || count > 3 || rest.len() < count {
            return None;
        }
        length = rest[..count].iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        rest = &rest[count..];
    }
    if rest.len() < length {
        return None;
    }
    let (content, tail) = rest.split_at(length);
    *input = tail;
    Some(content)
}

/// Takes one positive INTEGER and returns its big-endian bytes without leading zeros.
pub(crate) fn take_integer<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let content = take(input, INTEGER)?;
    let zeros = content.iter().take_while(|byte| **byte == 0).count();
    Some(&content[zeros..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_length_form_are_read_back() {
        for (length, header) in
            [(0, 2), (1, 2), (0x7F, 2), (0x80, 3), (0xFF, 3), (0x100, 4), (0xFFFF, 4), (0x1_0000, 5)]
        {
            let written = value(SEQUENCE, &vec![7; length]);
            assert_eq!(written.len(), header + length, "the length is in its shortest form");
            let mut rest = written.as_slice();
            assert_eq!(take(&mut rest, SEQUENCE).unwrap().len(), length);
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn integers_are_positive_and_minimal() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        let written = integer(&[0x80, 1]);
        assert_eq!(take_integer(&mut written.as_slice()).unwrap(), [0x80, 1]);
    }

    #[test]
    fn truncated_or_foreign_values_are_refused() {
        for bad in
            [&[][..], &[2], &[2, 2, 1], &[4, 1, 1], &[2, 0x80], &[2, 0x84, 0, 0, 0, 1, 1], &[2, 0x82, 1]]
        {
            assert!(take(&mut &*bad, INTEGER).is_none(), "{bad:?}");
        }
    }
}
