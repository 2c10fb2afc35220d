-- name: insert_action
-- Records a judged action; the same action judged again stays as it was judged at first.
insert into stateward.action (action_id, thread_id, tenant, turn, position, call_id, edit, tool, tool_digest, arguments,
                              arguments_digest, effect, identity, idempotent, policy, policy_digest, verdict, reasons,
                              status, response, labels, amounts, undoes, cleared_at)
values (%(action_id)s, %(thread)s, %(tenant)s, %(turn)s, %(position)s, %(call_id)s, %(edit)s, %(tool)s,
        %(tool_digest)s, %(arguments)s::bytea, %(arguments_digest)s, %(effect)s, %(identity)s, %(idempotent)s,
        %(policy)s, %(policy_digest)s, %(verdict)s, %(reasons)s::bytea, %(status)s, %(response)s::bytea,
        %(labels)s::text[], %(amounts)s::jsonb, %(undoes)s,
        case when %(cleared)s then clock_timestamp() end)
on conflict (action_id) do nothing
returning action_id;

-- name: begun
-- The writes of a thread that were begun, with what is known of each: those that are open, then what was settled last.
select a.*, e.status as effect_status, e.attempt, e.result, e.error, e.settled_at
  from stateward.action a join stateward.effect e using (action_id)
 where a.thread_id = %(thread)s
 order by e.settled_at desc nulls first, e.reserved_at desc, a.action_id;

-- name: turn
-- The actions of a turn that stand, by position.
select * from stateward.action
 where thread_id = %(thread)s and turn = %(turn)s and status <> 'superseded'
 order by position, edit;

-- name: action
-- One action.
select * from stateward.action where action_id = %(action_id)s;

-- name: move_effect
-- Settles, fails, loses or abandons an open effect; false when this attempt does not own it any more.
select stateward.move_effect(%(action_id)s, %(attempt)s, %(status)s, %(result)s::bytea, %(error)s::bytea, %(actor)s) as moved;

-- name: effect
-- What is known of an effect.
select * from stateward.effect where action_id = %(action_id)s;

-- name: history
-- What a tool was used for within windows, one row for each query; where it holds, after the lock that others wait for.
select * from stateward.history(%(hold)s, %(thread)s, %(tenant)s, %(tool)s, %(principal)s, %(subject)s,
                                %(queries)s::jsonb, %(waiting)s, %(excluding)s::text[]);

-- name: clear
-- The permit was held against the history again, and is good: from now on it counts as done.
update stateward.action set cleared_at = clock_timestamp()
 where action_id = %(action_id)s and status = 'permitted'
returning action_id;

-- name: withdraw
-- The permit was held against the history again, and is not good any more.
update stateward.action set status = 'abandoned', response = %(response)s::bytea
 where action_id = %(action_id)s and status = 'permitted'
returning action_id;

-- name: release
-- An open effect that its worker has let go of is nobody's; no worker has the number 0. Its status is what it was.
update stateward.effect set worker = 0
 where action_id = %(action)s and attempt = %(attempt)s and worker = %(worker)s and status = 'reserved'
returning action_id;

-- name: worker_lives
-- Whether the worker still holds its sign of life.
select not exists (select 1 from pg_locks
                    where locktype = 'advisory' and classid = %(class)s and objid = %(worker)s and granted
                      and database = (select oid from pg_database where datname = current_database())) as dead;

-- name: hold_sign_of_life
-- Held by a worker's own connection until it dies. Shared, as one that was cut off may still hold it for hours when the
-- next one takes it.
select pg_advisory_lock_shared(%(class)s::int, %(worker)s::int);
