-- Uploads that stop and go on.
CREATE TABLE uploads (
  id         TEXT NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  metadata   TEXT NOT NULL,
  length     INTEGER,            -- unknown until the client says
  offset     INTEGER NOT NULL,   -- bytes that are synced
  part       TEXT NOT NULL,
  media      TEXT,               -- what it became
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_expiring ON uploads(expires_ms);
