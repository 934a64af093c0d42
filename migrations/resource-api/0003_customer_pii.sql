-- Personal data, one sealed field a row (AES-256-GCM-SIV; AAD = partner|customer_pii|sub|field), so that a
-- ciphertext moved to another row does not open. Equality is asked through value_mac, never by opening.
-- Life: until the customer is erased.
CREATE TABLE customer_pii (
    partner_id    TEXT   NOT NULL,
    sub           TEXT   NOT NULL,
    field         TEXT   NOT NULL,   -- given_name, birth_date, emails, ...
    sealed        TEXT   NOT NULL,
    value_mac     TEXT   NOT NULL,   -- HMAC under a derived key over partner, subject, field and canonical value
    revision      BIGINT NOT NULL,   -- 1 when first told, one more with every other value
    updated_at_s  BIGINT NOT NULL,
    PRIMARY KEY (partner_id, sub, field)
);
