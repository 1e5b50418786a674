-- What a look for malware came to; none before media was looked at.
ALTER TABLE library ADD COLUMN scan TEXT;
CREATE INDEX library_unscanned ON library(created_ms) WHERE scan IS NULL;
