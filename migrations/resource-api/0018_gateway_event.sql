-- What payment gateways told of charges, refunds and disputes by themselves, one row for each event of theirs whose signature held. Life:
-- received (before it is answered) -> applied, ignored or parked. A parked one waits for a person: received again, or
-- ignored. Only what is understood of an event is kept, never its body.
CREATE TABLE gateway_event (
    provider         TEXT   NOT NULL,
    event_id         TEXT   NOT NULL,   -- the gateway's; a repeat is known by it
    body_hash        TEXT   NOT NULL,   -- base64url(SHA-256(body)): a repeat with another body is noticed
    kind             TEXT   NOT NULL,   -- the gateway's word
    about            TEXT   CHECK (about IN ('charge', 'refund', 'dispute')),   -- NULL: the event was not understood
    reference        TEXT,              -- our own id that it names: of the charge or refund; of a dispute, of the charge
    charge_id        TEXT,              -- the charge it names
    provider_ref     TEXT,              -- the gateway's own id of the charge, refund or dispute
    merchant         TEXT,              -- whose account it is about, when the gateway says
    amount           BIGINT,            -- minor units
    currency         TEXT,
    told             TEXT   CHECK (told IN ('pending', 'requires_action', 'authorized', 'captured', 'declined', 'voided',
                                        'succeeded', 'failed', 'opened', 'won', 'lost')),
    decline_code     TEXT,
    decline_category TEXT,
    state            TEXT   NOT NULL CHECK (state IN ('received', 'applied', 'ignored', 'parked')),
    reason           TEXT,              -- why it was ignored or parked, as a code
    attempts         BIGINT NOT NULL,   -- tries at applying it that failed
    due_at_ms        BIGINT NOT NULL,   -- Unix milliseconds: when it may be tried
    occurred_at_s    BIGINT,            -- when the gateway says it happened
    received_at_s    BIGINT NOT NULL,   -- Unix seconds
    decided_at_s     BIGINT,            -- when it left `received`
    expires_at_s     BIGINT,            -- set once it is applied or ignored; a parked one stays
    PRIMARY KEY (provider, event_id)
);

CREATE INDEX gateway_event_due ON gateway_event (state, due_at_ms);
CREATE INDEX gateway_event_of_charge ON gateway_event (charge_id, received_at_s);
CREATE INDEX gateway_event_expires ON gateway_event (expires_at_s);

-- How a person settled a charge whose outcome could not be found out. One row for a charge, for ever.
CREATE TABLE charge_resolution (
    charge_id     TEXT   PRIMARY KEY,
    partner_id    TEXT   NOT NULL,
    outcome       TEXT   NOT NULL CHECK (outcome IN ('captured', 'declined')),
    evidence      TEXT   NOT NULL,      -- what it rests on, in the resolver's words; no card numbers
    resolved_by   TEXT   NOT NULL,      -- client; never the one that made the order
    resolved_at_s BIGINT NOT NULL
);

-- The same of a refund.
CREATE TABLE refund_resolution (
    refund_id     TEXT   PRIMARY KEY,
    partner_id    TEXT   NOT NULL,
    outcome       TEXT   NOT NULL CHECK (outcome IN ('succeeded', 'failed')),
    evidence      TEXT   NOT NULL,
    resolved_by   TEXT   NOT NULL,      -- client; neither the one that asked for it nor the one that made the order
    resolved_at_s BIGINT NOT NULL
);

CREATE INDEX charge_newest ON charge (partner_id, charge_id);
