-- How an endpoint's deliveries are written, and whose key they are encrypted to; and what a signing key is for, so
-- that a service may have a second ring beside the one of its tokens.
-- Columns are TEXT, BIGINT or BOOLEAN only, so that this file runs unchanged on SQLite and PostgreSQL.
ALTER TABLE webhook_endpoint ADD COLUMN format TEXT NOT NULL DEFAULT 'standard';     -- or a dialect's name
ALTER TABLE webhook_endpoint ADD COLUMN recipient TEXT NOT NULL DEFAULT '';          -- client whose key; '' for 'standard'

ALTER TABLE signing_key ADD COLUMN purpose TEXT NOT NULL DEFAULT 'signing';          -- the ring it belongs to
CREATE INDEX signing_key_purpose ON signing_key (purpose);
