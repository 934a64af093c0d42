-- Partners: the tenants. One row each; never deleted, so that an id is never used again.
CREATE TABLE partner (
    partner_id    TEXT    PRIMARY KEY,
    alias         TEXT    NOT NULL UNIQUE,  -- the operator's own name for it
    name          TEXT    NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    is_platform   BOOLEAN NOT NULL,         -- its clients may act for other partners
    dialects      TEXT    NOT NULL,         -- JSON list of the vendor shapes switched on
    created_at_s  BIGINT  NOT NULL          -- Unix seconds
);
