-- Refunds: money of a captured charge on its way back to the payer. The id is the gateway's idempotency key. The money
-- is held before the gateway is asked. Life: held -> submitting -> succeeded or failed; submitting -> unknown ->
-- submitting (same key) until definite, or manual when probes are used up. Ended rows stay for ever.
CREATE TABLE refund (
    refund_id     TEXT   PRIMARY KEY,   -- rfd_...
    partner_id    TEXT   NOT NULL,
    fiat_in_id    TEXT   NOT NULL,
    charge_id     TEXT   NOT NULL,
    provider      TEXT   NOT NULL,
    kind          TEXT   NOT NULL CHECK (kind IN ('requested', 'automatic')),
    amount        BIGINT NOT NULL CHECK (amount > 0),   -- minor units
    currency      TEXT   NOT NULL,      -- ISO 4217
    reason        TEXT   NOT NULL,      -- the caller's words, or a code for an automatic one
    requested_by  TEXT,                 -- client; NULL for an automatic one
    account_id    TEXT   NOT NULL,      -- the ledger account that pays
    hold_id       TEXT   NOT NULL,
    state         TEXT   NOT NULL CHECK (state IN ('held', 'submitting', 'unknown', 'manual', 'succeeded', 'failed')),
    attempt       BIGINT NOT NULL,      -- calls begun
    lease_holder  TEXT,                 -- the process that is calling the gateway
    due_at_ms     BIGINT NOT NULL,      -- Unix milliseconds: lease end, or when a worker may take it
    provider_ref  TEXT,                 -- the gateway's own id
    decline_code  TEXT,
    claim         TEXT,                 -- JSON: where the answer to the request is kept; NULL for an automatic one
    created_at_s  BIGINT NOT NULL,
    settled_at_s  BIGINT                -- NULL until succeeded or failed
);

CREATE INDEX refund_of_fiat_in ON refund (partner_id, fiat_in_id, refund_id);
CREATE INDEX refund_due ON refund (state, due_at_ms);
-- Money that came too late goes back once.
CREATE UNIQUE INDEX refund_automatic ON refund (charge_id) WHERE kind = 'automatic';

-- Charges that the payer contests at the bank, as the gateway told them. Life: open -> won or lost, once; an end may
-- be told before the beginning.
CREATE TABLE dispute (
    partner_id    TEXT   NOT NULL,
    dispute_id    TEXT   NOT NULL,      -- the gateway's own id
    fiat_in_id    TEXT   NOT NULL,
    amount        BIGINT NOT NULL CHECK (amount > 0),   -- minor units
    currency      TEXT   NOT NULL,
    state         TEXT   NOT NULL CHECK (state IN ('open', 'won', 'lost')),
    opened_at_s   BIGINT NOT NULL,
    ended_at_s    BIGINT,
    PRIMARY KEY (partner_id, dispute_id)
);

CREATE INDEX dispute_of_fiat_in ON dispute (partner_id, fiat_in_id);
