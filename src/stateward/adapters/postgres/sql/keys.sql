-- name: read_thread_keys
-- The data keys of a thread, wrapped.
select generation, wrapped from stateward.data_key where thread_id = %(thread)s;

-- name: read_threads_keys
-- The same of several threads.
select thread_id, generation, wrapped from stateward.data_key
 where thread_id = any (%(threads)s::text[]) order by thread_id, generation;

-- name: is_erased
-- Whether the thread was erased, or deleted: then it has no key for good.
select exists (select from stateward.checkpoint_thread
                where thread_id = %(thread)s and erased_at is not null) as erased;

-- name: add_thread_keys
-- A data key of the next generation, or of exactly this one; whoever is first wins. An erased thread gets none.
with held as (
    insert into stateward.checkpoint_thread as t (thread_id) values (%(thread)s)
        on conflict (thread_id) do update set thread_id = excluded.thread_id -- takes the row, so that an erasure waits
    returning t.erased_at)
insert into stateward.data_key (thread_id, generation, wrapped)
select %(thread)s::text,
       coalesce(%(generation)s::int,
                1 + coalesce((select max(k.generation) from stateward.data_key k where k.thread_id = %(thread)s), 0)),
       %(wrapped)s::bytea
  from held where held.erased_at is null
    on conflict (thread_id, generation) do nothing
returning generation;

-- name: walk_thread_keys
-- The data keys that come after one, for a walk over all of them in batches.
select thread_id, generation, wrapped from stateward.data_key
 where (thread_id, generation) > (%(thread)s, %(generation)s)
 order by thread_id, generation limit %(batch)s;

-- name: rewrap_thread_keys
-- Puts new wrappings in the place of old ones, where nobody has changed or deleted them meanwhile. The rows are locked
-- in one order, so that two who do this at once do not wait for each other.
with held as (
    select k.thread_id, k.generation, n.now
      from unnest(%(threads)s::text[], %(generations)s::int[], %(was)s::bytea[], %(now)s::bytea[])
        as n (thread, generation, was, now)
      join stateward.data_key k on k.thread_id = n.thread and k.generation = n.generation and k.wrapped = n.was
     order by k.thread_id, k.generation
       for update of k)
update stateward.data_key k set wrapped = held.now
  from held where k.thread_id = held.thread_id and k.generation = held.generation
returning k.thread_id;

-- name: count_thread_keys
-- How many data keys each master key wraps. An envelope begins with a version, two bytes of length, and the name.
select case when length(wrapped) < 3 then wrapped
            else substring(wrapped from 1 for 3 + 256 * get_byte(wrapped, 1) + get_byte(wrapped, 2)) end as head,
       count(*) as keys
  from stateward.data_key group by head;

-- name: read_subject_keys
-- The data keys of a subject, wrapped, the oldest first.
select generation, wrapped, born from stateward.subject_key
 where tenant = %(tenant)s and subject = %(subject)s order by generation;

-- name: add_subject_keys
-- A data key of the next generation, or of exactly this one; whoever is first wins. An erased thread gets none for its
-- subject: its row is taken, so that an erasure waits, or was waited for.
with held as (
    select erased_at from stateward.thread where thread_id = %(thread)s for share)
insert into stateward.subject_key (tenant, subject, generation, wrapped)
select %(tenant)s::text, %(subject)s::text,
       coalesce(%(generation)s::int,
                1 + coalesce((select max(k.generation) from stateward.subject_key k
                               where k.tenant = %(tenant)s and k.subject = %(subject)s), 0)),
       %(wrapped)s::bytea
  from held where held.erased_at is null
    on conflict (tenant, subject, generation) do nothing
returning generation, born;

-- name: walk_subject_keys
-- The data keys of subjects that come after one, for a walk over all of them in batches.
select tenant, subject, generation, wrapped from stateward.subject_key
 where (tenant, subject, generation) > (%(tenant)s, %(subject)s, %(generation)s)
 order by tenant, subject, generation limit %(batch)s;

-- name: rewrap_subject_keys
-- As for threads.
with held as (
    select k.tenant, k.subject, k.generation, n.now
      from unnest(%(tenants)s::text[], %(subjects)s::text[], %(generations)s::int[], %(was)s::bytea[], %(now)s::bytea[])
        as n (tenant, subject, generation, was, now)
      join stateward.subject_key k using (tenant, subject, generation)
     where k.wrapped = n.was
     order by k.tenant, k.subject, k.generation
       for update of k)
update stateward.subject_key k set wrapped = held.now
  from held where k.tenant = held.tenant and k.subject = held.subject and k.generation = held.generation
returning k.generation;

-- name: count_subject_keys
-- As for threads.
select case when length(wrapped) < 3 then wrapped
            else substring(wrapped from 1 for 3 + 256 * get_byte(wrapped, 1) + get_byte(wrapped, 2)) end as head,
       count(*) as keys
  from stateward.subject_key group by head;

-- name: note_refusal
-- Security: a stored value was refused; it goes into the chain of the thread, where there is one.
select stateward.append(%(thread)s, 'security.seal_broken', 'runtime', null, null, %(detail)s::jsonb)
 where exists (select from stateward.thread where thread_id = %(thread)s);
