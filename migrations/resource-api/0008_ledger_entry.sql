-- The journal. Transactions and entries are only ever inserted; a mistake is corrected by a reversing transaction.
CREATE TABLE ledger_txn (
    partner_id     TEXT   NOT NULL,
    txn_id         TEXT   NOT NULL,    -- txn_...
    reference      TEXT   NOT NULL,    -- what it books, once: 'transfer:trf_...', 'charge:chg_...:capture'
    kind           TEXT   NOT NULL,
    reverses       TEXT,               -- the transaction this one undoes; each at most once
    created_at_s   BIGINT NOT NULL,
    PRIMARY KEY (partner_id, txn_id),
    UNIQUE (partner_id, reference),
    UNIQUE (partner_id, reverses)
);

CREATE TABLE ledger_entry (
    partner_id     TEXT   NOT NULL,
    account_id     TEXT   NOT NULL,
    seq            BIGINT NOT NULL,    -- 1, 2, 3, ... within the account, no gaps
    txn_id         TEXT   NOT NULL,
    side           TEXT   NOT NULL CHECK (side IN ('debit', 'credit')),
    amount         BIGINT NOT NULL CHECK (amount > 0),
    balance_after  BIGINT NOT NULL,    -- the account's posted balance with this entry
    created_at_s   BIGINT NOT NULL,
    PRIMARY KEY (partner_id, account_id, seq)
);

CREATE INDEX ledger_entry_txn ON ledger_entry (partner_id, txn_id);

-- Money set aside: counted in pending_out of its account (and pending_in of the counter account) while 'held'.
-- Life: held -> posted (a transaction took it) or voided (given back).
CREATE TABLE ledger_hold (
    partner_id          TEXT   NOT NULL,
    hold_id             TEXT   NOT NULL,   -- hld_...
    reference           TEXT   NOT NULL,
    account_id          TEXT   NOT NULL,
    counter_account_id  TEXT,
    amount              BIGINT NOT NULL CHECK (amount > 0),
    state               TEXT   NOT NULL CHECK (state IN ('held', 'posted', 'voided')),
    created_at_s        BIGINT NOT NULL,
    ended_at_s          BIGINT,
    PRIMARY KEY (partner_id, hold_id),
    UNIQUE (partner_id, reference)
);

CREATE INDEX ledger_hold_account ON ledger_hold (partner_id, account_id, state);
