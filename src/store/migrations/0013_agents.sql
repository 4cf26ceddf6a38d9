-- The version of the agent that a container was made with, which runs its commands; 0 for those made without.
ALTER TABLE containers ADD COLUMN agent BIGINT NOT NULL DEFAULT 0;
