-- Subjects: who a token may be about, under the partner's own id for them. Never deleted, never re-used.
CREATE TABLE subject (
    sub           TEXT   PRIMARY KEY,
    partner_id    TEXT   NOT NULL,
    kind          TEXT   NOT NULL CHECK (kind IN ('registered')),
    external_id   TEXT   NOT NULL,  -- the partner's own id; no personal data (the API refuses what looks like it)
    status        TEXT   NOT NULL CHECK (status IN ('active', 'disabled')),
    created_at_s  BIGINT NOT NULL,  -- Unix seconds
    UNIQUE (partner_id, kind, external_id)
);

CREATE INDEX subject_not_active ON subject (partner_id, sub) WHERE status <> 'active';
