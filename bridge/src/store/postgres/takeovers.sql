-- Version 4. The owner of a lease that was lost stays with the job until the next one takes it over,
-- and knows from whom. What was settled has none.

CREATE OR REPLACE FUNCTION bridge.give_back(job_id bigint, of_key text, due bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bridge.job SET state = 0, at = due WHERE id = job_id AND state = 2;
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
            UPDATE bridge.job SET state = 0
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
