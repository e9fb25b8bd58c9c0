-- Version 4. Leases and doubts go by the database's clock, whatever those of the workers say: the `at`
-- of a leased job, and `doubted_at`. `settled` is the fence under which a job was settled last, `lost`
-- how often its lease was lost since. An effect names its writer, and the lease that it writes under
-- where that is one of this inbox.

ALTER TABLE bridge.job
    ADD COLUMN settled bigint NOT NULL DEFAULT 0,
    ADD COLUMN lost integer NOT NULL DEFAULT 0;
CREATE INDEX job_suspect ON bridge.job (at, id) WHERE state = 1 AND lost > 1;
ALTER TABLE bridge.effect
    ADD COLUMN writer bigint,
    ADD COLUMN job bigint,
    ADD COLUMN fence bigint;

-- Microseconds since 1970, and not those of when the transaction began.
CREATE FUNCTION bridge.clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
$$;

-- Whether this lease is held.
CREATE FUNCTION bridge.holds(of_job bigint, of_fence bigint) RETURNS boolean LANGUAGE sql VOLATILE
AS $$
    SELECT EXISTS (
        SELECT 1 FROM bridge.job
        WHERE id = of_job AND state = 2 AND fence = of_fence AND at > bridge.clock()
    );
$$;

-- Takes a job out of its worker's hands, if its lease ends at `latest` or before. It is due since then
-- the first time in a row; afterwards it waits 2, 4, 8 seconds and so on, up to an hour, and does not
-- age by the time in which it lay in dead hands.
CREATE FUNCTION bridge.lose(job_id bigint, of_key text, latest bigint, now bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    -- It may have been settled or prolonged meanwhile; an update looks at the row as it is now.
    UPDATE bridge.job
    SET state = 0, owner = NULL, lost = lost + 1,
        at = CASE WHEN lost = 0 THEN least(at, now)
                  ELSE now + least(2 ^ least(lost, 12), 3600)::bigint * 1000000 END,
        tried_at = tried_at + CASE WHEN lost = 0 THEN 0 ELSE now - least(at, now) END
    WHERE id = job_id AND state = 2 AND at <= latest;
    IF FOUND THEN
        PERFORM bridge.give_turn(of_key);
        RETURN true;
    END IF;
    RETURN false;
END $$;

CREATE OR REPLACE FUNCTION bridge.give_back(job_id bigint, of_key text, due bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM bridge.lose(job_id, of_key, 9223372036854775807, due);
END $$;

-- A process of an earlier version would say by its own clock when a lease ends: it leases nothing
-- any more.
DROP FUNCTION bridge.lease(text, bigint, bigint, bigint);

CREATE FUNCTION bridge.take(worker text, most bigint, hold bigint, now bigint) RETURNS TABLE (
    id bigint, attempts integer, fence bigint, pushed_at bigint, tried_at bigint,
    dedupe text, key text, kind text, body bytea, lost integer
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    gone record;
    clock bigint := bridge.clock();
BEGIN
    -- Their workers may have died. What somebody else has locked is taken care of by them, or by the
    -- next who asks.
    FOR gone IN
        SELECT id, key FROM bridge.job WHERE state = 2 AND at <= clock
        ORDER BY key COLLATE "C", id
    LOOP
        IF bridge.try_lock_key(gone.key) THEN
            PERFORM bridge.lose(gone.id, gone.key, clock, now);
        END IF;
    END LOOP;
    RETURN QUERY
        WITH sound AS (
            SELECT id, at FROM bridge.job WHERE state = 1 AND at <= now AND lost < 2
            ORDER BY at, id LIMIT most FOR UPDATE SKIP LOCKED
        ), suspect AS (
            SELECT id, at FROM bridge.job WHERE state = 1 AND at <= now AND lost > 1
            ORDER BY at, id
            LIMIT CASE WHEN EXISTS (
                SELECT 1 FROM bridge.job WHERE state = 2 AND lost > 1 AND owner = worker
            ) THEN 0 ELSE 1 END
            FOR UPDATE SKIP LOCKED
        ), due AS (
            SELECT id, at FROM (SELECT * FROM sound UNION ALL SELECT * FROM suspect) AS both_kinds
            ORDER BY at, id LIMIT most
        ), taken AS (
            UPDATE bridge.job job
            SET state = 2, at = clock + hold, attempts = job.attempts + 1, fence = job.fence + 1,
                owner = worker, tried_at = coalesce(job.tried_at + greatest(now - job.at, 0), now)
            FROM due WHERE job.id = due.id
            RETURNING job.*, due.at AS due_at
        )
        SELECT id, attempts, fence, pushed_at, tried_at, dedupe, key, kind, body, lost FROM taken
        ORDER BY due_at, id;
END $$;

-- Answers whether the lease was still held and, if so, whether the next of the key has its turn. Once
-- more for the same lease it changes nothing: the answer may have been lost.
CREATE OR REPLACE FUNCTION bridge.settle(
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
    -- What is deferred until later does not age meanwhile.
    UPDATE bridge.job
    SET state = new_state, at = new_at, attempts = greatest(attempts - given_back, 0),
        note = new_note, owner = NULL, settled = fence, lost = 0,
        tried_at = CASE WHEN attempts > given_back THEN
            tried_at + CASE WHEN given_back > 0 THEN greatest(new_at - now, 0) ELSE 0 END
        END
    WHERE id = job_id AND state = 2 AND fence = held_fence AND at > bridge.clock();
    held := FOUND;
    IF held THEN
        next := bridge.give_turn(of_key);
        IF next THEN
            PERFORM bridge.hint();
        END IF;
    ELSE
        held := EXISTS (
            SELECT 1 FROM bridge.job
            WHERE id = job_id AND fence = held_fence AND settled = held_fence
        );
    END IF;
END $$;

-- A replayed job came when it came: what was done for it is kept that long, and its times are told by
-- it. Only its attempts and their age begin anew.
CREATE OR REPLACE FUNCTION bridge.replay(job_ids bigint[], now bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    dead record;
    replayed bigint := 0;
BEGIN
    FOR dead IN
        SELECT id, key FROM bridge.job WHERE id = ANY (job_ids) AND state = 4
        ORDER BY key COLLATE "C", id
    LOOP
        PERFORM bridge.lock_key(dead.key);
        UPDATE bridge.job SET state = 0, at = now, attempts = 0, tried_at = NULL
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

-- What was deferred was put on in age until it would be due, which is now.
CREATE OR REPLACE FUNCTION bridge.retry(job_ids bigint[], now bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    waiting record;
    retried bigint := 0;
BEGIN
    FOR waiting IN
        SELECT id, key FROM bridge.job WHERE id = ANY (job_ids) AND state IN (0, 1)
        ORDER BY key COLLATE "C", id
    LOOP
        PERFORM bridge.lock_key(waiting.key);
        UPDATE bridge.job
        SET at = least(at, now), tried_at = CASE WHEN tried_at > now THEN now ELSE tried_at END
        WHERE id = waiting.id AND state IN (0, 1);
        IF FOUND THEN
            retried := retried + 1;
        END IF;
    END LOOP;
    IF retried > 0 THEN
        PERFORM bridge.hint();
    END IF;
    RETURN retried;
END $$;
