-- Version 3. The at of a leased job, and doubted_at, go by the clock of the process that works on the
-- file. settled is the fence under which a job was settled last, lost how often its lease was lost
-- since. An effect names its writer, and the lease that it writes under where that is one of ours.

ALTER TABLE job ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
CREATE INDEX job_suspect ON job (at, id) WHERE state = 1 AND lost > 1;
ALTER TABLE effect ADD COLUMN writer INTEGER;
ALTER TABLE effect ADD COLUMN job INTEGER;
ALTER TABLE effect ADD COLUMN fence INTEGER;
