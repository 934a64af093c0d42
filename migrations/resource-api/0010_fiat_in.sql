-- Fiat-in orders, one row each. Life: created with its monitoring verdict in one commit -> refused, in_review or
-- processing; in_review -> processing or refused; processing -> completed or failed.
CREATE TABLE fiat_in (
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
    state            TEXT    NOT NULL CHECK (state IN ('in_review', 'processing', 'completed', 'refused', 'failed')),
    state_reason     TEXT,               -- a public code, never a threshold
    decision         TEXT    NOT NULL CHECK (decision IN ('accept', 'review', 'refuse')),
    claim            TEXT    NOT NULL,   -- JSON: where the answer to the request is kept
    version          BIGINT  NOT NULL,
    created_at_s     BIGINT  NOT NULL,   -- Unix seconds
    updated_at_s     BIGINT  NOT NULL
);

CREATE UNIQUE INDEX fiat_in_client_reference ON fiat_in (partner_id, client_reference);
CREATE INDEX fiat_in_newest ON fiat_in (partner_id, fiat_in_id);
CREATE INDEX fiat_in_of_customer ON fiat_in (partner_id, customer_id, created_at_s);
CREATE INDEX fiat_in_of_token ON fiat_in (partner_id, token_jti);
