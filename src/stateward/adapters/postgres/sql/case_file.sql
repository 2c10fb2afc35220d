-- name: add_case_values
-- Keeps what is known of the people of a case, sealed. An erased thread gets none: its row is taken, so that an erasure
-- waits, or was waited for.
with held as (
    select erased_at from stateward.checkpoint_thread where thread_id = %(thread)s for no key update)
insert into stateward.case_value (thread_id, body)
select %(thread)s::text, %(body)s::bytea from held where held.erased_at is null
returning ordinal;

-- name: case_values
-- What is known of the people of a case, oldest first.
select body from stateward.case_value where thread_id = %(thread)s order by ordinal;
