-- Gateways that work on this store, and when each was last heard, milliseconds since 1970. What a container or volume
-- that is half made or half removed belongs to: nobody else takes it back while that gateway lives.
CREATE TABLE gateways (
    id      TEXT   PRIMARY KEY,
    seen_ms BIGINT NOT NULL
);

ALTER TABLE containers ADD COLUMN gateway TEXT NOT NULL DEFAULT '';
ALTER TABLE volumes    ADD COLUMN gateway TEXT NOT NULL DEFAULT '';

-- Keys that sign our tokens, one for all gateways: the newest signs, those not yet retired verify.
CREATE TABLE signing_keys (
    id          TEXT   PRIMARY KEY,
    private_pem TEXT   NOT NULL,
    created_ms  BIGINT NOT NULL,
    retires_ms  BIGINT
);
