-- The step: checkpoints of our own, sealed and fenced, and one statement that commits all that a step leaves.
-- LangGraph's own tables of 0.1.0 stay where they are; nothing reads or writes them any more.

-- A data key for each thread, wrapped by the master key, which the database never sees.
create table stateward.data_key (
    thread_id  text not null,
    generation int not null check (generation > 0),
    wrapped    bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (thread_id, generation)
);

-- `batch` is the last commit that was applied: one whose answer was lost is not applied twice.
-- `erased_at` is the tombstone: what was deleted stays deleted, whoever still runs.
create table stateward.checkpoint_thread (
    thread_id text primary key,
    batch     uuid,
    erased_at timestamptz
);

-- No table below refers to it by a constraint: `flush` is the only writer, and it holds the thread's row.
-- `body` holds what LangGraph calls checkpoint and metadata. `run` is a digest of the run's id.
create table stateward.checkpoint (
    thread_id     text not null,
    ns            text not null,
    checkpoint_id text not null,
    parent_id     text,
    run           bytea,
    body          bytea not null,
    created_at    timestamptz not null default clock_timestamp(),
    primary key (thread_id, ns, checkpoint_id)
);
create index checkpoint_by_run on stateward.checkpoint (run) where run is not null;

-- The fence: only a child of the head is let in (promise P11).
create table stateward.checkpoint_head (
    thread_id     text not null,
    ns            text not null,
    checkpoint_id text not null,
    primary key (thread_id, ns)
);

-- A channel's value at a version. A growing list of messages is its `root` row and what was appended since: the value
-- at a version is every row of the same root up to its own ordinal (promise P14).
create table stateward.checkpoint_value (
    thread_id text not null,
    ns        text not null,
    channel   text not null,
    version   text not null,
    root      text not null,
    ordinal   int not null check (ordinal >= 0),
    body      bytea not null,
    primary key (thread_id, ns, channel, version),
    unique (thread_id, ns, channel, root, ordinal)
);

create table stateward.checkpoint_write (
    thread_id     text not null,
    ns            text not null,
    checkpoint_id text not null,
    task_id       text not null,
    idx           int not null,
    task_path     text not null,
    channel       text not null,
    body          bytea not null,
    primary key (thread_id, ns, checkpoint_id, task_id, idx)
);

-- A checkpoint with what its tasks have written, in lists beside each other.
create view stateward.stored_checkpoint as
select c.*, w.task, w.idx, w.path, w.channel, w.bodies
  from stateward.checkpoint c
  left join lateral (
       select array_agg(x.task_id) as task, array_agg(x.idx) as idx, array_agg(x.task_path) as path,
              array_agg(x.channel) as channel, array_agg(x.body) as bodies
         from stateward.checkpoint_write x
        where x.thread_id = c.thread_id and x.ns = c.ns and x.checkpoint_id = c.checkpoint_id) w on true;

-- Sealed values do not compress; trying costs time.
alter table stateward.checkpoint alter column body set storage external;
alter table stateward.checkpoint_value alter column body set storage external;
alter table stateward.checkpoint_write alter column body set storage external;

-- Whoever changes a thread's rows takes its row first, so that no two of them wait for each other.
create function stateward.hold(p_thread text) returns void language plpgsql as $$
begin
    perform 1 from stateward.thread where thread_id = p_thread for no key update;
end $$;

create or replace function stateward.move_effect(
    p_action text, p_attempt int, p_status text, p_result jsonb, p_error text, p_actor text
) returns boolean language plpgsql as $$
declare
    e stateward.effect;
begin
    perform stateward.hold((select thread_id from stateward.effect where action_id = p_action));
    update stateward.effect
       set status = p_status, result = p_result, error = coalesce(p_error, ''),
           settled_at = case when p_status in ('settled', 'failed', 'abandoned') then clock_timestamp() end
     where action_id = p_action and attempt = p_attempt and status in ('reserved', 'unknown') and status <> p_status
    returning * into e;
    if not found then
        return false;
    end if;
    perform stateward.append(e.thread_id, 'effect.' || p_status, p_actor, p_action, e.tool,
                             jsonb_build_object('attempt', p_attempt));
    return true;
end $$;

create or replace function stateward.restart_effect(p_action text, p_attempt int, p_worker bigint, p_actor text)
returns int language plpgsql as $$
declare
    e stateward.effect;
begin
    perform stateward.hold((select thread_id from stateward.effect where action_id = p_action));
    update stateward.effect
       set status = 'reserved', attempt = attempt + 1, worker = p_worker, reserved_at = clock_timestamp()
     where action_id = p_action and attempt = p_attempt and status in ('reserved', 'unknown')
    returning * into e;
    if not found then
        return 0;
    end if;
    perform stateward.append(e.thread_id, 'effect.restarted', p_actor, p_action, e.tool,
                             jsonb_build_object('attempt', e.attempt));
    return e.attempt;
end $$;

-- One of the runtime's own transitions within a commit; the answer is what the caller has to know of it.
create function stateward.transit(p_thread text, p jsonb) returns jsonb language plpgsql as $$
declare
    v_row   jsonb := p -> 'row';
    v_count bigint;
begin
    case p ->> 'do'
        when 'judge' then
            insert into stateward.action (action_id, thread_id, tenant, turn, position, call_id, edit, tool, tool_digest,
                                          arguments, arguments_digest, effect, identity, idempotent, policy,
                                          policy_digest, verdict, reasons, status, response)
            select action_id, p_thread, tenant, turn, position, call_id, edit, tool, tool_digest, arguments,
                   arguments_digest, effect, identity, idempotent, policy, policy_digest, verdict, reasons, status,
                   response
              from jsonb_populate_record(null::stateward.action, v_row)
            on conflict (action_id) do nothing;
            if not found then
                return 'false';
            end if;
            perform stateward.append(p_thread, p ->> 'kind', p ->> 'actor', v_row ->> 'action_id', v_row ->> 'tool',
                                     p -> 'detail');
            return 'true';
        when 'reserve' then
            return (select to_jsonb(r) from stateward.reserve(p ->> 'action', p ->> 'digest', (p ->> 'worker')::bigint,
                                                              p ->> 'actor') r);
        when 'restart' then
            return to_jsonb(stateward.restart_effect(p ->> 'action', (p ->> 'attempt')::int, (p ->> 'worker')::bigint,
                                                     p ->> 'actor'));
        when 'settle' then
            perform stateward.move_effect(p ->> 'action', (p ->> 'attempt')::int, 'settled', p -> 'result', '',
                                          p ->> 'actor');
            return (select to_jsonb(e.status) from stateward.effect e
                     where e.action_id = p ->> 'action' and e.attempt = (p ->> 'attempt')::int);
        when 'read' then
            update stateward.action set status = 'consumed'
             where action_id = p ->> 'action' and effect = 'read' and status in ('permitted', 'consumed');
            perform stateward.append(p_thread, p ->> 'kind', p ->> 'actor', p ->> 'action', p ->> 'tool', '{}');
            return 'true';
        when 'mark' then
            update stateward.thread set status = p ->> 'status', updated_at = clock_timestamp()
             where thread_id = p_thread and status <> p ->> 'status';
            if found then
                perform stateward.append(p_thread, 'thread.' || (p ->> 'status'), p ->> 'actor', null, null, '{}');
            end if;
            return to_jsonb(found);
        when 'count' then
            update stateward.thread set steps = steps + (p ->> 'steps')::int
             where thread_id = p_thread returning steps into v_count;
            return to_jsonb(v_count);
    end case;
end $$;

-- Whether a thread's rows may be written now: `open`, or why not. It keeps the thread's rows until the commit.
create function stateward.admit(p_thread text, p_batch uuid, p_wait boolean) returns text language plpgsql as $$
declare
    known stateward.checkpoint_thread;
begin
    insert into stateward.checkpoint_thread (thread_id) values (p_thread) on conflict do nothing;
    if p_wait then
        select * into known from stateward.checkpoint_thread where thread_id = p_thread for no key update;
        perform stateward.hold(p_thread);
    else
        select * into known from stateward.checkpoint_thread where thread_id = p_thread for no key update skip locked;
        if not found or (
            not exists (select from stateward.thread where thread_id = p_thread for no key update skip locked)
            and exists (select from stateward.thread where thread_id = p_thread)
        ) then
            return 'busy';
        end if;
    end if;
    return case when known.erased_at is not null then 'erased' when known.batch = p_batch then 'done' else 'open' end;
end $$;

-- All that the steps of some threads leave: checkpoints, values, writes, and the runtime's own transitions.
-- A thread that may not commit is left out as a whole, and the others commit. Each list in the document holds lists, whose
-- first item is the thread's place; what is empty is left out. Bodies stand beside it, and are named by their number.
create function stateward.flush(p jsonb, p_bodies bytea[])
returns table (place int, status text, answers jsonb) language plpgsql as $$
#variable_conflict use_column
declare
    t         record;
    o         record;
    v_threads text[] := array(select x.value ->> 0 from jsonb_array_elements(p -> 'threads') with ordinality as x (value, at)
                               order by x.at);
    v_open    int[] := '{}';
    v_places  int[] := '{}';
    v_status  text[] := '{}';
    v_one     text;
    v_answers jsonb := '{}';
begin
    if (p ->> 'wait')::boolean then
        perform set_config('lock_timeout', '2s', true); -- whoever waits asks again, and lets others use the connection
    end if;
    for t in select (x.at - 1)::int as place, x.value ->> 0 as thread, (x.value ->> 1)::uuid as batch
               from jsonb_array_elements(p -> 'threads') with ordinality as x (value, at) order by 2 loop
        v_one := stateward.admit(t.thread, t.batch, (p ->> 'wait')::boolean);
        -- heads: place, namespace, where from, where to, fork. follows: place, namespace, where it must stand.
        if v_one = 'open' and p ? 'heads' and exists (
            select from jsonb_array_elements(p -> 'heads') as h
              left join stateward.checkpoint_head c on c.thread_id = t.thread and c.ns = h ->> 1
             where (h ->> 0)::int = t.place and not (h ->> 4)::boolean and c.checkpoint_id is distinct from h ->> 2
        ) then
            v_one := 'fenced';
        end if;
        if v_one = 'open' and p ? 'follows' and exists (
            select from jsonb_array_elements(p -> 'follows') as f
              left join stateward.checkpoint_head c on c.thread_id = t.thread and c.ns = f ->> 1
              left join jsonb_array_elements(p -> 'heads') as h on h -> 0 = f -> 0 and h -> 1 = f -> 1
             where (f ->> 0)::int = t.place and coalesce(h ->> 3, c.checkpoint_id) is distinct from f ->> 2
        ) then
            v_one := 'fenced';
        end if;
        if v_one = 'open' then
            v_open := v_open || t.place;
            update stateward.checkpoint_thread set batch = t.batch where thread_id = t.thread;
        end if;
        v_places := v_places || t.place;
        v_status := v_status || v_one;
    end loop;

    if p ? 'heads' then
        insert into stateward.checkpoint_head as c (thread_id, ns, checkpoint_id)
        select v_threads[(h ->> 0)::int + 1], h ->> 1, h ->> 3
          from jsonb_array_elements(p -> 'heads') as h where (h ->> 0)::int = any (v_open)
            on conflict (thread_id, ns) do update set checkpoint_id = excluded.checkpoint_id;
        -- checkpoints: place, namespace, id, parent, digest of the run, body
        insert into stateward.checkpoint (thread_id, ns, checkpoint_id, parent_id, run, body)
        select v_threads[(c ->> 0)::int + 1], c ->> 1, c ->> 2, c ->> 3, decode(c ->> 4, 'hex'), p_bodies[(c ->> 5)::int]
          from jsonb_array_elements(p -> 'checkpoints') as c where (c ->> 0)::int = any (v_open)
            on conflict (thread_id, ns, checkpoint_id)
            do update set parent_id = excluded.parent_id, run = excluded.run, body = excluded.body;
    end if;
    if p ? 'values' then -- place, namespace, channel, version, root, ordinal, body
        insert into stateward.checkpoint_value (thread_id, ns, channel, version, root, ordinal, body)
        select v_threads[(v ->> 0)::int + 1], v ->> 1, v ->> 2, v ->> 3, v ->> 4, (v ->> 5)::int, p_bodies[(v ->> 6)::int]
          from jsonb_array_elements(p -> 'values') as v where (v ->> 0)::int = any (v_open)
            on conflict (thread_id, ns, channel, version)
            do update set root = excluded.root, ordinal = excluded.ordinal, body = excluded.body;
    end if;
    if p ? 'writes' then -- place, namespace, checkpoint, task, index, path, channel, body
        insert into stateward.checkpoint_write as w (thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, body)
        select v_threads[(x ->> 0)::int + 1], x ->> 1, x ->> 2, x ->> 3, (x ->> 4)::int, x ->> 5, x ->> 6,
               p_bodies[(x ->> 7)::int]
          from jsonb_array_elements(p -> 'writes') as x where (x ->> 0)::int = any (v_open)
            on conflict (thread_id, ns, checkpoint_id, task_id, idx)
            do update set task_path = excluded.task_path, channel = excluded.channel, body = excluded.body where w.idx < 0;
    end if;
    -- transits: place, what to do
    for o in select (x.value ->> 0)::int as place, x.value -> 1 as what
               from jsonb_array_elements(p -> 'transits') with ordinality as x (value, at)
              where (x.value ->> 0)::int = any (v_open) order by x.at loop
        v_answers := jsonb_set(v_answers, array[o.place::text],
                               coalesce(v_answers -> o.place::text, '[]')
                               || jsonb_build_array(stateward.transit(v_threads[o.place + 1], o.what)));
    end loop;

    return query select u.place, u.status, coalesce(v_answers -> u.place::text, '[]')
                   from unnest(v_places, v_status) as u (place, status);
end $$;

revoke all on function stateward.hold(text) from public;
revoke all on function stateward.transit(text, jsonb) from public;
revoke all on function stateward.admit(text, uuid, boolean) from public;
revoke all on function stateward.flush(jsonb, bytea[]) from public;
