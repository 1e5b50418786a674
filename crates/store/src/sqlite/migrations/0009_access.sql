-- Who may do what, and who did what. Secrets are kept as hashes.
CREATE TABLE users (
  id            TEXT NOT NULL PRIMARY KEY,
  name          TEXT NOT NULL UNIQUE COLLATE NOCASE,
  role          TEXT NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
  password      TEXT,              -- none for one who signs in elsewhere
  disabled      INTEGER NOT NULL DEFAULT 0,
  created_ms    INTEGER NOT NULL,
  last_login_ms INTEGER,
  identity      TEXT UNIQUE        -- who it is where it signs in, as issuer and subject
) STRICT;

CREATE TABLE teams (
  id   TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE
) STRICT;

CREATE TABLE team_members (
  team TEXT NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
  user TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  PRIMARY KEY (team, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX team_members_user ON team_members(user);

CREATE TABLE sessions (
  id         TEXT NOT NULL PRIMARY KEY,
  user       TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  cookie     INTEGER NOT NULL,
  hash       TEXT NOT NULL,        -- of the cookie, or of the one refresh token that is good
  address    TEXT NOT NULL,
  agent      TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  used_ms    INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions(user);

-- Refresh tokens that were used: one that comes again was stolen, now or then.
CREATE TABLE spent_tokens (
  session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
  hash    TEXT NOT NULL,
  PRIMARY KEY (session, hash)
) STRICT, WITHOUT ROWID;

-- The media that a job was begun for, when it is for whoever may see that.
ALTER TABLE jobs ADD COLUMN of_media TEXT;

CREATE TABLE api_keys (
  id         TEXT NOT NULL PRIMARY KEY,
  user       TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  hash       TEXT NOT NULL,
  scopes     TEXT,
  login      INTEGER NOT NULL DEFAULT 0,   -- stands for a login, and ends with these
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER,
  used_ms    INTEGER
) STRICT;
CREATE INDEX api_keys_user ON api_keys(user);

-- What has no owner here was there before the first user, or came from the hub's own machine: it is for admins.
CREATE TABLE grants (
  kind    TEXT NOT NULL,
  thing   TEXT NOT NULL,
  subject TEXT NOT NULL,           -- user:ID, team:ID, all
  "right" TEXT NOT NULL CHECK ("right" IN ('view', 'edit', 'own')),
  PRIMARY KEY (kind, thing, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_subject ON grants(subject);

CREATE TRIGGER grants_of_jobs AFTER DELETE ON jobs
  BEGIN DELETE FROM grants WHERE kind = 'job' AND thing = OLD.id; END;
CREATE TRIGGER grants_of_media AFTER DELETE ON library
  BEGIN DELETE FROM grants WHERE kind = 'media' AND thing = OLD.digest; END;
CREATE TRIGGER grants_of_uploads AFTER DELETE ON uploads
  BEGIN DELETE FROM grants WHERE kind = 'upload' AND thing = OLD.id; END;
CREATE TRIGGER grants_of_webhooks AFTER DELETE ON webhooks
  BEGIN DELETE FROM grants WHERE kind = 'webhook' AND thing = OLD.id; END;
CREATE TRIGGER grants_of_folders AFTER DELETE ON folders
  BEGIN DELETE FROM grants WHERE kind = 'folder' AND thing = OLD.id; END;
CREATE TRIGGER grants_to_users AFTER DELETE ON users
  BEGIN DELETE FROM grants WHERE subject = 'user:' || OLD.id; END;
CREATE TRIGGER grants_to_teams AFTER DELETE ON teams
  BEGIN DELETE FROM grants WHERE subject = 'team:' || OLD.id; END;

-- Each entry has the hash of itself and of the one before it: none can be changed, left out or put in between unseen.
CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY,
  at_ms   INTEGER NOT NULL,
  actor   TEXT NOT NULL,
  address TEXT NOT NULL,
  action  TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail  TEXT NOT NULL,
  hash    TEXT NOT NULL
) STRICT;
