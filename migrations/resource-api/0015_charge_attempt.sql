-- What was heard of a charge, one row each time: the evidence of how its outcome was found out. Only ever inserted.
CREATE TABLE charge_attempt (
    attempt_id TEXT   PRIMARY KEY,   -- att_…, sorts by time
    charge_id  TEXT   NOT NULL,
    partner_id TEXT   NOT NULL,
    channel    TEXT   NOT NULL CHECK (channel IN ('charge', 'capture', 'void', 'probe', 'event', 'person')),
    heard      TEXT   NOT NULL,      -- a state of a charge
    reason     TEXT,                 -- public text: a decline's code, or why nothing is known
    heard_at_s BIGINT NOT NULL
);

CREATE INDEX charge_attempt_of_charge ON charge_attempt (charge_id, attempt_id);
