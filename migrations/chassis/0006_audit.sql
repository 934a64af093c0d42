-- Who did what, when, and with what end. Rows are written once and sealed into chains.
-- Columns are TEXT or BIGINT only, so that this file runs unchanged on SQLite and PostgreSQL.

-- One row per state change (trail `changes`), written in the transaction of the change or carried by its event; one per
-- issued group of tokens, refusal or minute of refusals (trail `requests`), written each second.
-- Life: unsealed -> sealed (`seq` and `chain_hash` set); `requests` are removed after `expires_at_s`, oldest first.
CREATE TABLE audit_event (
    audit_id       TEXT   PRIMARY KEY,   -- aud_ and a UUIDv7; of a change with an event, the event's own digits
    chain          TEXT   NOT NULL,      -- `node` or `node#requests`
    seq            BIGINT,               -- 1, 2, 3 .. per chain, without gaps; NULL until sealed
    chain_hash     TEXT,                 -- base64url(SHA-256(hash of seq - 1, this row)); NULL until sealed
    partner_id     TEXT   NOT NULL,      -- whose row it is; empty: nobody's
    client_id      TEXT   NOT NULL,      -- who acted; empty: the node itself, or nobody known
    sub            TEXT   NOT NULL,      -- on whose behalf; empty: the client's own
    action         TEXT   NOT NULL,      -- `client.created`, `token.issued`, `request.refused`
    object_id      TEXT   NOT NULL,      -- what it was done to
    outcome        TEXT   NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
    error_id       TEXT   NOT NULL,      -- the request's, as callers are told it; empty outside of requests
    occurred_at_s  BIGINT NOT NULL,      -- Unix seconds
    details        TEXT   NOT NULL,      -- JSON object: codes, ids, states, amounts; never personal data or a secret
    open_until_s   BIGINT,               -- a count that grows until then is not sealed before; NULL: as written
    expires_at_s   BIGINT,               -- NULL: kept
    CHECK ((seq IS NULL) = (chain_hash IS NULL))
);

CREATE UNIQUE INDEX audit_event_chain_seq ON audit_event (chain, seq);
-- The sealer's work list.
CREATE INDEX audit_event_unsealed ON audit_event (audit_id) WHERE seq IS NULL;
CREATE INDEX audit_event_partner ON audit_event (partner_id, audit_id);
CREATE INDEX audit_event_error_id ON audit_event (error_id) WHERE error_id <> '';

-- Where each chain ends, and up to where it was removed.
CREATE TABLE audit_chain (
    chain        TEXT   PRIMARY KEY,
    last_seq     BIGINT NOT NULL,   -- 0: nothing sealed yet
    last_hash    TEXT   NOT NULL,
    pruned_seq   BIGINT NOT NULL,   -- rows up to this one have expired and are gone
    pruned_hash  TEXT   NOT NULL    -- the hash of that row, on which the next one rests
);

-- What an event carries for its audit row, so that a change with an event needs no statement of its own for it.
ALTER TABLE event ADD COLUMN audit_node TEXT;      -- NULL: written before there was an audit
ALTER TABLE event ADD COLUMN audit_object TEXT;
ALTER TABLE event ADD COLUMN audit_client TEXT;
ALTER TABLE event ADD COLUMN audit_sub TEXT;
ALTER TABLE event ADD COLUMN audit_error_id TEXT;
