-- name: open_thread
-- Opens a thread; one that exists stays as it is.
insert into stateward.thread (thread_id, tenant, principal, roles, requester, purpose, subject, graph, graph_version,
                              keep_for, idle_for)
values (%(thread)s, %(tenant)s, %(principal)s, %(roles)s, %(requester)s, %(purpose)s, %(subject)s, %(graph)s,
        %(graph_version)s, %(keep)s, %(idle)s)
on conflict (thread_id) do nothing
returning thread_id;

-- name: pin_version
-- A thread that was opened where its graph is not loaded takes the version of its first run.
update stateward.thread set graph_version = %(graph_version)s
 where thread_id = %(thread)s and graph = %(graph)s and graph_version = '' and %(graph_version)s <> ''
returning thread_id;

-- name: keep_thread
-- How long a thread is kept, by the policy that it runs under now.
update stateward.thread set keep_for = %(keep)s, idle_for = %(idle)s
 where thread_id = %(thread)s and (keep_for, idle_for) is distinct from (%(keep)s::bigint, %(idle)s::bigint);

-- name: find_thread
-- A thread as it was opened, and how long ago that was.
select *, extract(epoch from clock_timestamp() - created_at)::float8 as seconds from stateward.thread where thread_id = %(thread)s;

-- name: list_threads
-- The threads of a tenant, newest first, optionally about one subject. The desk's own chain is no piece of work.
select *, extract(epoch from clock_timestamp() - created_at)::float8 as seconds from stateward.thread
 where thread_id <> 'desk:' || tenant
   and (%(tenant)s::text is null or tenant = %(tenant)s)
   and (%(subject)s::text is null or subject = %(subject)s)
 order by created_at desc;

-- name: hold
-- Takes a thread's row before any other of its rows is changed.
select stateward.held(%(thread)s) as status;

-- name: abandon
-- Ends a thread: what waits is withdrawn. False where it was abandoned before.
select stateward.abandon(%(thread)s, %(actor)s, %(detail)s::jsonb) as done;

-- name: conclude
-- Says what came of taking back its effects; false where that was said before.
select stateward.conclude(%(thread)s, %(actor)s, %(detail)s::jsonb) as done;

-- name: append
-- One ledger entry at the end of the thread's chain.
select stateward.append(%(thread)s, %(kind)s, %(actor)s, %(action)s, %(tool)s, %(detail)s::jsonb) as seq;

-- name: entries
-- The ledger, in the order of the chains.
select thread_id, seq, prev, hash, entry from stateward.ledger
 where %(thread)s::text is null or thread_id = %(thread)s
 order by thread_id, seq;

-- name: heads
-- Where each thread's row says that its chain ends.
select thread_id, head_seq, head_hash from stateward.thread
 where %(thread)s::text is null or thread_id = %(thread)s
 order by thread_id;
