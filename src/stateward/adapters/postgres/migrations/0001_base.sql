-- The first schema: threads, the ledger, actions, effects, approvals, memory.
-- Every transition goes through a function that writes the change and its ledger entry together.

create table stateward.thread (
    thread_id     text primary key,
    tenant        text not null,
    principal     text not null,
    roles         text[] not null,
    requester     text not null,
    purpose       text not null,
    subject       text not null,
    graph         text not null,
    graph_version text not null,
    status        text not null default 'open'
                  check (status in ('open', 'waiting', 'answered', 'escalated', 'abandoned')),
    steps         bigint not null default 0,
    head_seq      bigint not null default 0,
    head_hash     text not null default repeat('0', 64),
    created_at    timestamptz not null default clock_timestamp(),
    updated_at    timestamptz not null default clock_timestamp()
);
create index thread_by_subject on stateward.thread (tenant, subject, created_at);

-- `entry` is the exact text that was hashed; the searchable columns are generated from it and cannot disagree with it.
create table stateward.ledger (
    thread_id text not null references stateward.thread,
    seq       bigint not null check (seq > 0),
    prev      text not null,
    hash      text not null,
    entry     text not null,
    kind      text not null generated always as ((entry::jsonb) ->> 'kind') stored,
    actor     text not null generated always as ((entry::jsonb) ->> 'actor') stored,
    action_id text generated always as ((entry::jsonb) ->> 'action') stored,
    tool      text generated always as ((entry::jsonb) ->> 'tool') stored,
    primary key (thread_id, seq)
);
create index ledger_by_kind on stateward.ledger (kind, tool);
create index ledger_by_action on stateward.ledger (action_id);

create function stateward.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is append-only: % is refused', lower(tg_op) using errcode = 'SW001';
end $$;
create trigger ledger_is_append_only before update or delete on stateward.ledger
    for each row execute function stateward.refuse_change();
create trigger ledger_is_never_emptied before truncate on stateward.ledger
    for each statement execute function stateward.refuse_change();

create function stateward.append(
    p_thread text, p_kind text, p_actor text, p_action text, p_tool text, p_detail jsonb
) returns bigint language plpgsql as $$
declare
    v_seq   bigint;
    v_prev  text;
    v_entry text;
    v_hash  text;
begin
    -- Not `for update`: whoever inserts a row that refers to the thread shares its key, and two such would deadlock here.
    select head_seq + 1, head_hash into v_seq, v_prev
      from stateward.thread where thread_id = p_thread for no key update;
    if not found then
        raise exception 'thread % is not known', p_thread using errcode = 'SW002';
    end if;
    v_entry := jsonb_build_object(
        'v', 1, 'thread', p_thread, 'seq', v_seq,
        'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'kind', p_kind, 'actor', p_actor, 'action', p_action, 'tool', p_tool,
        'detail', coalesce(p_detail, '{}'::jsonb))::text;
    v_hash := encode(sha256(convert_to(v_prev || v_entry, 'UTF8')), 'hex');
    insert into stateward.ledger (thread_id, seq, prev, hash, entry) values (p_thread, v_seq, v_prev, v_hash, v_entry);
    update stateward.thread set head_seq = v_seq, head_hash = v_hash, updated_at = clock_timestamp()
     where thread_id = p_thread;
    return v_seq;
end $$;

create table stateward.action (
    action_id        text primary key,
    thread_id        text not null references stateward.thread,
    tenant           text not null,
    turn             text not null,
    position         int not null,
    call_id          text not null,
    edit             int not null default 0,
    tool             text not null,
    tool_digest      text not null,
    arguments        jsonb not null,
    arguments_digest text not null,
    effect           text not null check (effect in ('read', 'write')),
    identity         text,
    idempotent       boolean not null,
    policy           text not null,
    policy_digest    text not null,
    verdict          text not null check (verdict in ('allow', 'deny', 'ask')),
    reasons          jsonb not null,
    status           text not null check (status in ('denied', 'asked', 'permitted', 'rejected', 'responded',
                                                     'superseded', 'consumed', 'abandoned')),
    response         text not null default '',
    approvers        text[] not null default '{}',
    created_at       timestamptz not null default clock_timestamp()
);
create index action_by_turn on stateward.action (thread_id, turn, position);

create table stateward.effect (
    action_id   text primary key references stateward.action,
    thread_id   text not null references stateward.thread,
    tenant      text not null,
    tool        text not null,
    key         text not null unique,
    status      text not null check (status in ('reserved', 'settled', 'failed', 'unknown', 'abandoned')),
    attempt     int not null default 1,
    worker      bigint not null,
    arguments   jsonb not null,
    result      jsonb,
    error       text not null default '',
    reserved_at timestamptz not null default clock_timestamp(),
    settled_at  timestamptz
);
create index effect_by_tool on stateward.effect (tenant, tool, reserved_at);
create index effect_open on stateward.effect (thread_id) where status in ('reserved', 'unknown');

create table stateward.approval (
    approval_id  text primary key,
    tenant       text not null,
    thread_id    text not null references stateward.thread,
    action_id    text references stateward.action,
    turn         text not null,
    kind         text not null check (kind in ('action', 'outcome', 'escalation')),
    tool         text not null,
    arguments    json not null,  -- json keeps the order of the tool's own arguments, for people
    description  text not null,
    requirements jsonb not null,
    allowed      text[] not null,
    digest       text not null,
    requester    text not null,
    subject      text not null,
    editor       text,
    status       text not null default 'pending'
                 check (status in ('pending', 'approved', 'edited', 'rejected', 'responded', 'expired')),
    requested_at timestamptz not null default clock_timestamp(),
    expires_at   timestamptz not null,
    decided_at   timestamptz
);
create index approval_inbox on stateward.approval (tenant, requested_at) where status = 'pending';
create index approval_by_turn on stateward.approval (thread_id, turn);

create table stateward.signature (
    approval_id text not null references stateward.approval,
    principal   text not null,
    roles       text[] not null,
    verified_by text not null,
    decision    text not null,
    reason      text not null default '',
    arguments   jsonb,
    at          timestamptz not null default clock_timestamp(),
    primary key (approval_id, principal)
);

-- What one interrupt showed, and whether its answer has been used: a replayed resume decides nothing.
create table stateward.shown (
    thread_id   text not null references stateward.thread,
    task        text not null,
    round       int not null,
    approvals   text[] not null,
    answered_at timestamptz,
    primary key (thread_id, task, round)
);

create table stateward.memory (
    tenant     text not null,
    subject    text not null,
    namespace  text[] not null,
    key        text not null,
    kind       text not null,
    purpose    text not null,
    value      jsonb not null,
    source     text not null,
    version    bigint not null default 1,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    search     tsvector not null generated always as (jsonb_to_tsvector('simple', value, '["string", "numeric"]')) stored,
    primary key (tenant, subject, purpose, namespace, key)
);
create index memory_search on stateward.memory using gin (search);
create index memory_expiry on stateward.memory (expires_at);

-- Reserving uses up the permit; an effect that was reserved by a worker that no longer lives is of unknown outcome.
create function stateward.reserve(p_action text, p_digest text, p_worker bigint, p_actor text)
returns table (outcome text, attempt int, key text, result jsonb, error text, worker bigint)
language plpgsql as $$
declare
    a stateward.action;
    e stateward.effect;
begin
    select * into a from stateward.action where action_id = p_action for update;
    if not found then
        return query select 'refused', 0, '', null::jsonb, 'nobody has judged this action', 0::bigint;
        return;
    end if;
    select * into e from stateward.effect x where x.action_id = p_action;
    if found then
        return query select e.status, e.attempt, e.key, e.result, e.error, e.worker;
        return;
    end if;
    if a.status <> 'permitted' or a.arguments_digest <> p_digest or a.effect <> 'write' then
        return query select 'refused', 0, '', null::jsonb,
                            format('there is no unused permit for this action (%s)', a.status), 0::bigint;
        return;
    end if;
    insert into stateward.effect (action_id, thread_id, tenant, tool, key, status, worker, arguments)
    values (p_action, a.thread_id, a.tenant, a.tool, 'sw-' || p_action, 'reserved', p_worker, a.arguments)
    returning * into e;
    update stateward.action set status = 'consumed' where action_id = p_action;
    perform stateward.append(a.thread_id, 'effect.reserved', p_actor, p_action, a.tool,
                             jsonb_build_object('attempt', 1, 'digest', p_digest));
    return query select 'new'::text, e.attempt, e.key, e.result, e.error, e.worker;
end $$;

-- The one way from an open effect to another state. A worker with an older attempt changes nothing (P11).
create function stateward.move_effect(
    p_action text, p_attempt int, p_status text, p_result jsonb, p_error text, p_actor text
) returns boolean language plpgsql as $$
declare
    e stateward.effect;
begin
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

create function stateward.restart_effect(p_action text, p_attempt int, p_worker bigint, p_actor text)
returns int language plpgsql as $$
declare
    e stateward.effect;
begin
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

-- Roles that live for one call. The group may settle its own effect and nothing else of ours.
do $$
begin
    if not exists (select from pg_roles where rolname = 'stateward_call') then
        create role stateward_call nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;  -- another database of this server was migrated at the same moment
end $$;

create function stateward.mint(p_user text, p_role text, p_verifier text, p_seconds int)
returns void language plpgsql as $$
begin
    -- Neither it, nor a role that its members may become, has more than plain privileges or owns what is ours.
    if not exists (select from pg_roles where rolname = p_role and not rolcanlogin)
       or exists (select from pg_roles r
                   where (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls
                          or r.rolname like 'pg\_%' or r.oid = (select nspowner from pg_namespace where nspname = 'stateward'))
                     and pg_has_role(p_role, r.oid, 'member')) then
        raise exception 'role % does not exist, or is not a plain group role', p_role using errcode = 'SW003';
    end if;
    execute format('create role %I login nosuperuser nocreatedb nocreaterole password %L valid until %L in role %I, stateward_call',
                   p_user, p_verifier, clock_timestamp() + make_interval(secs => p_seconds), p_role);
end $$;

create function stateward.unmint(p_user text) returns void language plpgsql as $$
begin
    if p_user !~ '^stateward_call_[0-9a-f]{32}_[0-9]+' then
        raise exception '% is not a role of one call', p_user using errcode = 'SW003';
    end if;
    execute format('drop role if exists %I', p_user);
end $$;

-- Roles that a crash left behind have long expired; they are dropped at the next start.
create function stateward.sweep_roles() returns int language plpgsql as $$
declare
    r record;
    n int := 0;
begin
    for r in select rolname from pg_roles
              where rolname ~ '^stateward_call_[0-9a-f]{32}_[0-9]+' and rolvaliduntil < clock_timestamp() loop
        begin
            execute format('drop role if exists %I', r.rolname);
            n := n + 1;
        exception when others then
            null;  -- somebody else dropped it, or it is still connected: the next start tries again
        end;
    end loop;
    return n;
end $$;

-- Called by a tool's own connection, inside the tool's transaction: settled exactly when what it wrote is committed.
create function stateward.settle_here(p_result jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, stateward as $$
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
    if not stateward.move_effect(v_action, v_attempt, 'settled', p_result, '',
               (select t.principal from stateward.action a join stateward.thread t using (thread_id)
                 where a.action_id = v_action)) then
        raise exception 'this attempt no longer owns its effect' using errcode = 'SW005';
    end if;
end $$;

revoke all on function stateward.settle_here(jsonb) from public;
revoke all on function stateward.mint(text, text, text, int) from public;
revoke all on function stateward.unmint(text) from public;
revoke all on function stateward.sweep_roles() from public;
revoke all on function stateward.append(text, text, text, text, text, jsonb) from public;
revoke all on function stateward.move_effect(text, int, text, jsonb, text, text) from public;
revoke all on function stateward.reserve(text, text, bigint, text) from public;
revoke all on function stateward.restart_effect(text, int, bigint, text) from public;
grant usage on schema stateward to stateward_call;
grant execute on function stateward.settle_here(jsonb) to stateward_call;
