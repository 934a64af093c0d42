-- How often this database was restored from a backup. What counts once and was issued up to void_until_s is void: the
-- database may have forgotten that it was spent. No row: never restored. Life: one row, as long as the database.
CREATE TABLE restore_epoch (
    name           TEXT   PRIMARY KEY CHECK (name = 'epoch'),
    number         BIGINT NOT NULL,      -- 1, 2, 3 ..
    restored_at_s  BIGINT NOT NULL,      -- Unix seconds
    void_until_s   BIGINT NOT NULL       -- Unix seconds: restored_at_s and how far clocks may differ
);
