-- All states of orders and charges, and what refunds take from an order. SQLite cannot change a CHECK in place, so
-- the tables are written anew. Life of an order: in_review, processing -> requires_action -> processing; processing ->
-- completed or failed; completed -> partially_refunded -> refunded; completed -> disputed -> completed or charged_back;
-- cancelled and expired before a charge was submitted. Life of a charge: ready -> submitting -> requires_action ->
-- authorized -> captured; submitting -> unknown -> manual; declined and voided end it.
CREATE TABLE fiat_in_next (
    fiat_in_id       TEXT    PRIMARY KEY,
    partner_id       TEXT    NOT NULL,
    customer_id      TEXT    NOT NULL,
    entity_id        TEXT    NOT NULL,   -- the wallet that is credited
    client_id        TEXT    NOT NULL,   -- who ordered; may not decide its own review
    token_jti        TEXT,               -- of the one-time token that was spent on it
    amount           BIGINT  NOT NULL,   -- minor units
    currency         TEXT    NOT NULL,   -- ISO 4217
    limit_value      BIGINT,             -- the amount in the limits' currency, minor units; NULL when it has no rate
    client_reference TEXT    NOT NULL,   -- the partner's own id of the order
    method_brand     TEXT,
    method_last4     TEXT,
    method_country   TEXT,               -- country of issue, ISO 3166-1
    ip_country       TEXT,               -- as the partner reported it
    device_hash      TEXT,               -- keyed hash of the device data
    state            TEXT    NOT NULL CHECK (state IN (
        'in_review', 'processing', 'requires_action', 'completed', 'refused', 'failed', 'cancelled', 'expired',
        'partially_refunded', 'refunded', 'disputed', 'charged_back')),
    state_reason     TEXT,               -- a public code, never a threshold
    decision         TEXT    NOT NULL CHECK (decision IN ('accept', 'review', 'refuse')),
    expires_at_s     BIGINT,             -- when an order that waits for a person or for the payer ends by itself
    refunded         BIGINT  NOT NULL DEFAULT 0,   -- minor units returned to the payer
    refund_held      BIGINT  NOT NULL DEFAULT 0,   -- minor units in refunds whose end is not known
    claim            TEXT    NOT NULL,   -- JSON: where the answer to the request is kept
    version          BIGINT  NOT NULL,
    created_at_s     BIGINT  NOT NULL,   -- Unix seconds
    updated_at_s     BIGINT  NOT NULL
);

INSERT INTO fiat_in_next (
    fiat_in_id, partner_id, customer_id, entity_id, client_id, token_jti, amount, currency, limit_value,
    client_reference, method_brand, method_last4, method_country, ip_country, device_hash, state, state_reason,
    decision, claim, version, created_at_s, updated_at_s)
SELECT
    fiat_in_id, partner_id, customer_id, entity_id, client_id, token_jti, amount, currency, limit_value,
    client_reference, method_brand, method_last4, method_country, ip_country, device_hash, state, state_reason,
    decision, claim, version, created_at_s, updated_at_s
FROM fiat_in;
DROP TABLE fiat_in;
ALTER TABLE fiat_in_next RENAME TO fiat_in;
CREATE UNIQUE INDEX fiat_in_client_reference ON fiat_in (partner_id, client_reference);
CREATE INDEX fiat_in_newest ON fiat_in (partner_id, fiat_in_id);
CREATE INDEX fiat_in_of_customer ON fiat_in (partner_id, customer_id, created_at_s);
CREATE INDEX fiat_in_of_token ON fiat_in (partner_id, token_jti);
CREATE INDEX fiat_in_expires ON fiat_in (expires_at_s);

CREATE TABLE charge_next (
    charge_id        TEXT    PRIMARY KEY,
    partner_id       TEXT    NOT NULL,
    fiat_in_id       TEXT    NOT NULL,
    provider         TEXT    NOT NULL,
    amount           BIGINT  NOT NULL,   -- minor units
    currency         TEXT    NOT NULL,
    source_token     TEXT    NOT NULL,   -- the gateway's token, never a card number
    state            TEXT    NOT NULL CHECK (state IN (
        'ready', 'submitting', 'requires_action', 'authorized', 'unknown', 'manual', 'captured', 'declined', 'voided')),
    attempt          BIGINT  NOT NULL,   -- calls begun
    lease_holder     TEXT,               -- the process that is calling the gateway
    due_at_ms        BIGINT  NOT NULL,   -- Unix milliseconds: lease end, or when a worker may take it
    provider_ref     TEXT,
    action_url       TEXT,               -- where the payer proves to the bank who they are (3-D Secure); NULL once done
    decline_code     TEXT,
    decline_category TEXT,
    submitted_at_s   BIGINT,             -- first sent to the gateway; NULL before
    void_requested_at_s BIGINT,          -- its order ended while the payer was awaited: to be given up at the gateway
    late_success_at_s BIGINT,            -- collected although its order had ended: the money went to suspense
    created_at_s     BIGINT  NOT NULL,
    settled_at_s     BIGINT              -- NULL until captured, declined or voided
);

INSERT INTO charge_next (
    charge_id, partner_id, fiat_in_id, provider, amount, currency, source_token, state, attempt, lease_holder,
    due_at_ms, provider_ref, decline_code, decline_category, created_at_s, settled_at_s)
SELECT
    charge_id, partner_id, fiat_in_id, provider, amount, currency, source_token, state, attempt, lease_holder,
    due_at_ms, provider_ref, decline_code, decline_category, created_at_s, settled_at_s
FROM charge;
DROP TABLE charge;
ALTER TABLE charge_next RENAME TO charge;
CREATE UNIQUE INDEX charge_of_fiat_in ON charge (fiat_in_id);
CREATE INDEX charge_due ON charge (state, due_at_ms);

-- Life of a review: open -> accepted or refused, once; or it ends with its order (withdrawn, expired).
CREATE TABLE review_next (
    review_id      TEXT   PRIMARY KEY,
    partner_id     TEXT   NOT NULL,
    fiat_in_id     TEXT   NOT NULL,
    ordered_by     TEXT   NOT NULL,      -- client that made the order
    state          TEXT   NOT NULL CHECK (state IN ('open', 'accepted', 'refused', 'withdrawn', 'expired')),
    reason_codes   TEXT   NOT NULL,      -- JSON list of what monitoring saw
    source_token   TEXT,                 -- the gateway's token to be charged; NULL once it is not open
    decided_by     TEXT,                 -- client
    decision_note  TEXT,                 -- the reviewer's reason
    created_at_s   BIGINT NOT NULL,
    decided_at_s   BIGINT
);

INSERT INTO review_next (
    review_id, partner_id, fiat_in_id, ordered_by, state, reason_codes, source_token, decided_by, decision_note,
    created_at_s, decided_at_s)
SELECT
    review_id, partner_id, fiat_in_id, ordered_by, state, reason_codes, source_token, decided_by, decision_note,
    created_at_s, decided_at_s
FROM review;
DROP TABLE review;
ALTER TABLE review_next RENAME TO review;
CREATE UNIQUE INDEX review_of_fiat_in ON review (fiat_in_id);
CREATE INDEX review_newest ON review (partner_id, review_id);
