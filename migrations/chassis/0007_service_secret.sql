-- Secrets that a service draws for itself once and never changes, sealed under the master key. `hash_root` is what its
-- keyed hashes come from, so that they outlive a master key. Life: as long as the database.
CREATE TABLE service_secret (
    name           TEXT   PRIMARY KEY,   -- 'hash_root'
    sealed         TEXT   NOT NULL,      -- row = name, field = 'sealed'
    created_at_s   BIGINT NOT NULL       -- Unix seconds
);
