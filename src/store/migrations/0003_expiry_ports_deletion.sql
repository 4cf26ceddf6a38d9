-- When a container goes by itself: at a time, or after so many seconds in which nobody used it.
ALTER TABLE containers ADD COLUMN expires_ms   BIGINT;
ALTER TABLE containers ADD COLUMN idle_seconds BIGINT;
ALTER TABLE containers ADD COLUMN touched_ms   BIGINT NOT NULL DEFAULT 0;

-- Host ports that a failed start may have left bound, until when.
CREATE TABLE port_quarantine (
    host_port BIGINT PRIMARY KEY,
    until_ms  BIGINT NOT NULL
);

-- A tenant that is being deleted: its accounts are nobody, its objects go, then it goes.
ALTER TABLE tenants ADD COLUMN deleting BIGINT NOT NULL DEFAULT 0;
