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

-- Whatever can hold content is sealed by the runtime, for its thread, row and field. What release 0.1.0 kept in clear waits
-- under another name, and 0012 is not applied before it is sealed as well.
alter table stateward.action rename column arguments to clear_arguments;
alter table stateward.action rename column reasons to clear_reasons;
alter table stateward.action rename column response to clear_response;
alter table stateward.effect rename column result to clear_result;
alter table stateward.effect rename column error to clear_error;
alter table stateward.action
    alter column clear_arguments drop not null,
    alter column clear_reasons drop not null,
    alter column clear_response drop not null,
    alter column clear_response drop default,
    add column arguments bytea, -- null only where the thread was erased, or deleted in LangGraph's way
    add column reasons   bytea,
    add column response  bytea,
    add column said      text,  -- in place of a response: one of the few sentences that the database says itself
    add column amounts   jsonb, -- numbers among the arguments, which limits add up; null for one that is not kept here
    add constraint action_said_check check (said ~ '^(the work was abandoned|edited|nobody decided before [-0-9: ]{16} UTC)$');
alter table stateward.effect
    drop column arguments, -- the action's own
    alter column clear_error drop not null,
    alter column clear_error drop default,
    add column result bytea,
    add column error  bytea;
alter table stateward.action alter column arguments set storage external;
alter table stateward.effect alter column result set storage external;

-- What one of the runtime's own transitions comes to: the answer that its caller has to know, the entries that tell of it,
-- and what it makes of the thread's row. `flush` writes entries and row, once for all of a thread's transitions.
create type stateward.transition as (answer jsonb, entries jsonb[], status text, steps bigint);

-- What an entry says, before it has its place in the chain. Stable, as the functions that make JSON are.
create function stateward.says(p_kind text, p_actor text, p_action text, p_tool text, p_detail jsonb)
returns jsonb language sql stable as $$
    select jsonb_build_object('kind', p_kind, 'actor', p_actor, 'action', p_action, 'tool', p_tool, 'detail', p_detail);
$$;

-- What is said as an entry at this place in a thread's chain: the exact text that is hashed.
create function stateward.entry(p_thread text, p_seq bigint, p_says jsonb) returns text language sql volatile as $$
    select (p_says || jsonb_build_object(
        'v', 1, 'thread', p_thread, 'seq', p_seq,
        'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::text;
$$;

create function stateward.placed(p_thread stateward.thread, p_says jsonb) returns text language sql volatile as $$
    select stateward.entry(p_thread.thread_id, p_thread.head_seq, p_says);
$$;

-- Withdraws the questions what became of an effect that has ended by itself, as where the other side knows of it by now;
-- the entries that tell of it.
create function stateward.moot(e stateward.effect, p_actor text) returns jsonb[] language plpgsql as $$
declare
    a stateward.approval;
    v jsonb[] := '{}';
begin
    for a in update stateward.approval set status = 'withdrawn', decided_at = clock_timestamp()
              where thread_id = e.thread_id and action_id = e.action_id and kind = 'outcome' and status = 'pending'
          returning * loop
        v := v || stateward.says('approval.withdrawn', p_actor, e.action_id, a.tool,
                                 jsonb_build_object('approval', a.approval_id, 'digest', a.digest));
    end loop;
    return v;
end $$;

-- Settles, fails, loses or abandons an open effect. When it has ended, nobody has to say any more what became of it. What takes
-- the thread's row first comes with the erasure of threads.
drop function stateward.move_effect(text, int, text, jsonb, text, text);
create function stateward.move_effect(
    p_action text, p_attempt int, p_status text, p_result bytea, p_error bytea, p_actor text
) returns boolean language plpgsql as $$
declare
    e stateward.effect;
    v jsonb;
begin
    perform stateward.hold((select thread_id from stateward.effect where action_id = p_action));
    update stateward.effect
       set status = p_status, result = p_result, error = p_error,
           settled_at = case when p_status in ('settled', 'failed', 'abandoned') then clock_timestamp() end
     where action_id = p_action and attempt = p_attempt and status in ('reserved', 'unknown') and status <> p_status
    returning * into e;
    if not found then
        return false;
    end if;
    perform stateward.append(e.thread_id, 'effect.' || p_status, p_actor, p_action, e.tool,
                             jsonb_build_object('attempt', p_attempt));
    if p_status <> 'unknown' then
        foreach v in array stateward.moot(e, p_actor) loop
            perform stateward.append(e.thread_id, v ->> 'kind', p_actor, p_action, v ->> 'tool', v -> 'detail');
        end loop;
    end if;
    return true;
end $$;

-- Called by a tool's own connection, inside the tool's transaction: settled exactly when what it wrote is committed. It runs
-- as the owner, called by a login that is lent to a tool. Where `pg_temp` is not named, the login's own types come before
-- ours, and a check of a type of its own, named `text`, would run as the owner.
drop function stateward.settle_here(jsonb);
create function stateward.settle_here(p_result bytea) returns void
language plpgsql security definer set search_path = pg_catalog, stateward, pg_temp as $$
declare
    v_user    text := session_user;
    v_action  text;
    v_attempt int;
begin
    if v_user !~ '^stateward_call_[0-9a-f]{32}_[0-9]+' then
        raise exception 'only a role of one call settles here' using errcode = 'SW004';
    end if;
    v_action := substr(v_user, 16, 32);
    v_attempt := split_part(substr(v_user, 49), '_', 1)::int;
    if not stateward.move_effect(v_action, v_attempt, 'settled', p_result, null,
               (select t.principal from stateward.action a join stateward.thread t using (thread_id)
                 where a.action_id = v_action)) then
        raise exception 'this attempt no longer owns its effect' using errcode = 'SW005';
    end if;
end $$;
revoke all on function stateward.move_effect(text, int, text, bytea, bytea, text) from public;
revoke all on function stateward.settle_here(bytea) from public;
grant execute on function stateward.settle_here(bytea) to stateward_call;

-- Uses up the permit of an action, or finds what became of its effect. An effect that was reserved by a worker that no
-- longer lives is of unknown outcome.
drop function stateward.reserve(text, text, bigint, text);
create function stateward.reserve(p jsonb) returns stateward.transition language plpgsql as $$
declare
    a stateward.action;
    e stateward.effect;
    t stateward.transition;
begin
    select * into a from stateward.action where action_id = p ->> 'action' for update;
    if not found then
        t.answer := jsonb_build_object('outcome', 'refused', 'why', 'nobody has judged this action');
        return t;
    end if;
    select * into e from stateward.effect where action_id = a.action_id;
    if found then
        t.answer := to_jsonb(e) || jsonb_build_object('outcome', e.status);
        return t;
    end if;
    if a.status <> 'permitted' or a.arguments_digest <> p ->> 'digest' or a.effect <> 'write' then
        t.answer := jsonb_build_object('outcome', 'refused',
                                       'why', format('there is no unused permit for this action (%s)', a.status));
        return t;
    end if;
    insert into stateward.effect (action_id, thread_id, tenant, tool, key, status, worker)
    values (a.action_id, a.thread_id, a.tenant, a.tool, 'sw-' || a.action_id, 'reserved', (p ->> 'worker')::bigint);
    update stateward.action set status = 'consumed' where action_id = a.action_id;
    t.answer := '{"outcome": "new", "attempt": 1}';
    t.entries := array[stateward.says('effect.reserved', p ->> 'actor', a.action_id, a.tool,
                                      jsonb_build_object('attempt', 1, 'digest', p -> 'digest'))];
    return t;
end $$;

-- What a call was judged under.
alter table stateward.action add column labels text[] not null default '{}';

-- Records a verdict that asks nobody; one that is there already stays (promise P6). Where the permit is used up in the
-- same commit, `reserve` says by whom.
create function stateward.judge(p_thread text, p jsonb) returns stateward.transition language plpgsql as $$
declare
    v_reserve jsonb := p -> 'reserve';
    a stateward.action := jsonb_populate_record(null::stateward.action, p -> 'row');
    t stateward.transition;
begin
    insert into stateward.action (action_id, thread_id, tenant, turn, position, call_id, edit, tool, tool_digest, arguments,
                                  arguments_digest, effect, identity, idempotent, policy, policy_digest, verdict, reasons,
                                  status, response, labels, amounts)
    values (a.action_id, p_thread, a.tenant, a.turn, a.position, a.call_id, a.edit, a.tool, a.tool_digest, a.arguments,
            a.arguments_digest, a.effect, a.identity, a.idempotent, a.policy, a.policy_digest, a.verdict, a.reasons,
            case when v_reserve is null then a.status else 'consumed' end, a.response, coalesce(a.labels, '{}'), a.amounts)
    on conflict (action_id) do nothing;
    if not found then
        if v_reserve is null then
            t.answer := 'false';
            return t;
        end if;
        return stateward.reserve(v_reserve);
    end if;
    t.answer := 'true';
    t.entries := array[stateward.says(p ->> 'kind', p ->> 'actor', a.action_id, a.tool, p -> 'detail')];
    if v_reserve is not null then
        insert into stateward.effect (action_id, thread_id, tenant, tool, key, status, worker)
        values (a.action_id, p_thread, a.tenant, a.tool, 'sw-' || a.action_id, 'reserved', (v_reserve ->> 'worker')::bigint);
        t.answer := '{"outcome": "new", "attempt": 1}';
        t.entries := t.entries || stateward.says('effect.reserved', v_reserve ->> 'actor', a.action_id, a.tool,
                                                 jsonb_build_object('attempt', 1, 'digest', a.arguments_digest));
    end if;
    return t;
end $$;

-- A new attempt of an open effect; a worker with an older attempt changes nothing (promise P11).
drop function stateward.restart_effect(text, int, bigint, text);
create function stateward.restart(p jsonb) returns stateward.transition language plpgsql as $$
declare
    e stateward.effect;
    t stateward.transition;
begin
    update stateward.effect
       set status = 'reserved', attempt = attempt + 1, worker = (p ->> 'worker')::bigint, reserved_at = clock_timestamp()
     where action_id = p ->> 'action' and attempt = (p ->> 'attempt')::int and status in ('reserved', 'unknown')
    returning * into e;
    t.answer := to_jsonb(coalesce(e.attempt, 0));
    if e.attempt is not null then
        t.entries := array[stateward.says('effect.restarted', p ->> 'actor', e.action_id, e.tool,
                                          jsonb_build_object('attempt', e.attempt))];
    end if;
    return t;
end $$;

-- The call is done. The answer is what its effect is then, where this attempt still owns it.
create function stateward.settle(p jsonb) returns stateward.transition language plpgsql as $$
declare
    e stateward.effect;
    t stateward.transition;
begin
    update stateward.effect set status = 'settled', result = (p ->> 'result')::bytea, error = null, settled_at = clock_timestamp()
     where action_id = p ->> 'action' and attempt = (p ->> 'attempt')::int and status = 'reserved'
    returning * into e;
    if not found then -- people were asked already what became of it
        update stateward.effect set status = 'settled', result = (p ->> 'result')::bytea, error = null, settled_at = clock_timestamp()
         where action_id = p ->> 'action' and attempt = (p ->> 'attempt')::int and status = 'unknown'
        returning * into e;
        if found then
            t.entries := stateward.moot(e, p ->> 'actor');
        end if;
    end if;
    if e.action_id is not null then
        t.entries := stateward.says('effect.settled', p ->> 'actor', e.action_id, e.tool,
                                    jsonb_build_object('attempt', e.attempt)) || t.entries;
    else
        select * into e from stateward.effect where action_id = p ->> 'action' and attempt = (p ->> 'attempt')::int;
    end if;
    t.answer := to_jsonb(e.status);
    return t;
end $$;

-- Carries out one of the runtime's own transitions within a commit. Whoever calls it holds the thread's row, and hands it over
-- as it will be after the transitions before. What labels, answers and budgets do comes with their tables, and `transit`,
-- which says what an abandoned thread still may, with abandoning.
create function stateward.carry_out(p_thread stateward.thread, p jsonb) returns stateward.transition language plpgsql as $$
declare
    t stateward.transition;
begin
    case p ->> 'do'
        when 'judge' then
            return stateward.judge(p_thread.thread_id, p);
        when 'reserve' then
            return stateward.reserve(p);
        when 'settle' then
            return stateward.settle(p);
        when 'restart' then
            return stateward.restart(p);
        when 'read' then
            update stateward.action set status = 'consumed'
             where action_id = p ->> 'action' and effect = 'read' and status in ('permitted', 'consumed');
            t.answer := 'true';
            t.entries := array[stateward.says(p ->> 'kind', p ->> 'actor', p ->> 'action', p ->> 'tool', '{}')];
        when 'mark' then
            if p ? 'keep' then
                update stateward.thread x set keep_for = (p ->> 'keep')::bigint, idle_for = (p ->> 'idle')::bigint
                 where x.thread_id = p_thread.thread_id
                   and (x.keep_for, x.idle_for) is distinct from ((p ->> 'keep')::bigint, (p ->> 'idle')::bigint);
            end if;
            t.answer := to_jsonb(p_thread.status <> p ->> 'status');
            if p_thread.status <> p ->> 'status' then
                t.status := p ->> 'status';
                t.entries := array[stateward.says('thread.' || t.status, p ->> 'actor', null, null, '{}')];
            end if;
        when 'count' then
            return stateward.spend(p_thread, p);
        when 'leave' then
            return stateward.leave(p);
        when 'label' then
            return stateward.add_labels(p_thread.thread_id, p);
        when 'see' then
            return stateward.see(p_thread.thread_id, p);
    end case;
    return t;
end $$;

-- Makes a thread's row, or says that somebody else is making it: whoever may not wait for them leaves the thread out.
create function stateward.enrol(p_thread text) returns boolean language plpgsql set lock_timeout = '50ms' as $$
begin
    insert into stateward.checkpoint_thread (thread_id) values (p_thread) on conflict do nothing;
    return true;
exception when lock_not_available then
    return false;
end $$;

-- Whether a thread's rows may be written now: `open`, or why not. It keeps the thread's rows until the commit.
create function stateward.admit(p_thread text, p_batch uuid, p_wait boolean, out status text, out thread stateward.thread)
language plpgsql as $$
declare
    known stateward.checkpoint_thread;
begin
    status := 'busy';
    for v_try in 1..2 loop
        if p_wait then
            select * into known from stateward.checkpoint_thread where thread_id = p_thread for no key update;
        else
            select * into known from stateward.checkpoint_thread where thread_id = p_thread for no key update skip locked;
        end if;
        exit when known.thread_id is not null or v_try = 2;
        if p_wait then
            insert into stateward.checkpoint_thread (thread_id) values (p_thread) on conflict do nothing;
        elsif not stateward.enrol(p_thread) then
            return;
        end if;
    end loop;
    if known.thread_id is null then -- not FOUND: a loop that ends sets it
        return;
    end if;
    if p_wait then
        select * into thread from stateward.thread x where x.thread_id = p_thread for no key update;
    else
        select * into thread from stateward.thread x where x.thread_id = p_thread for no key update skip locked;
        if not found and exists (select from stateward.thread x where x.thread_id = p_thread) then
            return;
        end if;
    end if;
    status := case when known.erased_at is not null then 'erased' when known.batch = p_batch then 'done' else 'open' end;
end $$;

-- All that the steps of some threads leave: checkpoints, values, writes, and the runtime's own transitions.
-- A thread that may not commit is left out as a whole, and the others commit. Each list in the document holds lists, whose
-- first item is the thread's place; what is empty is left out. Bodies stand beside it, and are named by their number.
create function stateward.flush(p jsonb, p_bodies bytea[])
returns table (place int, status text, answers jsonb) language plpgsql as $$
#variable_conflict use_column
declare
    t         record;
    v_let_in  record;
    v_what    jsonb;
    v_said    jsonb;
    v_threads text[] := '{}';
    v_open    int[] := '{}';
    v_thread  stateward.thread;
    v_made    stateward.transition;
    v_changed boolean;
    v_hash    text;
    v_entry   text;
    v_ids     text[] := '{}'; -- the ledger's columns, one entry at a place
    v_seqs    bigint[] := '{}';
    v_prevs   text[] := '{}';
    v_hashes  text[] := '{}';
    v_entries text[] := '{}';
begin
    if (p ->> 'wait')::boolean then
        perform set_config('lock_timeout', '2s', true); -- whoever waits asks again, and lets others use the connection
    end if;
    for t in select (x.at - 1)::int as place, x.value ->> 0 as thread, (x.value ->> 1)::uuid as batch, x.value -> 2 as what
               from jsonb_array_elements(p -> 'threads') with ordinality as x (value, at) order by 1 loop
        v_threads := v_threads || t.thread;
        place := t.place;
        answers := '[]';
        v_let_in := stateward.admit(t.thread, t.batch, (p ->> 'wait')::boolean);
        status := v_let_in.status;
        v_thread := v_let_in.thread;
        -- heads: place, namespace, where from, where to, fork. follows: place, namespace, where it must stand.
        if status = 'open' and p ? 'heads' and exists (
            select from jsonb_array_elements(p -> 'heads') as h
              left join stateward.checkpoint_head c on c.thread_id = t.thread and c.ns = h ->> 1
             where (h ->> 0)::int = t.place and not (h ->> 4)::boolean and c.checkpoint_id is distinct from h ->> 2
        ) then
            status := 'fenced';
        end if;
        if status = 'open' and p ? 'follows' and exists (
            select from jsonb_array_elements(p -> 'follows') as f
              left join stateward.checkpoint_head c on c.thread_id = t.thread and c.ns = f ->> 1
              left join jsonb_array_elements(p -> 'heads') as h on h -> 0 = f -> 0 and h -> 1 = f -> 1
             where (f ->> 0)::int = t.place and coalesce(h ->> 3, c.checkpoint_id) is distinct from f ->> 2
        ) then
            status := 'fenced';
        end if;
        if status = 'open' then
            v_open := v_open || t.place;
            update stateward.checkpoint_thread set batch = t.batch where thread_id = t.thread;
            v_changed := false;
            for v_what in select jsonb_array_elements(t.what) loop
                v_made := stateward.transit(v_thread, v_what);
                answers := answers || jsonb_build_array(v_made.answer);
                v_thread.steps := coalesce(v_made.steps, v_thread.steps);
                v_thread.status := coalesce(v_made.status, v_thread.status);
                if v_made.entries is not null and v_thread.thread_id is null then
                    raise exception 'thread % is not known', t.thread using errcode = 'SW002';
                end if;
                foreach v_said in array coalesce(v_made.entries, '{}') loop
                    v_thread.head_seq := v_thread.head_seq + 1;
                    v_entry := stateward.placed(v_thread, v_said);
                    v_hash := encode(sha256(convert_to(v_thread.head_hash || v_entry, 'UTF8')), 'hex');
                    v_ids := v_ids || t.thread;
                    v_seqs := v_seqs || v_thread.head_seq;
                    v_prevs := v_prevs || v_thread.head_hash;
                    v_hashes := v_hashes || v_hash;
                    v_entries := v_entries || v_entry;
                    v_thread.head_hash := v_hash;
                end loop;
                v_changed := true;
            end loop;
            if v_changed then
                update stateward.thread
                   set steps = v_thread.steps, status = v_thread.status, head_seq = v_thread.head_seq,
                       head_hash = v_thread.head_hash, updated_at = clock_timestamp()
                 where thread_id = t.thread;
            end if;
            if v_thread.status = 'abandoned' then
                status := 'ended';
            end if;
        end if;
        return next;
    end loop;

    if v_ids <> '{}' then
        insert into stateward.ledger (thread_id, seq, prev, hash, entry)
        select * from unnest(v_ids, v_seqs, v_prevs, v_hashes, v_entries);
    end if;
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
end $$;

revoke all on function stateward.reserve(jsonb) from public;
revoke all on function stateward.judge(text, jsonb) from public;
revoke all on function stateward.restart(jsonb) from public;
revoke all on function stateward.settle(jsonb) from public;
revoke all on function stateward.moot(stateward.effect, text) from public;
revoke all on function stateward.carry_out(stateward.thread, jsonb) from public;
revoke all on function stateward.enrol(text) from public;
revoke all on function stateward.admit(text, uuid, boolean) from public;
revoke all on function stateward.flush(jsonb, bytea[]) from public;
