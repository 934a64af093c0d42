-- One row per customer whose identity is to be looked at again. Life: queued by a change of personal data,
-- leased by one worker, deleted when done; a change meanwhile raises pii_version, which keeps the row.
CREATE TABLE kyc_job (
    partner_id        TEXT    NOT NULL,
    customer_id       TEXT    NOT NULL,
    pii_version       BIGINT  NOT NULL,
    identity_changed  BOOLEAN NOT NULL,   -- a name or birth date that was known before became another
    due_at_s          BIGINT  NOT NULL,   -- not before this moment; pushed on by a lease or a failed attempt
    attempt           BIGINT  NOT NULL,
    PRIMARY KEY (partner_id, customer_id)
);

CREATE INDEX kyc_job_due ON kyc_job (due_at_s);
