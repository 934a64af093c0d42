-- Transfers between two entities of one partner. A fast transfer is written once, completed, in the transaction
-- that books it; a refusal leaves no row. Life: for ever.
CREATE TABLE transfer (
    partner_id             TEXT   NOT NULL,
    transfer_id            TEXT   NOT NULL,   -- trf_...
    mode                   TEXT   NOT NULL CHECK (mode IN ('fast', 'standard')),
    source_entity_id       TEXT   NOT NULL,
    destination_entity_id  TEXT   NOT NULL,
    source_owner_id        TEXT   NOT NULL,   -- frozen at creation, so that a customer's own list needs no join
    destination_owner_id   TEXT   NOT NULL,
    amount                 BIGINT NOT NULL CHECK (amount > 0),   -- minor units
    currency               TEXT   NOT NULL,
    category               TEXT,              -- two digits
    client_reference       TEXT,              -- the partner's own reference, unique
    initiator_client_id    TEXT   NOT NULL,
    initiator_sub          TEXT   NOT NULL,
    state                  TEXT   NOT NULL,
    ledger_txn_id          TEXT   NOT NULL,
    created_at_s           BIGINT NOT NULL,
    completed_at_s         BIGINT,
    PRIMARY KEY (partner_id, transfer_id),
    UNIQUE (partner_id, client_reference)
);

CREATE INDEX transfer_source ON transfer (partner_id, source_owner_id, transfer_id);
CREATE INDEX transfer_destination ON transfer (partner_id, destination_owner_id, transfer_id);
