-- The tables of LangGraph's own PostgresSaver, which live in a schema of somebody's choice: `look_into` puts it on the
-- search path for one transaction, and the statements below it name no schema.

-- name: there
-- Which of the tables and columns that are read a schema has.
select count(distinct c.table_name) = 3 and bool_or(c.table_name = 'checkpoints' and c.column_name = 'checkpoint_id') as complete,
       count(*) > 0 as some,
       bool_or(c.table_name = 'checkpoint_writes' and c.column_name = 'task_path') as has_paths
  from information_schema.columns c
 where c.table_schema = %(schema)s and c.table_name in ('checkpoints', 'checkpoint_blobs', 'checkpoint_writes');

-- name: one_state
-- All that this transaction reads is of one moment.
set transaction isolation level repeatable read;

-- name: look_into
-- Names in this transaction mean this schema; whoever holds a table is not waited for long.
select set_config('search_path', quote_ident(%(schema)s), true), set_config('lock_timeout', '5s', true);

-- name: without_paths
-- Tables that an older version made have no task paths; upstream's saver asks for them.
create temporary view checkpoint_writes as
    select thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, ''::text as task_path
      from checkpoint_writes;

-- name: with_paths
-- The name means the table again.
drop view pg_temp.checkpoint_writes;

-- name: alone
-- Nobody writes these tables until the end of the transaction.
lock table checkpoints, checkpoint_blobs, checkpoint_writes in share row exclusive mode;

-- name: threads
-- The threads with how many checkpoints each has.
select thread_id as thread, count(*) as checkpoints from checkpoints group by thread_id order by thread_id;

-- name: line
-- A thread's checkpoints with their parents, and how many writes their tasks have left; oldest first.
select c.checkpoint_ns as ns, c.checkpoint_id as id, c.parent_checkpoint_id as parent,
       (select count(*) from checkpoint_writes w
         where w.thread_id = c.thread_id and w.checkpoint_ns = c.checkpoint_ns and w.checkpoint_id = c.checkpoint_id) as writes
  from checkpoints c where c.thread_id = %(thread)s order by c.checkpoint_id, c.checkpoint_ns;

-- name: places
-- Where the writes of a thread stand; upstream's saver gives the values without it.
select checkpoint_ns as ns, checkpoint_id as id, task_path as path, task_id as task, idx, channel
  from checkpoint_writes where thread_id = %(thread)s;

-- name: here
-- A thread's checkpoints in our own tables, which of them are heads, and how many writes each has.
select c.ns, c.checkpoint_id as id, h.checkpoint_id is not null as head,
       (select count(*) from stateward.checkpoint_write w
         where w.thread_id = c.thread_id and w.ns = c.ns and w.checkpoint_id = c.checkpoint_id) as writes
  from stateward.checkpoint c
  left join stateward.checkpoint_head h
    on h.thread_id = c.thread_id and h.ns = c.ns and h.checkpoint_id = c.checkpoint_id
 where c.thread_id = %(thread)s;

-- name: has_old_tables
-- Whether release 0.1.0, which kept its checkpoints in these tables, has worked on this database.
select to_regclass('stateward.checkpoints') is not null as found;

-- name: left_behind
-- How many threads those tables still hold.
select count(distinct thread_id) as threads from stateward.checkpoints;
