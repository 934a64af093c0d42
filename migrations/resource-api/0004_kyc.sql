-- What is known about a customer's identity (profile), and every decision that ever changed a level.
-- Decisions are append-only; a level never changes without one.
CREATE TABLE kyc_profile (
    partner_id      TEXT   NOT NULL,
    customer_id     TEXT   NOT NULL,
    missing_fields  TEXT   NOT NULL,   -- JSON list of field names still needed for the next level
    reason_codes    TEXT   NOT NULL,   -- JSON list of codes, never values
    pii_version     BIGINT NOT NULL,   -- the personal data this was computed from
    updated_at_s    BIGINT NOT NULL,
    PRIMARY KEY (partner_id, customer_id)
);

CREATE TABLE kyc_decision (
    partner_id    TEXT   NOT NULL,
    decision_id   TEXT   NOT NULL,     -- kyd_...
    customer_id   TEXT   NOT NULL,
    from_level    BIGINT NOT NULL,
    to_level      BIGINT NOT NULL,
    outcome       TEXT   NOT NULL,     -- the profile's status after it
    reason_codes  TEXT   NOT NULL,     -- JSON list of codes
    decided_by    TEXT   NOT NULL,     -- 'rules', or who decided
    pii_version   BIGINT NOT NULL,     -- what the decision was based on
    decided_at_s  BIGINT NOT NULL,
    PRIMARY KEY (partner_id, decision_id)
);

CREATE INDEX kyc_decision_customer ON kyc_decision (partner_id, customer_id, decided_at_s);
