-- Orders that wait for a person. Life: open -> accepted or refused, once.
CREATE TABLE review (
    review_id      TEXT   PRIMARY KEY,
    partner_id     TEXT   NOT NULL,
    fiat_in_id     TEXT   NOT NULL,
    ordered_by     TEXT   NOT NULL,      -- client that made the order
    state          TEXT   NOT NULL CHECK (state IN ('open', 'accepted', 'refused')),
    reason_codes   TEXT   NOT NULL,      -- JSON list of what monitoring saw
    source_token   TEXT,                 -- the gateway's token to be charged; NULL once decided
    decided_by     TEXT,                 -- client
    decision_note  TEXT,                 -- the reviewer's reason
    created_at_s   BIGINT NOT NULL,
    decided_at_s   BIGINT
);

CREATE UNIQUE INDEX review_of_fiat_in ON review (fiat_in_id);
CREATE INDEX review_newest ON review (partner_id, review_id);
