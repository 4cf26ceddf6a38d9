-- Who did what: rows that are only ever added. Each carries the digest of the one before it in its chain, and its own
-- over all of it (src/store/audit/record.rs). An outcome is a row of its own that names its intent.
CREATE TABLE audit_log (
    chain       TEXT   NOT NULL,
    sequence    BIGINT NOT NULL,
    time_ms     BIGINT NOT NULL,
    phase       TEXT   NOT NULL CHECK (phase IN ('intent', 'outcome', 'refusal', 'checkpoint')),
    actor       TEXT,
    actor_id    TEXT,
    key_id      TEXT,
    tenant      TEXT,
    tenant_id   TEXT,
    verb        TEXT,
    object_kind TEXT,
    object      TEXT,
    object_id   TEXT,
    source      TEXT,
    request_id  TEXT,
    argv        TEXT,
    detail      TEXT,
    reason      TEXT,
    intent      BIGINT,
    outcome     TEXT,
    status      BIGINT,
    duration_ms BIGINT,
    previous    TEXT   NOT NULL,
    hash        TEXT   NOT NULL,
    PRIMARY KEY (chain, sequence)
);
CREATE INDEX audit_log_by_intent ON audit_log (chain, intent);
CREATE INDEX audit_log_by_time ON audit_log (time_ms);
CREATE INDEX audit_log_by_tenant ON audit_log (tenant_id, time_ms);

-- One chain a gateway: where it ends, and how far its copy to file or standard output has come.
CREATE TABLE audit_chains (
    chain    TEXT   PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash     TEXT   NOT NULL,
    copied   BIGINT NOT NULL DEFAULT 0
);
