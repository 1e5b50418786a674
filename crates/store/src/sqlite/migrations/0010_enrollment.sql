-- Machines that work: what lets one in, and by what it is known then.
CREATE TABLE enrollments (
  id         TEXT NOT NULL PRIMARY KEY,
  hash       TEXT NOT NULL,
  name       TEXT NOT NULL,
  made_by    TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  used_ms    INTEGER,
  node       TEXT
) STRICT;

CREATE TABLE node_keys (
  node        TEXT NOT NULL PRIMARY KEY,
  public_key  TEXT NOT NULL,
  enrollment  TEXT NOT NULL,
  enrolled_ms INTEGER NOT NULL,
  revoked_ms  INTEGER
) STRICT;
