-- Version 1. Times are microseconds since 1970.
--
-- A job's state is 0 while it waits behind another of its key, 1 when it is its turn, 2 while it is
-- leased, 3 done, 4 dead. Of the unfinished jobs of a key exactly one has the turn or is leased, so
-- that a claim reads no more rows than it takes, however much waits behind them; job_turn holds us
-- to it.
--
-- SQLite uses a partial index only for a query that repeats its condition literally.

CREATE TABLE job (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    state     INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 0,
    fence     INTEGER NOT NULL DEFAULT 0,
    pushed_at INTEGER NOT NULL,
    tried_at  INTEGER,
    owner     TEXT,
    note      TEXT,
    dedupe    TEXT NOT NULL UNIQUE,
    key       TEXT NOT NULL,
    kind      TEXT NOT NULL,
    body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX job_turn ON job (key) WHERE state IN (1, 2);
CREATE INDEX job_waiting ON job (key, id) WHERE state = 0;
CREATE INDEX job_due ON job (at, id) WHERE state = 1;
CREATE INDEX job_leased ON job (at) WHERE state = 2;
CREATE INDEX job_done ON job (at) WHERE state = 3;
CREATE INDEX job_dead ON job (id) WHERE state = 4;
CREATE INDEX job_open ON job (id, pushed_at, state) WHERE state IN (0, 1, 2);
CREATE TABLE effect (
    key      TEXT PRIMARY KEY,
    begun_at INTEGER NOT NULL,
    doubted_at INTEGER,
    result   TEXT
) STRICT, WITHOUT ROWID;
CREATE VIEW inbox_readable AS
    SELECT id,
           CASE state WHEN 2 THEN 'leased' WHEN 3 THEN 'done' WHEN 4 THEN 'dead' ELSE 'ready' END
               AS state,
           attempts,
           strftime('%Y-%m-%dT%H:%M:%fZ', pushed_at / 1e6, 'unixepoch') AS pushed_at,
           strftime('%Y-%m-%dT%H:%M:%fZ', at / 1e6, 'unixepoch') AS at,
           owner, note, dedupe, key, kind, CAST(body AS TEXT) AS body
    FROM job;
