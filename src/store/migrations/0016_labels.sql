-- A tenant's labels of a container, a JSON object of texts: they are nowhere else. Older containers' stay in Podman, unread.
ALTER TABLE containers ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
