-- Identifiers are TEXT, times BIGINT milliseconds since 1970: the same text runs on SQLite and PostgreSQL.

-- One row: which installation this store belongs to. Its id labels every object made in Podman.
CREATE TABLE installation (
    only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
    id         TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE tenants (
    id         TEXT   PRIMARY KEY,
    slug       TEXT   NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL
);

-- Fully qualified references this tenant may use. No row, no image.
CREATE TABLE tenant_images (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    reference TEXT NOT NULL,
    PRIMARY KEY (tenant_id, reference)
);

-- What this tenant's short names mean.
CREATE TABLE tenant_aliases (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    alias     TEXT NOT NULL,
    reference TEXT NOT NULL,
    PRIMARY KEY (tenant_id, alias)
);

-- A platform administrator belongs to no tenant; login is 'tenant/name' or 'name'.
CREATE TABLE accounts (
    id            TEXT   PRIMARY KEY,
    tenant_id     TEXT   REFERENCES tenants (id) ON DELETE CASCADE,
    login         TEXT   NOT NULL UNIQUE,
    role          TEXT   NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'platform')),
    password_hash TEXT   NOT NULL,
    disabled      BIGINT NOT NULL DEFAULT 0,
    created_ms    BIGINT NOT NULL,
    CHECK ((role = 'platform') = (tenant_id IS NULL))
);

-- The ledger: who owns which container. Nothing else says so.
CREATE TABLE containers (
    id         TEXT   PRIMARY KEY,
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    name       TEXT   NOT NULL,
    engine_id  TEXT   UNIQUE,
    state      TEXT   NOT NULL CHECK (state IN ('creating', 'ready', 'removing')),
    image      TEXT   NOT NULL,
    image_id   TEXT   NOT NULL,
    created_by TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, name),
    CHECK (state <> 'ready' OR engine_id IS NOT NULL)
);

-- Host ports that containers publish; the primary key is what makes a second claim fail.
CREATE TABLE container_ports (
    host_port      BIGINT PRIMARY KEY,
    container_id   TEXT   NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    container_port BIGINT NOT NULL
);
CREATE INDEX container_ports_by_container ON container_ports (container_id);
