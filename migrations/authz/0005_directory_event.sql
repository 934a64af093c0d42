-- The directory feed: one row says that an object changed. Rows commit without a number; one numberer gives it
-- afterwards, so no reader sees n+1 before n. Life: 7 days, then the sweeper; who lags further gets a snapshot.
CREATE TABLE directory_event (
    event_id      TEXT   PRIMARY KEY,
    kind          TEXT   NOT NULL,  -- partner, client, subject, revocation
    object_id     TEXT   NOT NULL,
    body          TEXT,             -- JSON for what has no row of its own; NULL: the object's state is read
    seq           BIGINT,           -- NULL until numbered; 1, 2, 3 … without gaps
    expires_at_s  BIGINT NOT NULL   -- Unix seconds
);

CREATE UNIQUE INDEX directory_event_seq ON directory_event (seq);
CREATE INDEX directory_event_unnumbered ON directory_event (event_id) WHERE seq IS NULL;
CREATE INDEX directory_event_expires_at ON directory_event (expires_at_s);

-- The last number given. Its row lock orders numberers.
CREATE TABLE directory_counter (
    name      TEXT   PRIMARY KEY,
    last_seq  BIGINT NOT NULL
);

INSERT INTO directory_counter (name, last_seq) VALUES ('directory', 0);
