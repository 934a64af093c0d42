-- Ledger accounts: an entity's, or a system account of a partner and currency. The row is the account's running
-- total; ledger_entry is the truth it must equal. Life: for ever.
CREATE TABLE ledger_account (
    partner_id    TEXT   NOT NULL,
    account_id    TEXT   NOT NULL,     -- 'entity:ent_...' or 'gateway:NAME:clearing:EUR', 'fee_income:EUR', ...
    currency      TEXT   NOT NULL,
    normal_side   TEXT   NOT NULL CHECK (normal_side IN ('debit', 'credit')),
    min_balance   BIGINT,              -- minor units; NULL: no floor
    posted        BIGINT NOT NULL,     -- minor units, positive on the normal side
    pending_in    BIGINT NOT NULL CHECK (pending_in >= 0),
    pending_out   BIGINT NOT NULL CHECK (pending_out >= 0),
    last_seq      BIGINT NOT NULL,     -- seq of the newest entry, 0 before the first
    created_at_s  BIGINT NOT NULL,
    PRIMARY KEY (partner_id, account_id),
    CHECK (min_balance IS NULL OR posted - pending_out >= min_balance)
);
