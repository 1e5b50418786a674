-- How the programs of a node are confined (full, partial, off), and how they were when it began an attempt.
ALTER TABLE nodes ADD COLUMN sandbox TEXT;
ALTER TABLE attempts ADD COLUMN sandbox TEXT;
