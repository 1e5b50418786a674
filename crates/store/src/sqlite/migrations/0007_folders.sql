-- Folders that are watched.
CREATE TABLE folders (
  id         TEXT NOT NULL PRIMARY KEY,
  folder     TEXT NOT NULL,
  enabled    INTEGER NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT;

-- What files in them are, as long as they are not written to. Those that are gone stay: a share may be away for a while.
CREATE TABLE folder_marks (
  folder      TEXT NOT NULL REFERENCES folders(id) ON DELETE CASCADE,
  name        TEXT NOT NULL,
  size        INTEGER NOT NULL,
  modified_ns INTEGER NOT NULL,
  PRIMARY KEY (folder, name)
) STRICT, WITHOUT ROWID;

-- Contents that were taken up: each once.
CREATE TABLE folder_files (
  folder        TEXT NOT NULL REFERENCES folders(id) ON DELETE CASCADE,
  digest        TEXT NOT NULL,
  name          TEXT NOT NULL,
  size          INTEGER NOT NULL,
  modified_ns   INTEGER NOT NULL,
  state         TEXT NOT NULL,
  job           TEXT,
  result        TEXT,
  error         TEXT,
  updated_ms    INTEGER NOT NULL,
  PRIMARY KEY (folder, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX folder_files_open ON folder_files(folder, state);

-- What was made of files: it is no source, in whichever folder it is found, also when that is watched anew.
CREATE TABLE folder_results (
  digest TEXT NOT NULL PRIMARY KEY,
  place  TEXT,
  source TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX folder_results_at ON folder_results(place, source);
