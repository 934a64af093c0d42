-- Customers without their personal data: one row per subject of a partner. What identifies a person lives in
-- customer_pii. Life: active -> restricted/blocked and back -> closed; rows stay (the ledger refers to them).
CREATE TABLE customer (
    partner_id    TEXT   NOT NULL,
    customer_id   TEXT   NOT NULL,   -- cus_...
    sub           TEXT   NOT NULL,   -- the subject at the authorization server; stable
    external_id   TEXT   NOT NULL,   -- the partner's own id; never an e-mail address or a phone number
    kind          TEXT   NOT NULL CHECK (kind IN ('person', 'business')),
    country       TEXT,              -- residence, ISO 3166-1 alpha-2; NULL until told
    status        TEXT   NOT NULL CHECK (status IN ('active', 'restricted', 'blocked', 'closed')),
    kyc_level     BIGINT NOT NULL,   -- changes only together with a row of kyc_decision
    kyc_status    TEXT   NOT NULL CHECK (kyc_status IN
                      ('not_started', 'needs_input', 'processing', 'in_review', 'approved', 'refused', 'expired')),
    pii_version   BIGINT NOT NULL,   -- 0: no personal data yet; one more with every change
    pii_mac       TEXT,              -- keyed HMAC of the last submission, so that an equal one costs nothing
    version       BIGINT NOT NULL,
    created_at_s  BIGINT NOT NULL,
    updated_at_s  BIGINT NOT NULL,
    PRIMARY KEY (partner_id, customer_id),
    UNIQUE (partner_id, sub),
    UNIQUE (partner_id, external_id)
);

CREATE INDEX customer_status ON customer (partner_id, status, customer_id);
