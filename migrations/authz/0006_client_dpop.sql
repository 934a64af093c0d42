-- A client whose tokens must be bound to a key (RFC 9449 §5.2).
ALTER TABLE client ADD COLUMN dpop_required BOOLEAN NOT NULL DEFAULT FALSE;
