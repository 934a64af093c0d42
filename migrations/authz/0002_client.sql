-- OAuth clients (RFC 6749 §2). One row each; never deleted. Secrets are kept as keyed MACs only.
CREATE TABLE client (
    client_id                  TEXT    PRIMARY KEY,
    partner_id                 TEXT    NOT NULL,
    alias                      TEXT    NOT NULL,
    status                     TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    auth_method                TEXT    NOT NULL,  -- token_endpoint_auth_method (RFC 7591 §2), pinned
    secret_mac                 TEXT,              -- base64url(HMAC-SHA-256); NULL for methods without a secret
    scope                      TEXT    NOT NULL,  -- space-separated, sorted: the client's policy
    grant_types                TEXT    NOT NULL,  -- JSON list
    profile                    TEXT    NOT NULL,  -- how every request must be signed: none, http_sig, pti_jws
    allowed_origins            TEXT    NOT NULL,  -- JSON list of browser origins
    access_token_ttl_s         BIGINT,            -- seconds; NULL: the service's default
    legacy_assertion_audience  BOOLEAN NOT NULL,  -- assertions may name the endpoint's URL as aud
    created_at_s               BIGINT  NOT NULL,  -- Unix seconds
    UNIQUE (partner_id, alias)
);

-- Public keys of clients. A kid names one key of a client, whatever its use.
CREATE TABLE client_key (
    client_id  TEXT NOT NULL,
    kid        TEXT NOT NULL,
    key_use    TEXT NOT NULL CHECK (key_use IN ('assertion', 'signature')),
    jwk        TEXT NOT NULL,                     -- public members only
    PRIMARY KEY (client_id, kid)
);
