-- Answers that are judged and approved before they leave, and budgets of tokens, money and time.

alter table stateward.thread
    add column tokens bigint not null default 0,
    add column usd numeric not null default 0;

-- Adds to what a thread has used up, and says how much that is by now; `seconds` are those since it was opened.
create function stateward.spend(p_thread text, p jsonb) returns jsonb language plpgsql as $$
declare
    v_spent jsonb;
begin
    update stateward.thread
       set steps = steps + coalesce((p ->> 'steps')::bigint, 0),
           tokens = tokens + coalesce((p ->> 'tokens')::bigint, 0),
           usd = usd + coalesce((p ->> 'usd')::numeric, 0)
     where thread_id = p_thread
    returning jsonb_build_object('steps', steps, 'tokens', tokens, 'usd', usd::text,
                                 'seconds', extract(epoch from clock_timestamp() - created_at)) into v_spent;
    return v_spent;
end $$;

revoke all on function stateward.spend(text, jsonb) from public;

-- One of the runtime's own transitions within a commit; the answer is what the caller has to know of it.
create or replace function stateward.transit(p_thread text, p jsonb) returns jsonb language plpgsql as $$
declare
    v_row jsonb := p -> 'row';
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
            return stateward.spend(p_thread, p);
    end case;
end $$;
