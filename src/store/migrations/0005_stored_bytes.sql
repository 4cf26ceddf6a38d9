-- What is on the disk, as last measured: a container's writable layer, a volume's content.
ALTER TABLE containers ADD COLUMN stored_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE volumes    ADD COLUMN stored_bytes BIGINT NOT NULL DEFAULT 0;
