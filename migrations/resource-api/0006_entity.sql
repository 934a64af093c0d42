-- Digital entities: wallets of customers, and a partner's own accounts. Each has one ledger account,
-- named 'entity:' + entity_id. Life: registered -> activated -> blocked and back -> closed.
CREATE TABLE entity (
    partner_id    TEXT   NOT NULL,
    entity_id     TEXT   NOT NULL,     -- ent_...
    kind          TEXT   NOT NULL CHECK (kind IN ('identification', 'processing', 'customer')),
    owner_id      TEXT   NOT NULL,     -- customer_id where kind is 'customer', else the partner's id
    label         TEXT,                -- the owner's name for it, unique among the owner's entities
    currency      TEXT   NOT NULL,     -- ISO 4217
    status        TEXT   NOT NULL CHECK (status IN ('registered', 'activated', 'blocked_debit', 'blocked', 'closed')),
    version       BIGINT NOT NULL,
    created_at_s  BIGINT NOT NULL,
    updated_at_s  BIGINT NOT NULL,
    PRIMARY KEY (partner_id, entity_id),
    UNIQUE (partner_id, owner_id, label)
);

CREATE INDEX entity_owner ON entity (partner_id, owner_id, entity_id);
