-- When a container last took its place among the running: what was seen of it before is no end of what runs now.
ALTER TABLE containers ADD COLUMN placed_ms BIGINT NOT NULL DEFAULT 0;
