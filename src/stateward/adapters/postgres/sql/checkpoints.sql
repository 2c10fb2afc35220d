-- name: flush
-- Commits all that the steps of some threads leave; a thread that may not commit is left out.
select place, status, answers from stateward.flush(%(doc)s::jsonb, %(bodies)b::bytea[]);

-- name: load
-- A checkpoint with its writes: the one that is named, else the head of the namespace; and whether the thread was
-- abandoned, be there a checkpoint or not.
select c.checkpoint_id, c.parent_id, encode(c.run, 'hex') as run, c.body, c.task, c.idx, c.path, c.channel, c.bodies,
       coalesce((select t.status = 'abandoned' from stateward.thread t where t.thread_id = %(thread)s), false) as ended
  from (values (1)) as one
  left join stateward.stored_checkpoint c
    on c.thread_id = %(thread)s and c.ns = %(ns)s
   and c.checkpoint_id = coalesce(%(id)s::text, (select h.checkpoint_id from stateward.checkpoint_head h
                                                  where h.thread_id = %(thread)s and h.ns = %(ns)s));

-- name: values
-- The rows that make up some channels at some versions. `offset 0` keeps the planner to one look at the index for each
-- channel: on tables without statistics it would otherwise join every row of a chain with every other.
select u.channel, s.root, s.version, s.ordinal, v.newest, s.body
  from unnest(%(channels)s::text[], %(versions)s::text[]) as u (channel, version)
 cross join lateral (
       select v.root, v.ordinal,
              not exists (select from stateward.checkpoint_value n
                           where n.thread_id = %(thread)s and n.ns = %(ns)s and n.channel = u.channel
                             and n.root = v.root and n.ordinal = v.ordinal + 1) as newest
         from stateward.checkpoint_value v
        where v.thread_id = %(thread)s and v.ns = %(ns)s and v.channel = u.channel and v.version = u.version offset 0) v
 cross join lateral (
       select s.root, s.version, s.ordinal, s.body from stateward.checkpoint_value s
        where s.thread_id = %(thread)s and s.ns = %(ns)s and s.channel = u.channel and s.root = v.root
          and s.ordinal <= v.ordinal offset 0) s
 order by u.channel, s.ordinal;

-- name: list
-- A thread's checkpoints with their writes, newest first.
select c.thread_id, c.ns, c.checkpoint_id, c.parent_id, encode(c.run, 'hex') as run, c.body, c.task, c.idx, c.path, c.channel, c.bodies
  from stateward.stored_checkpoint c
 where c.thread_id = %(thread)s
   and (%(ns)s::text is null or c.ns = %(ns)s)
   and (%(id)s::text is null or c.checkpoint_id = %(id)s)
   and (%(before)s::text is null or c.checkpoint_id < %(before)s)
 order by c.checkpoint_id desc, c.thread_id, c.ns
 limit %(limit)s;

-- name: list_all
-- The checkpoints of all threads with their writes, newest first.
select c.thread_id, c.ns, c.checkpoint_id, c.parent_id, encode(c.run, 'hex') as run, c.body, c.task, c.idx, c.path, c.channel, c.bodies
  from stateward.stored_checkpoint c
 where (%(ns)s::text is null or c.ns = %(ns)s)
   and (%(id)s::text is null or c.checkpoint_id = %(id)s)
   and (%(before)s::text is null or c.checkpoint_id < %(before)s)
 order by c.checkpoint_id desc, c.thread_id, c.ns
 limit %(limit)s;

-- name: ancestors
-- A checkpoint and those that it follows from, nearest first, with what their tasks wrote to some channels.
with recursive line as (
    select c.*, 0 as depth from stateward.checkpoint c
     where c.thread_id = %(thread)s and c.ns = %(ns)s and c.checkpoint_id = %(id)s
    union all
    select c.*, line.depth + 1 from line join stateward.checkpoint c
        on c.thread_id = line.thread_id and c.ns = line.ns and c.checkpoint_id = line.parent_id
     where line.depth < %(depth)s
)
select l.checkpoint_id, l.parent_id, encode(l.run, 'hex') as run, l.body, w.task, w.idx, w.path, w.channel, w.bodies
  from line l
  left join lateral (
       select array_agg(x.task_id) as task,
              array_agg(x.idx) as idx,
              array_agg(x.task_path) as path,
              array_agg(x.channel) as channel,
              array_agg(x.body) as bodies
         from stateward.checkpoint_write x
        where x.thread_id = l.thread_id and x.ns = l.ns and x.checkpoint_id = l.checkpoint_id
          and x.channel = any (%(channels)s::text[])) w on true
 order by l.depth;

-- name: heads
-- The head of each of a thread's namespaces.
select ns, checkpoint_id from stateward.checkpoint_head where thread_id = %(thread)s order by ns;

-- name: hold_thread
-- Takes a thread's row, so that nothing is committed on it meanwhile.
select erased_at from stateward.checkpoint_thread where thread_id = %(thread)s for update;

-- name: is_held
-- Whether its subject is on legal hold: nothing of it is deleted.
select stateward.is_held(%(thread)s) as held;

-- name: prune_checkpoints
-- Deletes a thread's checkpoints but those that are kept.
delete from stateward.checkpoint c
 where c.thread_id = %(thread)s
   and not exists (select from unnest(%(nss)s::text[], %(ids)s::text[]) as k (ns, id)
                    where k.ns = c.ns and k.id = c.checkpoint_id);

-- name: prune_writes
-- Deletes what the tasks of deleted checkpoints wrote.
delete from stateward.checkpoint_write w
 where w.thread_id = %(thread)s
   and not exists (select from stateward.checkpoint c
                    where c.thread_id = w.thread_id and c.ns = w.ns and c.checkpoint_id = w.checkpoint_id);

-- name: prune_values
-- Deletes values that none of the kept versions is made of.
with kept as materialized (
    select x.ns, x.channel, x.root, max(x.ordinal) as last
      from unnest(%(nss)s::text[], %(channels)s::text[], %(versions)s::text[]) as k (ns, channel, version)
     cross join lateral (
           select v.ns, v.channel, v.root, v.ordinal from stateward.checkpoint_value v
            where v.thread_id = %(thread)s and v.ns = k.ns and v.channel = k.channel and v.version = k.version offset 0) x
     group by x.ns, x.channel, x.root)
delete from stateward.checkpoint_value v
 where v.thread_id = %(thread)s
   and not exists (select from kept k
                    where k.ns = v.ns and k.channel = v.channel and k.root = v.root and k.last >= v.ordinal);

-- name: delete_rows
-- Deletes everything that a thread's checkpoints consist of.
with a as (delete from stateward.checkpoint where thread_id = %(thread)s),
     b as (delete from stateward.checkpoint_head where thread_id = %(thread)s),
     c as (delete from stateward.checkpoint_value where thread_id = %(thread)s)
delete from stateward.checkpoint_write where thread_id = %(thread)s;

-- name: delete_keys
-- Destroys a thread's data keys.
delete from stateward.data_key where thread_id = %(thread)s;

-- name: erase
-- Puts up the tombstone; whoever makes a key for the thread at this moment is waited for.
insert into stateward.checkpoint_thread (thread_id, erased_at) values (%(thread)s, clock_timestamp())
on conflict (thread_id) do update set erased_at = clock_timestamp();

-- name: threads_of_runs
-- The threads in which some runs have left checkpoints.
select distinct thread_id from stateward.checkpoint where run = any (%(runs)b::bytea[]) order by thread_id;

-- name: delete_runs
-- Deletes what some runs have left in a thread.
delete from stateward.checkpoint where thread_id = %(thread)s and run = any (%(runs)b::bytea[]);

-- name: mend_heads
-- After checkpoints were deleted, the newest that is left is the head.
with newest as (
    select ns, max(checkpoint_id) as id from stateward.checkpoint where thread_id = %(thread)s group by ns
), gone as (
    delete from stateward.checkpoint_head h
     where h.thread_id = %(thread)s and not exists (select from newest n where n.ns = h.ns)
)
update stateward.checkpoint_head h set checkpoint_id = n.id
  from newest n
 where h.thread_id = %(thread)s and h.ns = n.ns
   and not exists (select from stateward.checkpoint c
                    where c.thread_id = h.thread_id and c.ns = h.ns and c.checkpoint_id = h.checkpoint_id);

-- name: values_of
-- Every value of a thread as it is kept.
select ns, channel, version, root, ordinal, body from stateward.checkpoint_value
 where thread_id = %(thread)s order by ns, channel, root, ordinal;

-- name: copy_labels
-- A copied thread holds what its source has read.
insert into stateward.thread_label (thread_id, label, turn)
select %(target)s, l.label, l.turn from stateward.thread_label l where l.thread_id = %(source)s
    on conflict do nothing
returning label;

-- name: forget_sightings
-- What an erased thread has seen goes with its keys.
delete from stateward.sighting where thread_id = %(thread)s;

-- name: forget_case_values
-- So does what was known of its people.
delete from stateward.case_value where thread_id = %(thread)s;
