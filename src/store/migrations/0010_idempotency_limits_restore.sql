-- Requests that carry an idempotency key. The row stands before the work begins; what the work makes bears its id, so
-- that the request, sent again after a crash, finds it. Neither the key nor the body is here, only digests.
CREATE TABLE idempotency_keys (
    id          TEXT   PRIMARY KEY,
    lookup      TEXT   NOT NULL UNIQUE,
    fingerprint TEXT   NOT NULL,
    tenant_id   TEXT   REFERENCES tenants (id) ON DELETE CASCADE,
    principal   TEXT   NOT NULL,
    gateway     TEXT   NOT NULL,
    created_ms  BIGINT NOT NULL,
    status      BIGINT,
    answer      TEXT
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_ms);
CREATE INDEX idempotency_keys_by_tenant ON idempotency_keys (tenant_id);

-- What bounds a tenant beside its quotas: its rate, its containers' life and size. No row: the configuration's.
CREATE TABLE tenant_limits (
    tenant_id TEXT   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name      TEXT   NOT NULL,
    value     BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- Since a restore: what Podman has of ours and these records do not know stays, until the operator says otherwise.
ALTER TABLE installation ADD COLUMN keeps_strays BIGINT NOT NULL DEFAULT 0;
