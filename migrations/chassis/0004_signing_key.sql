-- Signing keys, private halves sealed under the master key. One ring per algorithm; the ring's row is what
-- concurrent planners take first, so that two first starts make one key.
CREATE TABLE key_ring (
    ring             TEXT   PRIMARY KEY,   -- the algorithm, for example 'ES256'
    version          BIGINT NOT NULL       -- counts the planners that held this row
);

-- Life: next (published) -> active (signs) -> retired (verifies only) -> gone (row deleted).
CREATE TABLE signing_key (
    kid              TEXT   PRIMARY KEY,   -- RFC 7638 thumbprint
    ring             TEXT   NOT NULL,
    state            TEXT   NOT NULL,
    sealed_jwk       TEXT   NOT NULL,      -- the private JWK, sealed; row = kid, field = 'sealed_jwk'
    published_at_s   BIGINT NOT NULL,      -- Unix seconds
    activated_at_s   BIGINT,               -- Unix seconds; NULL while next
    retired_at_s     BIGINT,               -- Unix seconds; NULL until retired
    CHECK (state IN ('next', 'active', 'retired'))
);

CREATE INDEX signing_key_ring ON signing_key (ring);
