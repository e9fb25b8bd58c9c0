-- Version 5. A job's row is written anew at its push, its lease, each extension and its end, and the
-- partial indexes that find the next one hold an entry for each of those until it is vacuumed. A share
-- of the table, as PostgreSQL waits for by default, would be millions of them after a busy month.

ALTER TABLE bridge.job SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.02, fillfactor = 80
);
ALTER TABLE bridge.effect SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, fillfactor = 90
);
