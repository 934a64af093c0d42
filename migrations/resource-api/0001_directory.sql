-- The authorization server's directory as this service knows it: partners, clients with their public keys,
-- subjects that may not act. Life: a row is replaced when its object changes; a new snapshot makes a new epoch,
-- and the rows of older ones are deleted.
CREATE TABLE directory_entry (
    epoch  TEXT   NOT NULL,   -- the snapshot the row belongs to, dse_…
    kind   TEXT   NOT NULL,   -- partner, client, subject, …
    id     TEXT   NOT NULL,   -- the object's id within its kind
    seq    BIGINT NOT NULL,   -- the feed's number of the change
    body   TEXT   NOT NULL,   -- JSON, as the feed gave it
    PRIMARY KEY (epoch, kind, id)
);

CREATE INDEX directory_entry_seq ON directory_entry (epoch, seq);

-- How far the feed has been read. One row, name 'feed'.
CREATE TABLE directory_state (
    name   TEXT   PRIMARY KEY,
    epoch  TEXT   NOT NULL,   -- whose rows count; empty before the first snapshot
    seq    BIGINT NOT NULL,   -- the last number applied
    polls  BIGINT NOT NULL    -- counts successful polls: a replica that sees it move knows the directory is fresh
);

INSERT INTO directory_state (name, epoch, seq, polls) VALUES ('feed', '', 0, 0);
