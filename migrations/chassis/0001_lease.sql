-- Work that one node at a time does. A row names who does it now and until when; it is taken over once it
-- has expired, and given back when a node ends in good order.
CREATE TABLE lease (
    name           TEXT   PRIMARY KEY,   -- what the work is, for example 'sweeper'
    holder         TEXT   NOT NULL,      -- one running process
    expires_at_ms  BIGINT NOT NULL       -- Unix milliseconds
);
