-- Accounts of people whom an identity provider vouches for: its `iss`, and its `sub` for the person. One person has at most
-- one account in each tenant.
ALTER TABLE accounts ADD COLUMN issuer  TEXT;
ALTER TABLE accounts ADD COLUMN subject TEXT;
-- Whether the role follows the provider's claims; else it is what an administrator made it.
ALTER TABLE accounts ADD COLUMN mapped BIGINT NOT NULL DEFAULT 0;
-- Tokens that the provider issued before, in seconds since 1970, are nothing any more.
ALTER TABLE accounts ADD COLUMN good_from BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX accounts_by_identity ON accounts (issuer, subject, (COALESCE(tenant_id, '')));
