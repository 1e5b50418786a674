-- What lists of jobs show without reading any spec, what was decided of a node, what a job moved.

-- Output frames of a chunk.
ALTER TABLE tasks ADD COLUMN frames INTEGER;
UPDATE tasks SET frames = (
  SELECT json_extract(spec, '$.work.frames.end') - json_extract(spec, '$.work.frames.start')
  FROM task_bodies WHERE task_id = tasks.id
) WHERE kind = 'chunk';

-- Why a node gets no work, until somebody says otherwise.
ALTER TABLE nodes ADD COLUMN withheld TEXT;

-- Bytes that went over the network for it.
ALTER TABLE jobs ADD COLUMN moved_bytes INTEGER NOT NULL DEFAULT 0;

CREATE INDEX outbox_job ON outbox(job_id, seq);

-- Which classes wait is read off the index of ready tasks: a list of all that there ever were would only grow.
DROP TABLE classes;
