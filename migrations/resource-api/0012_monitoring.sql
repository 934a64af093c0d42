-- What monitoring decided, and on what. Rows are only added: an accepted review adds its second look.
CREATE TABLE monitoring_decision (
    decision_id       TEXT   PRIMARY KEY,
    partner_id        TEXT   NOT NULL,
    fiat_in_id        TEXT   NOT NULL,
    outcome           TEXT   NOT NULL CHECK (outcome IN ('accept', 'review', 'refuse')),
    hits              TEXT   NOT NULL,   -- JSON: rule, version, reason code, observed, threshold
    inputs_hash       TEXT   NOT NULL,
    rule_set_version  BIGINT NOT NULL,
    evaluated_at_s    BIGINT NOT NULL
);

CREATE INDEX monitoring_decision_of_fiat_in ON monitoring_decision (fiat_in_id);
