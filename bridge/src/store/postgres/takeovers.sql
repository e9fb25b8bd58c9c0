-- Version 4. The owner of a lease that was lost stays with the job until the next one takes it over,
-- and knows from whom. What was settled has none. Neither an outage nor a lost lease makes a job
-- older, and a replayed one came when it came.

CREATE OR REPLACE FUNCTION bridge.give_back(job_id bigint, of_key text, due bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bridge.job SET state = 0, at = due, tried_at = NULL WHERE id = job_id AND state = 2;
    PERFORM bridge.give_turn(of_key);
END $$;

DROP FUNCTION bridge.lease(text, bigint, bigint, bigint);

CREATE FUNCTION bridge.lease(worker text, most bigint, until bigint, now bigint) RETURNS TABLE (
    id bigint, attempts integer, fence bigint, pushed_at bigint, tried_at bigint,
    dedupe text, key text, kind text, body bytea, taken_from text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    lost record;
BEGIN
    -- Their workers may have died; they have been due since. What somebody else has locked is
    -- taken care of by them, or by the next who asks.
    FOR lost IN
        SELECT id, key FROM bridge.job WHERE state = 2 AND at <= now
        ORDER BY key COLLATE "C", id
    LOOP
        IF bridge.try_lock_key(lost.key) THEN
            -- It may have been settled before the lock was ours, or prolonged, which takes no lock.
            UPDATE bridge.job SET state = 0, tried_at = NULL
            WHERE id = lost.id AND state = 2 AND at <= now;
            IF FOUND THEN
                PERFORM bridge.give_turn(lost.key);
            END IF;
        END IF;
    END LOOP;
    RETURN QUERY
        WITH due AS (
            SELECT id, at, owner FROM bridge.job WHERE state = 1 AND at <= now
            ORDER BY at, id LIMIT most FOR UPDATE SKIP LOCKED
        ), taken AS (
            UPDATE bridge.job job
            SET state = 2, at = until, attempts = job.attempts + 1, fence = job.fence + 1,
                owner = worker, tried_at = coalesce(job.tried_at, now)
            FROM due WHERE job.id = due.id
            RETURNING job.*, due.at AS due_at, due.owner AS former
        )
        SELECT id, attempts, fence, pushed_at, tried_at, dedupe, key, kind, body, former FROM taken
        ORDER BY due_at, id;
END $$;

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
    UPDATE bridge.job
    SET state = new_state, at = new_at, attempts = greatest(attempts - given_back, 0),
        note = new_note, owner = NULL,
        tried_at = CASE WHEN given_back = 0 THEN tried_at END
    WHERE id = job_id AND state = 2 AND fence = held_fence AND at > now;
    held := FOUND;
    IF held THEN
        next := bridge.give_turn(of_key);
        IF next THEN
            PERFORM bridge.hint();
        END IF;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION bridge.replay(job_ids bigint[], now bigint) RETURNS bigint LANGUAGE plpgsql AS $$
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
