-- What several nodes need: a second attempt beside the first, fair shares of waiting, and what is known of nodes.

-- Attempts that were ever handed out. The fence of a backup must never be given to anyone else.
ALTER TABLE tasks ADD COLUMN issued INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET issued = attempt;

-- When a task of the job was last handed out: who waits long goes first.
ALTER TABLE jobs ADD COLUMN served_ms INTEGER NOT NULL DEFAULT 0;

-- A second attempt of a leased task on another node; whoever is done first wins.
CREATE TABLE backups (
  task_id         INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
  attempt         INTEGER NOT NULL,
  node_id         TEXT NOT NULL,
  lease_until_ms  INTEGER NOT NULL,
  progress_frames INTEGER NOT NULL DEFAULT 0,
  progress_fps    REAL NOT NULL DEFAULT 0
) STRICT;

-- Media that was given to the hub to keep.
CREATE TABLE library (
  digest     TEXT NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  size       INTEGER NOT NULL,
  path       TEXT NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT;

-- What people call a node.
ALTER TABLE nodes ADD COLUMN name TEXT NOT NULL DEFAULT '';

-- Each class of work that was ever asked for, once.
CREATE TABLE classes (
  class TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
INSERT INTO classes SELECT DISTINCT class FROM tasks;
