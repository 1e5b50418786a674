-- Who is told what happens, and what was told.
CREATE TABLE webhooks (
  id         TEXT NOT NULL PRIMARY KEY,
  url        TEXT NOT NULL,
  events     TEXT NOT NULL,
  secret     BLOB NOT NULL,
  enabled    INTEGER NOT NULL,
  since      INTEGER NOT NULL,   -- events up to here were before it
  created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
  id         TEXT NOT NULL PRIMARY KEY,
  webhook    TEXT NOT NULL REFERENCES webhooks(id) ON DELETE CASCADE,
  seq        INTEGER,            -- none for one that somebody asked for
  event      TEXT NOT NULL,
  job        TEXT,
  body       TEXT NOT NULL,
  state      TEXT NOT NULL,
  tries      INTEGER NOT NULL,
  next_ms    INTEGER NOT NULL,
  status     INTEGER,
  error      TEXT,
  created_ms INTEGER NOT NULL,
  tried_ms   INTEGER,
  UNIQUE (webhook, seq)
) STRICT;
CREATE INDEX deliveries_due ON deliveries(next_ms) WHERE state = 'pending';
CREATE INDEX deliveries_old ON deliveries(created_ms);
