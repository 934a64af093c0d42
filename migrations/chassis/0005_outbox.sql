-- Events, webhook endpoints and deliveries (Standard Webhooks 1.0).
-- Columns are TEXT, BIGINT or BOOLEAN only, so that this file runs unchanged on SQLite and PostgreSQL.

-- One row per state change, written in the transaction of the change. `seq` is NULL until the numberer, after the
-- commit, gives the partner's next number; nothing reads an event before that.
CREATE TABLE event (
    partner_id      TEXT   NOT NULL,
    event_id        TEXT   NOT NULL,   -- also the `webhook-id` of every delivery
    ordinal         BIGINT NOT NULL,   -- greater than that of every unnumbered event this one could have seen
    seq             BIGINT,            -- 1, 2, 3 .. per partner, without gaps
    kind            TEXT   NOT NULL,   -- `fiat_in.completed`
    schema_version  BIGINT NOT NULL,
    occurred_at_s   BIGINT NOT NULL,   -- Unix seconds
    data            TEXT   NOT NULL,   -- JSON object: ids, states, amounts, reason codes
    expires_at_s    BIGINT NOT NULL,
    PRIMARY KEY (partner_id, event_id)
);

CREATE UNIQUE INDEX event_partner_seq ON event (partner_id, seq);
-- The numberer's work list; also answers the highest waiting ordinal.
CREATE INDEX event_unnumbered ON event (ordinal, partner_id, event_id) WHERE seq IS NULL;
CREATE INDEX event_expires_at ON event (expires_at_s);

-- The last number given to each partner. Outlives the events, so a number is never given twice.
CREATE TABLE event_sequence (
    partner_id  TEXT   PRIMARY KEY,
    last_seq    BIGINT NOT NULL
);

-- Where a partner wants its events. Life: enabled <-> disabled.
CREATE TABLE webhook_endpoint (
    partner_id           TEXT   NOT NULL,
    endpoint_id          TEXT   NOT NULL,
    url                  TEXT   NOT NULL,
    event_kinds          TEXT   NOT NULL,   -- JSON list; empty: every kind; `fiat_in.*`: a family
    secret_sealed        TEXT   NOT NULL,   -- ed25519 seed
    public_key           TEXT   NOT NULL,   -- `whpk_` + base64
    previous_sealed      TEXT,              -- the seed before the last rotation; signs too until previous_until_s
    previous_until_s     BIGINT,
    status               TEXT   NOT NULL CHECK (status IN ('enabled', 'disabled')),
    created_at_s         BIGINT NOT NULL,
    PRIMARY KEY (partner_id, endpoint_id)
);

-- One event for one endpoint.
-- Life: pending -> delivering -> delivered | retrying | parked; retrying -> delivering; any but delivered -> skipped
-- when the endpoint is disabled; anything at rest -> pending on redelivery.
CREATE TABLE webhook_delivery (
    partner_id         TEXT   NOT NULL,
    event_id           TEXT   NOT NULL,
    endpoint_id        TEXT   NOT NULL,
    seq                BIGINT NOT NULL,
    state              TEXT   NOT NULL
        CHECK (state IN ('pending', 'delivering', 'delivered', 'retrying', 'parked', 'skipped')),
    attempt            BIGINT NOT NULL,   -- attempts begun; also the fence of the one under way
    next_attempt_at_s  BIGINT,            -- when it may be taken: for `delivering` the end of the lease; NULL at rest
    response_code      BIGINT,            -- of the last attempt, when it was answered
    failure            TEXT,              -- why the last attempt failed
    created_at_s       BIGINT NOT NULL,
    attempted_at_s     BIGINT,
    expires_at_s       BIGINT NOT NULL,
    PRIMARY KEY (partner_id, event_id, endpoint_id)
);

-- The dispatcher's queue of each endpoint.
CREATE INDEX webhook_delivery_due ON webhook_delivery (partner_id, endpoint_id, next_attempt_at_s, seq)
    WHERE next_attempt_at_s IS NOT NULL;
-- The oldest unfinished delivery, for the gauge.
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (created_at_s) WHERE next_attempt_at_s IS NOT NULL;
CREATE INDEX webhook_delivery_parked ON webhook_delivery (partner_id, endpoint_id) WHERE state = 'parked';
CREATE INDEX webhook_delivery_expires_at ON webhook_delivery (expires_at_s);
