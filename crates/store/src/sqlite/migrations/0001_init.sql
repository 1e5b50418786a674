-- Jobs, their task graph, the leases, and what is kept between jobs.
--
-- Times are milliseconds since the Unix epoch, as the caller gives them. JSON is text. A task's row is small and changes
-- often (a renewal each few seconds), so its spec and output, which may be large, are in a table of their own.

CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  id          TEXT NOT NULL PRIMARY KEY,
  phase       TEXT NOT NULL,
  paused_from TEXT,             -- where a paused job goes on
  priority    INTEGER NOT NULL,
  idem_key    TEXT UNIQUE,
  request     TEXT NOT NULL,
  failure     TEXT,
  created_ms  INTEGER NOT NULL,
  updated_ms  INTEGER NOT NULL,
  finished_ms INTEGER,
  CHECK ((phase = 'Paused') = (paused_from IS NOT NULL))
) STRICT;
CREATE INDEX jobs_open ON jobs(id) WHERE phase NOT IN ('Completed', 'Failed', 'Cancelled');

CREATE TABLE tasks (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,   -- ids name blobs: one is never used twice
  job_id          TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
  kind            TEXT NOT NULL,
  ordinal         INTEGER NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('waiting', 'ready', 'leased', 'done', 'failed', 'cancelled')),
  held            INTEGER NOT NULL,                    -- 1 while the job's phase lets nothing start
  gate            TEXT NOT NULL CHECK (gate IN ('none', 'closed', 'open')),
  class           TEXT NOT NULL,
  priority        INTEGER NOT NULL,
  rank            REAL NOT NULL,
  not_before_ms   INTEGER NOT NULL DEFAULT 0,
  attempt         INTEGER NOT NULL DEFAULT 0,          -- the fence: only ever rises
  tries           INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),  -- attempts that count against max_attempts
  max_attempts    INTEGER NOT NULL,
  pending_deps    INTEGER NOT NULL CHECK (pending_deps >= 0),
  node_id         TEXT,
  lease_until_ms  INTEGER,
  progress_frames INTEGER NOT NULL DEFAULT 0,
  progress_fps    REAL NOT NULL DEFAULT 0,
  cache_key       TEXT,
  UNIQUE (job_id, kind, ordinal),
  CHECK ((state = 'leased') = (lease_until_ms IS NOT NULL)),
  CHECK (state <> 'leased' OR node_id IS NOT NULL),
  CHECK (state <> 'ready' OR (pending_deps = 0 AND gate <> 'closed'))
) STRICT;
CREATE INDEX tasks_ready ON tasks(class, priority DESC, rank, id) WHERE state = 'ready' AND held = 0;
CREATE INDEX tasks_leased ON tasks(id) WHERE state = 'leased';   -- not on lease_until_ms: a renewal touches no index
CREATE INDEX tasks_unfinished ON tasks(job_id) WHERE state <> 'done';
CREATE INDEX tasks_gated ON tasks(id) WHERE state = 'waiting' AND gate = 'closed';
CREATE INDEX tasks_cached ON tasks(cache_key) WHERE cache_key IS NOT NULL;

CREATE TABLE task_bodies (
  task_id INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
  spec    TEXT NOT NULL,
  output  TEXT
) STRICT;

-- dst waits for src.
CREATE TABLE deps (
  src INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  dst INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  PRIMARY KEY (src, dst)
) STRICT, WITHOUT ROWID;
CREATE INDEX deps_dst ON deps(dst);

CREATE TABLE attempts (
  task_id    INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  attempt    INTEGER NOT NULL,
  node_id    TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  ended_ms   INTEGER,
  outcome    TEXT CHECK (outcome IN ('done', 'failed', 'expired', 'released', 'cancelled')),
  failure    TEXT,
  PRIMARY KEY (task_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id TEXT NOT NULL,
  kind   TEXT NOT NULL,
  body   TEXT NOT NULL
) STRICT;

CREATE TABLE nodes (
  id           TEXT NOT NULL PRIMARY KEY,
  capabilities TEXT NOT NULL,
  slots        TEXT NOT NULL,
  last_seen_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE media (
  fingerprint TEXT NOT NULL PRIMARY KEY,
  digest      TEXT NOT NULL,
  facts       TEXT NOT NULL,
  index_blob  TEXT NOT NULL
) STRICT;

CREATE TABLE chunk_cache (
  key     TEXT NOT NULL PRIMARY KEY,
  result  TEXT NOT NULL,
  bytes   INTEGER NOT NULL,
  used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX chunk_cache_used ON chunk_cache(used_at, key);

CREATE TABLE proofs (
  job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs(id) ON DELETE CASCADE,
  body   TEXT NOT NULL
) STRICT;
