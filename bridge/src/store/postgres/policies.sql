-- Version 3. What operators decide: `after_dead` is `skip` or `hold`, and each `pause…` is there as
-- long as that pause lasts. What an effect is of is its key's first part.

CREATE TABLE bridge.setting (
    name  text PRIMARY KEY,
    value text NOT NULL
);
CREATE INDEX job_dead_key ON bridge.job (key, id) WHERE state = 4;
CREATE INDEX effect_finished ON bridge.effect (split_part(key, '/', 1), begun_at)
    WHERE result IS NOT NULL;

-- Whether a dead job of this key holds the job with this number back.
CREATE FUNCTION bridge.is_held(of_key text, job_id bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM bridge.job WHERE state = 4 AND key = of_key AND id < job_id)
       AND EXISTS (SELECT 1 FROM bridge.setting WHERE name = 'after_dead' AND value = 'hold');
$$;

CREATE OR REPLACE FUNCTION bridge.give_turn(of_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bridge.job SET state = 1
    WHERE id = (SELECT id FROM bridge.job WHERE state = 0 AND key = of_key ORDER BY id LIMIT 1)
      AND NOT EXISTS (SELECT 1 FROM bridge.job WHERE state IN (1, 2) AND key = of_key)
      AND NOT bridge.is_held(of_key, id);
    RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION bridge.push(
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
                   ) OR bridge.is_held(keys[n], 9223372036854775807) THEN 0 ELSE 1 END,
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

CREATE FUNCTION bridge.retry(job_ids bigint[], now bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    waiting record;
    retried bigint := 0;
BEGIN
    FOR waiting IN
        SELECT id, key FROM bridge.job WHERE id = ANY (job_ids) AND state IN (0, 1)
        ORDER BY key COLLATE "C", id
    LOOP
        PERFORM bridge.lock_key(waiting.key);
        UPDATE bridge.job SET at = least(at, now) WHERE id = waiting.id AND state IN (0, 1);
        IF FOUND THEN
            retried := retried + 1;
        END IF;
    END LOOP;
    IF retried > 0 THEN
        PERFORM bridge.hint();
    END IF;
    RETURN retried;
END $$;

CREATE FUNCTION bridge.discard(job_ids bigint[], now bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    dead record;
    discarded bigint := 0;
BEGIN
    FOR dead IN
        SELECT id, key FROM bridge.job WHERE id = ANY (job_ids) AND state = 4
        ORDER BY key COLLATE "C", id
    LOOP
        PERFORM bridge.lock_key(dead.key);
        UPDATE bridge.job SET state = 3, at = now, note = 'discarded: ' || coalesce(note, '')
        WHERE id = dead.id AND state = 4;
        IF FOUND THEN
            discarded := discarded + 1;
            PERFORM bridge.give_turn(dead.key);
        END IF;
    END LOOP;
    IF discarded > 0 THEN
        PERFORM bridge.hint();
    END IF;
    RETURN discarded;
END $$;

-- The keys with a dead job are few, and only they are touched. Nobody else writes meanwhile: what
-- somebody settled by the old policy just now would be held, or go on, for ever.
CREATE FUNCTION bridge.set_after_dead(policy text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    dead record;
BEGIN
    INSERT INTO bridge.setting AS it VALUES ('after_dead', policy)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE it.value <> excluded.value;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    LOCK TABLE bridge.job IN SHARE ROW EXCLUSIVE MODE;
    FOR dead IN
        SELECT key, min(id) AS id FROM bridge.job WHERE state = 4 GROUP BY key
    LOOP
        IF policy = 'hold' THEN
            UPDATE bridge.job SET state = 0 WHERE state = 1 AND key = dead.key AND id > dead.id;
        END IF;
        PERFORM bridge.give_turn(dead.key);
    END LOOP;
    PERFORM bridge.hint();
END $$;
