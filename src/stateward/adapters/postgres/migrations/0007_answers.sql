-- Answers that are judged and approved before they leave, and budgets of tokens, money and time.

alter table stateward.thread
    add column tokens bigint not null default 0,
    add column usd numeric not null default 0;

-- An answer is an action that nothing performs: neither a reservation nor a read can use up its permit.
alter table stateward.action
    drop constraint action_effect_check,
    add constraint action_effect_check check (effect in ('read', 'write', 'answer'));
alter table stateward.approval
    drop constraint approval_kind_check,
    add constraint approval_kind_check check (kind in ('action', 'answer', 'outcome', 'escalation'));

-- Adds to what a thread has used up; the answer is how much that is by now, where the caller wants to be told. `seconds`
-- are those since it was opened. `flush` writes the steps with the rest of the thread's row.
create function stateward.spend(p_thread stateward.thread, p jsonb) returns stateward.transition language plpgsql as $$
declare
    t stateward.transition;
begin
    t.steps := p_thread.steps + coalesce((p ->> 'steps')::bigint, 0);
    if p ? 'tokens' or p ? 'usd' then
        update stateward.thread
           set tokens = tokens + coalesce((p ->> 'tokens')::bigint, 0), usd = usd + coalesce((p ->> 'usd')::numeric, 0)
         where thread_id = p_thread.thread_id;
    end if;
    if p ? 'tell' then
        t.answer := (select jsonb_build_object('steps', t.steps, 'tokens', x.tokens, 'usd', x.usd::text,
                                               'seconds', extract(epoch from clock_timestamp() - x.created_at))
                       from stateward.thread x where x.thread_id = p_thread.thread_id);
    end if;
    return t;
end $$;

-- An answer leaves: its permit is used up, once.
create function stateward.leave(p jsonb) returns stateward.transition language plpgsql as $$
declare
    a stateward.action;
    t stateward.transition;
begin
    update stateward.action set status = 'consumed'
     where action_id = p ->> 'action' and effect = 'answer' and status = 'permitted'
    returning * into a;
    t.answer := to_jsonb(found);
    if found then
        t.entries := array[stateward.says('answer.left', p ->> 'actor', a.action_id, a.tool,
                                          jsonb_build_object('digest', a.arguments_digest))];
    end if;
    return t;
end $$;

revoke all on function stateward.spend(stateward.thread, jsonb) from public;
revoke all on function stateward.leave(jsonb) from public;
