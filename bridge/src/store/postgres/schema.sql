-- Version 1. Times are microseconds since 1970, by the clocks of the callers.
--
-- A job's state is 0 while it waits behind another of its key, 1 when it is its turn, 2 while it is
-- leased, 3 done, 4 dead. Of the unfinished jobs of a key exactly one has the turn or is leased
-- (job_turn holds us to it). Whoever changes who that is holds the key's lock until the commit, and
-- takes it before any row's: so producers and workers of many processes cannot deadlock, and the
-- numbers of a key's jobs grow in the order of their commits.

CREATE TABLE bridge.job (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state     smallint NOT NULL,
    at        bigint NOT NULL,
    attempts  integer NOT NULL DEFAULT 0,
    fence     bigint NOT NULL DEFAULT 0,
    pushed_at bigint NOT NULL,
    tried_at  bigint,
    owner     text,
    note      text,
    dedupe    text NOT NULL UNIQUE,
    key       text NOT NULL,
    kind      text NOT NULL,
    body      bytea NOT NULL
);
CREATE UNIQUE INDEX job_turn ON bridge.job (key) WHERE state IN (1, 2);
CREATE INDEX job_waiting ON bridge.job (key, id) WHERE state = 0;
CREATE INDEX job_due ON bridge.job (at, id) WHERE state = 1;
CREATE INDEX job_leased ON bridge.job (at) WHERE state = 2;
CREATE INDEX job_done ON bridge.job (at) WHERE state = 3;
CREATE INDEX job_dead ON bridge.job (id) WHERE state = 4;
CREATE INDEX job_open ON bridge.job (id) INCLUDE (pushed_at, state) WHERE state IN (0, 1, 2);

CREATE TABLE bridge.effect (
    key      text COLLATE "C" PRIMARY KEY,
    begun_at bigint NOT NULL,
    doubted_at bigint,
    result   text
);

CREATE VIEW bridge.inbox_readable AS
    SELECT id,
           CASE state WHEN 2 THEN 'leased' WHEN 3 THEN 'done' WHEN 4 THEN 'dead' ELSE 'ready' END
               AS state,
           attempts, to_timestamp(pushed_at / 1e6) AS pushed_at, to_timestamp(at / 1e6) AS at,
           owner, note, dedupe, key, kind, encode(body, 'escape') AS body
    FROM bridge.job;

CREATE FUNCTION bridge.lock_key(key text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(key, 6278736601));
$$;

CREATE FUNCTION bridge.try_lock_key(key text) RETURNS boolean LANGUAGE sql AS $$
    SELECT pg_try_advisory_xact_lock(hashtextextended(key, 6278736601));
$$;

-- Tells every process that something may have become due. The hint is sent with the commit.
CREATE FUNCTION bridge.hint() RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('bridge_inbox', '');
$$;

-- Gives a key's turn to the oldest job that waits, unless another has it; tells whether it did.
CREATE FUNCTION bridge.give_turn(of_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bridge.job SET state = 1
    WHERE id = (SELECT id FROM bridge.job WHERE state = 0 AND key = of_key ORDER BY id LIMIT 1)
      AND NOT EXISTS (SELECT 1 FROM bridge.job WHERE state IN (1, 2) AND key = of_key);
    RETURN FOUND;
END $$;

CREATE FUNCTION bridge.push(
    now bigint[], dedupes text[], keys text[], kinds text[], bodies bytea[]
) RETURNS TABLE (id bigint, queued boolean) LANGUAGE plpgsql AS $$
DECLARE
    one text;
    known bigint;
    hinted boolean := false;
BEGIN
    -- In one order, whoever pushes.
    FOR one IN
        SELECT k FROM (SELECT DISTINCT unnest(keys) AS k) AS each_key ORDER BY k COLLATE "C"
    LOOP
        PERFORM bridge.lock_key(one);
    END LOOP;
    FOR n IN 1 .. coalesce(array_length(dedupes, 1), 0) LOOP
        SELECT job.id INTO known FROM bridge.job WHERE job.dedupe = dedupes[n];
        queued := false;
        IF known IS NULL THEN
            INSERT INTO bridge.job AS stored (state, at, pushed_at, dedupe, key, kind, body)
            SELECT CASE WHEN EXISTS (
                       SELECT 1 FROM bridge.job turn WHERE turn.state IN (1, 2) AND turn.key = keys[n]
                   ) THEN 0 ELSE 1 END,
                   now[n], now[n], dedupes[n], keys[n], kinds[n], bodies[n]
            ON CONFLICT ON CONSTRAINT job_dedupe_key DO NOTHING
            RETURNING stored.id INTO known;
            queued := FOUND;
            IF queued THEN
                IF NOT hinted THEN
                    PERFORM bridge.hint();
                    hinted := true;
                END IF;
            ELSE
                -- Another process has pushed the same under another key at the same moment.
                SELECT job.id INTO known FROM bridge.job WHERE job.dedupe = dedupes[n];
            END IF;
        END IF;
        id := known;
        RETURN NEXT;
    END LOOP;
END $$;

CREATE FUNCTION bridge.give_back(job_id bigint, of_key text, due bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bridge.job SET state = 0, at = due, owner = NULL WHERE id = job_id AND state = 2;
    PERFORM bridge.give_turn(of_key);
END $$;

CREATE FUNCTION bridge.lease(worker text, most bigint, until bigint, now bigint) RETURNS TABLE (
    id bigint, attempts integer, fence bigint, pushed_at bigint, tried_at bigint,
    dedupe text, key text, kind text, body bytea
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    lost record;
BEGIN
    -- Their workers may have died; they have been due since. What somebody else has locked is
    -- taken care of by them, or by the next who asks.
    FOR lost IN
        SELECT id, at, key FROM bridge.job WHERE state = 2 AND at <= now
        ORDER BY key COLLATE "C", id
    LOOP
        IF bridge.try_lock_key(lost.key) THEN
            -- It may have been settled or prolonged before the lock was ours.
            IF EXISTS (SELECT 1 FROM bridge.job WHERE id = lost.id AND state = 2 AND at <= now) THEN
                PERFORM bridge.give_back(lost.id, lost.key, lost.at);
            END IF;
        END IF;
    END LOOP;
    RETURN QUERY
        WITH due AS (
            SELECT id, at FROM bridge.job WHERE state = 1 AND at <= now
            ORDER BY at, id LIMIT most FOR UPDATE SKIP LOCKED
        ), taken AS (
            UPDATE bridge.job job
            SET state = 2, at = until, attempts = job.attempts + 1, fence = job.fence + 1,
                owner = worker, tried_at = coalesce(job.tried_at, now)
            FROM due WHERE job.id = due.id
            RETURNING job.*, due.at AS due_at
        )
        SELECT id, attempts, fence, pushed_at, tried_at, dedupe, key, kind, body FROM taken
        ORDER BY due_at, id;
END $$;

-- Answers whether the lease was still held and, if so, whether the next of the key has its turn.
CREATE FUNCTION bridge.settle(
    job_id bigint, held_fence bigint, now bigint, new_state smallint, new_at bigint,
    given_back integer, new_note text, OUT held boolean, OUT next boolean
) LANGUAGE plpgsql AS $$
DECLARE
    of_key text;
BEGIN
    held := false;
    next := false;
    SELECT key INTO of_key FROM bridge.job WHERE id = job_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM bridge.lock_key(of_key);
    UPDATE bridge.job
    SET state = new_state, at = new_at, attempts = greatest(attempts - given_back, 0),
        note = new_note, owner = NULL,
        tried_at = CASE WHEN attempts > given_back THEN tried_at END
    WHERE id = job_id AND state = 2 AND fence = held_fence AND at > now;
    held := FOUND;
    IF held THEN
        next := bridge.give_turn(of_key);
        IF next THEN
            PERFORM bridge.hint();
        END IF;
    END IF;
END $$;

CREATE FUNCTION bridge.replay(job_ids bigint[], now bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    dead record;
    replayed bigint := 0;
BEGIN
    FOR dead IN
        SELECT id, key FROM bridge.job WHERE id = ANY (job_ids) AND state = 4
        ORDER BY key COLLATE "C", id
    LOOP
        PERFORM bridge.lock_key(dead.key);
        UPDATE bridge.job SET state = 0, at = now, pushed_at = now, attempts = 0, tried_at = NULL
        WHERE id = dead.id AND state = 4;
        IF FOUND THEN
            replayed := replayed + 1;
            -- It may be older than the one that has the turn. It goes first, unless that one is
            -- in a worker's hands.
            UPDATE bridge.job SET state = 0 WHERE state = 1 AND key = dead.key;
            PERFORM bridge.give_turn(dead.key);
        END IF;
    END LOOP;
    IF replayed > 0 THEN
        PERFORM bridge.hint();
    END IF;
    RETURN replayed;
END $$;

CREATE FUNCTION bridge.release(worker text, now bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    lost record;
    released bigint := 0;
BEGIN
    FOR lost IN
        SELECT id, key FROM bridge.job WHERE state = 2 AND (worker IS NULL OR owner = worker)
        ORDER BY key COLLATE "C", id
    LOOP
        PERFORM bridge.lock_key(lost.key);
        IF EXISTS (
            SELECT 1 FROM bridge.job
            WHERE id = lost.id AND state = 2 AND (worker IS NULL OR owner = worker)
        ) THEN
            PERFORM bridge.give_back(lost.id, lost.key, now);
            released := released + 1;
        END IF;
    END LOOP;
    IF released > 0 THEN
        PERFORM bridge.hint();
    END IF;
    RETURN released;
END $$;

CREATE FUNCTION bridge.purge(before bigint, most bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    purged bigint;
BEGIN
    DELETE FROM bridge.job WHERE id IN (
        SELECT id FROM bridge.job WHERE state = 3 AND at < before
        ORDER BY at LIMIT most FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS purged = ROW_COUNT;
    RETURN purged;
END $$;
