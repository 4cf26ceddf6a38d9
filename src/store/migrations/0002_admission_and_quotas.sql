-- Profiles that a tenant was given beside `default`, which every tenant has.
CREATE TABLE tenant_profiles (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    profile   TEXT NOT NULL,
    PRIMARY KEY (tenant_id, profile)
);

-- Which block of 65,536 user ids is a tenant's. The row goes with the tenant, which goes last of all it owns: a block
-- is never reused while something of it remains.
CREATE TABLE tenant_user_ids (
    block     BIGINT PRIMARY KEY,
    tenant_id TEXT   NOT NULL UNIQUE REFERENCES tenants (id) ON DELETE CASCADE
);

-- Counters, changed by one conditional UPDATE. No maximum: the configuration's.
CREATE TABLE quotas (
    tenant_id TEXT   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    resource  TEXT   NOT NULL,
    maximum   BIGINT,
    used      BIGINT NOT NULL DEFAULT 0 CHECK (used >= 0),
    PRIMARY KEY (tenant_id, resource)
);

-- What a container holds of its tenant's quotas. Those made before this hold a place and no amounts.
ALTER TABLE containers ADD COLUMN profile      TEXT   NOT NULL DEFAULT 'default';
ALTER TABLE containers ADD COLUMN memory_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN cpu_millis   BIGINT NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN pids         BIGINT NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN running      BIGINT NOT NULL DEFAULT 0;

INSERT INTO quotas (tenant_id, resource, used)
SELECT tenant_id, 'containers', COUNT(*) FROM containers GROUP BY tenant_id;
