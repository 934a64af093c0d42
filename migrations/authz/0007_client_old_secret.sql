-- A client's secret from before its last rotation, while both are good. Life: until expires_at_s, or until it is ended
-- earlier; swept.
CREATE TABLE client_old_secret (
    client_id      TEXT   PRIMARY KEY,
    secret_mac     TEXT   NOT NULL,      -- as client.secret_mac
    expires_at_s   BIGINT NOT NULL       -- Unix seconds; from then on it is refused
);

CREATE INDEX client_old_secret_expires_at ON client_old_secret (expires_at_s);
