-- Version 2. setting holds what operators have decided: after_dead is skip or hold, and each pause...
-- is there as long as that pause lasts. What an effect is of is its key's first part.

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX job_dead_key ON job (key, id) WHERE state = 4;
CREATE INDEX effect_finished ON effect (substr(key, 1, instr(key, '/')), begun_at)
    WHERE result IS NOT NULL;
