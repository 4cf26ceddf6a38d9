-- Whether Podman keeps a container's standard input open for us to end at each start, because nobody asked for it.
ALTER TABLE containers ADD COLUMN ends_stdin BIGINT NOT NULL DEFAULT 0;
