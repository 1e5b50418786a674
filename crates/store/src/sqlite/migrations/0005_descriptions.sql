-- What is known about media.

-- What a look at it came to; null before.
ALTER TABLE library ADD COLUMN verdict TEXT;

-- What nodes found out, part by part.
CREATE TABLE descriptions (
  media  TEXT NOT NULL REFERENCES library(digest) ON DELETE CASCADE,
  part   TEXT NOT NULL,
  output TEXT NOT NULL,
  PRIMARY KEY (media, part)
) STRICT, WITHOUT ROWID;
