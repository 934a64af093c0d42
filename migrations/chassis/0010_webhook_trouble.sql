-- An endpoint in trouble is told of once; and what one endpoint missed is found without reading the others' deliveries.
ALTER TABLE webhook_endpoint ADD COLUMN failing_since_s BIGINT;  -- since its first parked delivery, until one is taken

CREATE INDEX webhook_delivery_of_endpoint ON webhook_delivery (partner_id, endpoint_id, seq);
