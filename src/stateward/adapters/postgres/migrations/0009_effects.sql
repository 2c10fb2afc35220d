-- Abandoning a thread: what waits is withdrawn, nothing new may act, and what was done is taken back, each effect once.

-- The settled action that this one takes back; no other takes it back too. It is never set by a planner's call.
alter table stateward.action add column undoes text references stateward.action;
create unique index action_undoes on stateward.action (undoes) where undoes is not null;

alter table stateward.approval drop constraint approval_status_check;
alter table stateward.approval add constraint approval_status_check
    check (status in ('pending', 'approved', 'edited', 'rejected', 'responded', 'expired', 'withdrawn'));

-- Takes a thread's row as `hold` does, and says what its status is from then on.
create function stateward.held(p_thread text) returns text language plpgsql as $$
begin
    perform stateward.hold(p_thread);
    return (select status from stateward.thread where thread_id = p_thread);
end $$;

-- Ends a thread, once: questions that wait are withdrawn, decided by nobody, and permits that were not used are void. What
-- nobody knows the outcome of still waits for people.
create function stateward.abandon(p_thread text, p_actor text, p_detail jsonb) returns boolean language plpgsql as $$
declare
    a stateward.approval;
    x stateward.action;
begin
    if stateward.held(p_thread) = 'abandoned' then
        return false;
    end if;
    update stateward.thread set status = 'abandoned' where thread_id = p_thread;
    perform stateward.append(p_thread, 'thread.abandoned', p_actor, null, null, p_detail);
    for a in update stateward.approval set status = 'withdrawn', decided_at = clock_timestamp()
              where thread_id = p_thread and status = 'pending' and kind <> 'outcome' returning * loop
        perform stateward.append(p_thread, 'approval.withdrawn', p_actor, a.action_id, a.tool,
                                 jsonb_build_object('approval', a.approval_id, 'digest', a.digest));
    end loop;
    for x in update stateward.action set status = 'abandoned', said = 'the work was abandoned'
              where thread_id = p_thread and status in ('asked', 'permitted') returning * loop
        perform stateward.append(p_thread, 'action.withdrawn', p_actor, x.action_id, x.tool,
                                 '{"why": "the work was abandoned"}');
    end loop;
    return true;
end $$;

-- Says, once, what came of taking back an abandoned thread's effects.
create function stateward.conclude(p_thread text, p_actor text, p_detail jsonb) returns boolean language plpgsql as $$
begin
    perform stateward.hold(p_thread);
    if exists (select from stateward.ledger where thread_id = p_thread and kind = 'thread.compensated') then
        return false;
    end if;
    perform stateward.append(p_thread, 'thread.compensated', p_actor, null, null, p_detail);
    return true;
end $$;

-- Whether a transition would act in an abandoned thread. What takes an effect back may; what became of an effect may be
-- asked, and a receipt that is under way still arrives. It is told by the rows: ids of turns come from clients.
create function stateward.is_late(p jsonb) returns boolean language sql stable as $$
    select case p ->> 'do'
               when 'judge' then p -> 'reserve' is not null
               when 'reserve' then not exists (select from stateward.effect where action_id = p ->> 'action')
               else p ->> 'do' = 'restart' end
       and not exists (select from stateward.action
                        where action_id = coalesce(p ->> 'action', p -> 'row' ->> 'action_id') and undoes is not null);
$$;

-- One of the runtime's own transitions within a commit, as `carry_out` takes it. In an abandoned thread nothing new acts, and
-- it keeps its status.
create function stateward.transit(p_thread stateward.thread, p jsonb) returns stateward.transition language plpgsql as $$
declare
    t stateward.transition;
begin
    if p_thread.status = 'abandoned' then
        if stateward.is_late(p) then
            if p ->> 'do' = 'judge' then
                -- As void as the permits that were withdrawn: limits do not count what can never happen.
                t := stateward.judge(p_thread.thread_id, jsonb_set(p - 'reserve', '{row,status}', '"abandoned"'));
            end if;
            t.answer := '{"outcome": "late"}';
            return t;
        elsif p ->> 'do' = 'mark' then
            t.answer := 'false';
            return t;
        end if;
    end if;
    return stateward.carry_out(p_thread, p);
end $$;

revoke all on function stateward.held(text) from public;
revoke all on function stateward.abandon(text, text, jsonb) from public;
revoke all on function stateward.conclude(text, text, jsonb) from public;
revoke all on function stateward.is_late(jsonb) from public;
revoke all on function stateward.transit(stateward.thread, jsonb) from public;
