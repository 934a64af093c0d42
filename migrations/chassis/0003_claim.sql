-- One effect per key: an Idempotency-Key, or a one-time token's jti. The row is written by the transaction
-- that makes the effect; a repeat of the same request finds the effect and its answer here.
CREATE TABLE claim (
    kind           TEXT   NOT NULL,      -- 'idempotency' or 'one_time'
    owner          TEXT   NOT NULL,      -- whose key it is: partner, client and subject, or the issuer
    key_hash       TEXT   NOT NULL,      -- base64url(SHA-256(key)), 43 characters
    route          TEXT   NOT NULL,      -- the operation the key was used for
    fingerprint    TEXT   NOT NULL,      -- keyed hash of the request
    resource_id    TEXT   NOT NULL,      -- what the request made
    answer_status  BIGINT,               -- HTTP status; NULL until the answer is known
    answer_body    TEXT,
    created_at_s   BIGINT NOT NULL,      -- Unix seconds
    expires_at_s   BIGINT NOT NULL,      -- Unix seconds; from then on the key may be used afresh
    PRIMARY KEY (kind, owner, key_hash),
    CHECK (kind IN ('idempotency', 'one_time')),
    CHECK ((answer_status IS NULL) = (answer_body IS NULL))
);

CREATE INDEX claim_expires_at ON claim (expires_at_s);
