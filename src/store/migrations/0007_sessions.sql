-- Raised by whatever must end all that was issued to an account before: its tokens and sessions carry the number they
-- were issued under.
ALTER TABLE accounts ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;

-- From a sign-in to its end.
CREATE TABLE sessions (
    id         TEXT   PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    epoch      BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    ended_ms   BIGINT
);
CREATE INDEX sessions_by_account ON sessions (account_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_ms);

-- Each is good once; the digests of used ones stay as long as the session, to know a replay.
CREATE TABLE refresh_tokens (
    digest     TEXT   PRIMARY KEY,
    session_id TEXT   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    used_ms    BIGINT
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
