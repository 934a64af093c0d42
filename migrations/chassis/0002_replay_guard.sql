-- Values that count once: assertion and proof identifiers, signature nonces. The kind and the owner are part
-- of the key, so one owner's value never blocks another's and no kind passes for another.
CREATE TABLE replay_guard (
    kind           TEXT   NOT NULL,      -- for example 'assertion_jti'
    owner          TEXT   NOT NULL,      -- the client or issuer the value belongs to
    value_hash     TEXT   NOT NULL,      -- base64url(SHA-256(value)), 43 characters
    expires_at_s   BIGINT NOT NULL,      -- Unix seconds; from then on the value is refused for its own expiry
    PRIMARY KEY (kind, owner, value_hash)
);

CREATE INDEX replay_guard_expires_at ON replay_guard (expires_at_s);
