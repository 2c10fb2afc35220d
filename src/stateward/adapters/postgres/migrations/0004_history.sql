-- What conditions ask of the past, correct for everybody who judges at once; and the policies that have judged.

-- `cleared_at`: when the action was last held against the history, under the lock, and found good. From then on it counts
-- as done. Only actions of tools whose rules read the history have it.
alter table stateward.action add column cleared_at timestamptz;
create index action_cleared on stateward.action (tenant, tool, cleared_at) where cleared_at is not null;
create index action_by_tool on stateward.action (tenant, tool, created_at);

-- Calls of a tool since a moment, of one scope: how many, the sum of an argument, and how long ago the last one was.
-- What is done counts from when it was reserved or cleared; what waits for people, or for its turn, from when it was
-- judged, and only where that is asked for. The sum is null where a value is no number that can be added up, is not kept
-- in clear, or is too large: a cast that fails would fail whoever judges this tool.
create function stateward.usage(
    p_tenant text, p_tool text, p_scope text, p_value text, p_argument text, p_since timestamptz, p_now timestamptz,
    p_waiting boolean, p_excluding text[]
) returns table (calls bigint, total float8, age interval) language sql stable as $$
    with found as (
        select e.thread_id, x.amounts, e.reserved_at as at
          from stateward.effect e join stateward.action x using (action_id)
         where e.tenant = p_tenant and e.tool = p_tool and e.reserved_at > p_since
           and e.status in ('reserved', 'settled', 'unknown') and e.action_id <> all (p_excluding)
         union all
        select a.thread_id, a.amounts, a.cleared_at
          from stateward.action a
         where a.tenant = p_tenant and a.tool = p_tool and a.cleared_at > p_since
           and (a.status = 'permitted' or (a.status = 'consumed' and a.effect = 'read'))
           and a.action_id <> all (p_excluding)
         union all
        select a.thread_id, a.amounts, a.created_at
          from stateward.action a
         where a.tenant = p_tenant and a.tool = p_tool and a.created_at > p_since and a.cleared_at is null
           and ((a.status in ('asked', 'permitted') and p_waiting) or (a.status = 'consumed' and a.effect = 'read'))
           and a.action_id <> all (p_excluding)
    ), counted as (
        select f.at, coalesce(f.amounts ? p_argument
                                or (f.amounts ? '' and p_argument !~ '^[A-Za-z_][A-Za-z0-9_]{0,63}$'), false) as there, f.amounts ->> p_argument as said,
               f.amounts ->> p_argument ~ '^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?\s*$'
               and length(f.amounts ->> p_argument) <= 400 as good
          from found f
         where p_scope = 'tenant' or (p_scope = 'thread' and f.thread_id = p_value)
            or (p_scope = 'subject' and exists (select from stateward.thread t
                                                 where t.thread_id = f.thread_id and t.subject = p_value))
            or (p_scope = 'principal' and exists (select from stateward.thread t
                                                   where t.thread_id = f.thread_id and t.principal = p_value))
    ), summed as (
        select count(*) as calls, coalesce(bool_and(coalesce(c.good, false) or not c.there), true) as good,
               coalesce(sum(case when c.good then c.said::numeric end), 0) as total, p_now - max(c.at) as age
          from counted c
    )
    select s.calls, case when s.good and abs(s.total) < 1.7e308 then s.total::float8 end, s.age from summed s
$$;

-- Whoever judges by the history of a scope, or adds to it, waits here for those before them; until the end of the
-- transaction nobody else does. Taken after the thread's row, and always in this order.
create function stateward.queue(p_tenant text, p_tool text, p_principal text, p_subject text, p_scopes text[])
returns void language plpgsql as $$
declare
    v_scope text;
    v_key   bigint;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'history needs transactions of the level read committed' using errcode = 'SW006';
    end if;
    perform set_config('lock_timeout', '15s', true);
    foreach v_scope in array array['tenant', 'principal', 'subject'] loop
        v_key := hashtextextended(jsonb_build_array(p_tenant, p_tool, v_scope, case v_scope
            when 'principal' then p_principal when 'subject' then p_subject end)::text, 0);
        if v_scope = any (p_scopes) then
            perform pg_advisory_xact_lock(v_key);
        else
            perform pg_advisory_xact_lock_shared(v_key); -- who reads this scope has to see what is added here
        end if;
    end loop;
end $$;

-- The usage for each query, in order; where it is to hold, after the lock. The queries are lists: scope, argument, seconds.
create function stateward.history(
    p_hold boolean, p_thread text, p_tenant text, p_tool text, p_principal text, p_subject text, p_queries jsonb,
    p_waiting boolean, p_excluding text[]
) returns table (calls bigint, total float8, age interval) language plpgsql as $$
declare
    v_now timestamptz;
begin
    if p_hold then
        perform stateward.queue(p_tenant, p_tool, p_principal, p_subject,
                                array(select q ->> 0 from jsonb_array_elements(p_queries) as q));
    end if;
    v_now := clock_timestamp();
    return query
        select u.calls, u.total, u.age
          from jsonb_array_elements(p_queries) with ordinality as q (value, at)
         cross join lateral stateward.usage(
                p_tenant, p_tool, q.value ->> 0,
                case q.value ->> 0 when 'thread' then p_thread when 'principal' then p_principal
                                   when 'subject' then p_subject end,
                coalesce(q.value ->> 1, ''), v_now - make_interval(secs => (q.value ->> 2)::float8), v_now,
                p_waiting, p_excluding) as u
         order by q.at;
end $$;

revoke all on function stateward.usage(text, text, text, text, text, timestamptz, timestamptz, boolean, text[]) from public;
revoke all on function stateward.queue(text, text, text, text, text[]) from public;
revoke all on function stateward.history(boolean, text, text, text, text, text, jsonb, boolean, text[]) from public;
