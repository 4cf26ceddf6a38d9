-- A ticket opens one WebSocket: a browser can send no token there. It is good once, on one route, for who got it.
CREATE TABLE tickets (
    digest     TEXT   PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    session_id TEXT,
    key_id     TEXT,
    epoch      BIGINT NOT NULL,
    -- When an identity provider issued the token it was got with, if one did.
    issued_at  BIGINT,
    route      TEXT   NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX tickets_by_account ON tickets (account_id);
CREATE INDEX tickets_by_expiry ON tickets (expires_ms);

-- What happened to a tenant's containers, in the order in which it was noted. Numbers are each tenant's own: they tell
-- nothing of the others. They never go back, whatever is forgotten.
CREATE TABLE events (
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    number       BIGINT NOT NULL,
    at_ms        BIGINT NOT NULL,
    kind         TEXT   NOT NULL,
    container    TEXT   NOT NULL,
    container_id TEXT   NOT NULL,
    exit_code    BIGINT,
    PRIMARY KEY (tenant_id, number)
);
CREATE INDEX events_by_time ON events (at_ms);

ALTER TABLE tenants ADD COLUMN last_event BIGINT NOT NULL DEFAULT 0;
