-- Charges at the payment gateway; the id is the gateway's idempotency key. Life: ready -> submitting -> captured or
-- declined; submitting -> unknown -> submitting (same key) until definite, or manual when probes are used up.
CREATE TABLE charge (
    charge_id        TEXT    PRIMARY KEY,
    partner_id       TEXT    NOT NULL,
    fiat_in_id       TEXT    NOT NULL,
    provider         TEXT    NOT NULL,
    amount           BIGINT  NOT NULL,   -- minor units
    currency         TEXT    NOT NULL,
    source_token     TEXT    NOT NULL,   -- the gateway's token, never a card number
    state            TEXT    NOT NULL CHECK (state IN ('ready', 'submitting', 'unknown', 'manual', 'captured', 'declined')),
    attempt          BIGINT  NOT NULL,   -- calls begun
    lease_holder     TEXT,               -- the process that is calling the gateway
    due_at_ms        BIGINT  NOT NULL,   -- Unix milliseconds: lease end, or when a worker may take it
    provider_ref     TEXT,
    decline_code     TEXT,
    decline_category TEXT,
    created_at_s     BIGINT  NOT NULL,
    settled_at_s     BIGINT              -- NULL until captured or declined
);

CREATE UNIQUE INDEX charge_of_fiat_in ON charge (fiat_in_id);
CREATE INDEX charge_due ON charge (state, due_at_ms);
