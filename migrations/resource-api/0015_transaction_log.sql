-- Transactions that a partner logs to have them judged: nothing is charged or booked for them. Written once with the
-- verdict. Life: for ever.
CREATE TABLE transaction_log (
    partner_id        TEXT   NOT NULL,
    log_id            TEXT   NOT NULL,   -- txl_...
    customer_id       TEXT   NOT NULL,
    client_id         TEXT   NOT NULL,   -- who logged it
    kind              TEXT   NOT NULL CHECK (kind IN ('funding', 'withdrawal', 'transfer')),
    client_reference  TEXT   NOT NULL,   -- the partner's own id of the transaction
    amount            BIGINT NOT NULL CHECK (amount > 0),   -- minor units
    currency          TEXT   NOT NULL,   -- ISO 4217
    outcome           TEXT   NOT NULL CHECK (outcome IN ('accept', 'review', 'refuse')),
    reason_code       TEXT,              -- a public code, never a threshold; NULL when accepted
    hits              TEXT   NOT NULL,   -- JSON: rule, version, reason code, observed, threshold
    inputs_hash       TEXT   NOT NULL,
    rule_set_version  BIGINT NOT NULL,
    created_at_s      BIGINT NOT NULL,
    PRIMARY KEY (partner_id, log_id),
    UNIQUE (partner_id, client_reference)
);

CREATE INDEX transaction_log_customer ON transaction_log (partner_id, customer_id, log_id);

-- Customers that exist to be paid on behalf of another one. Several of them may be one person; each keeps its own
-- wallets. Written with the customer. Life: for ever.
CREATE TABLE third_party (
    partner_id    TEXT   NOT NULL,
    customer_id   TEXT   NOT NULL,   -- who is paid
    principal_id  TEXT   NOT NULL,   -- the customer on whose behalf
    created_at_s  BIGINT NOT NULL,
    PRIMARY KEY (partner_id, customer_id)
);

CREATE INDEX third_party_principal ON third_party (partner_id, principal_id, customer_id);
