-- Volumes of tenants. Podman's name is made of our id: nothing a tenant wrote.
CREATE TABLE volumes (
    id         TEXT   PRIMARY KEY,
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    name       TEXT   NOT NULL,
    state      TEXT   NOT NULL CHECK (state IN ('creating', 'ready', 'removing')),
    created_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, name)
);

-- Which container has which volume: one in use is not removed.
CREATE TABLE container_volumes (
    container_id TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    volume_id    TEXT NOT NULL REFERENCES volumes (id),
    PRIMARY KEY (container_id, volume_id)
);
CREATE INDEX container_volumes_by_volume ON container_volumes (volume_id);
