-- Keys for programs. Each is an account's and holds that account's scopes or fewer ('' is all of them). For a while after
-- a rotation the secret before is good as well.
CREATE TABLE api_keys (
    id                TEXT   PRIMARY KEY,
    account_id        TEXT   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name              TEXT   NOT NULL,
    scopes            TEXT   NOT NULL,
    digest            TEXT   NOT NULL,
    previous_digest   TEXT,
    previous_until_ms BIGINT,
    created_ms        BIGINT NOT NULL,
    expires_ms        BIGINT,
    last_used_ms      BIGINT,
    UNIQUE (account_id, name)
);
