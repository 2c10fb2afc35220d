-- Approvals that hold: who may decide, when, how many, who not and about what is checked in the statement that decides.
-- `approve/rules.py` says the same for previews; a test holds the two against each other.

-- `asking` counts how often people were asked: again for each stage, and where a question is escalated. A signature counts
-- only for the asking that it answers. `asked_at` and `expires_at` belong to the latest one.
alter table stateward.approval
    add column stage        int not null default 1,
    add column asking       int not null default 1,
    add column asked_at     timestamptz not null default clock_timestamp(),
    add column escalated_at timestamptz,
    add column remind_at    timestamptz,
    add column confirmation bytea;
-- As in 0002: sealed for its row and field.
alter table stateward.approval rename column arguments to clear_arguments;
alter table stateward.approval rename column description to clear_description;
alter table stateward.signature rename column reason to clear_reason;
alter table stateward.signature rename column arguments to clear_arguments;
alter table stateward.approval
    alter column clear_arguments drop not null,
    alter column clear_description drop not null,
    add column arguments   bytea, -- the text as the tool's arguments stand in it, in their order, for people
    add column description bytea,
    add column because     bytea; -- of each requirement, in their order: an escalation's says what happened
alter table stateward.signature
    alter column clear_reason drop not null,
    alter column clear_reason drop default,
    add column reason    bytea,
    add column arguments bytea;
alter table stateward.approval alter column arguments set storage external;
alter table stateward.signature alter column arguments set storage external;
create index approval_expiring on stateward.approval (expires_at) where status = 'pending';
create index approval_reminding on stateward.approval (remind_at) where status = 'pending' and remind_at is not null;

alter table stateward.signature
    add column asking       int not null default 1,
    add column acting_for   text,
    add column acting_roles text[] not null default '{}';

-- Who decides for whom, and until when. `roles` are those that the delegator handed over.
create table stateward.delegation (
    delegation_id text primary key,
    tenant        text not null,
    delegator     text not null,
    roles         text[] not null,
    delegate      text not null,
    since         timestamptz not null,
    until         timestamptz not null check (until > since),
    revoked_at    timestamptz,
    created_at    timestamptz not null default clock_timestamp(),
    check (delegator <> delegate)
);
create index delegation_by_delegate on stateward.delegation (tenant, delegate) where revoked_at is null;

-- Whether a rule is of the stage whose turn it is, and still open.
create function stateward.is_open(a stateward.approval, r jsonb) returns boolean language sql immutable as $$
    select coalesce((r ->> 'stage')::int, 1) = a.stage and not coalesce((r ->> 'met')::boolean, false);
$$;

-- Whether somebody counts for a rule: it names what they decide by, and excludes none of the people that they stand for.
create function stateward.counts(a stateward.approval, r jsonb, p_by text[], p_all text[])
returns boolean language sql immutable as $$
    select (r -> 'by') ?| p_by and not exists (
        select from jsonb_array_elements_text(r -> 'not') as x (name)
         where case x.name when 'requester' then a.requester when 'subject' then a.subject when 'editor' then a.editor
                           else x.name end = any (p_all));
$$;

-- How many have approved for a rule since people were asked last.
create function stateward.signed(a stateward.approval, r jsonb) returns int language sql stable as $$
    select count(*)::int from stateward.signature s
     where s.approval_id = a.approval_id and s.asking = a.asking and s.decision = 'approve'
       and stateward.counts(a, r, coalesce(s.acting_for, s.principal) || case when s.acting_for is null then s.roles
                                                                         else s.acting_roles end,
                            array[s.principal, s.acting_for] || s.roles || s.acting_roles);
$$;

create function stateward.is_met(a stateward.approval, r jsonb) returns boolean language sql stable as $$
    select stateward.signed(a, r) >= (r ->> 'of')::int;
$$;

-- The names of a list of rules' `by`, for people.
create function stateward.addressees(p_rules jsonb) returns text language sql immutable as $$
    select coalesce(string_agg(distinct x.name collate "C", ', ' order by x.name collate "C"), 'nobody')
      from jsonb_array_elements(p_rules) as r, jsonb_array_elements_text(r -> 'by') as x (name);
$$;

-- Why a decision may not be taken, or null; and for whom the person decides where that is by delegation.
create function stateward.weigh(
    a stateward.approval, p jsonb, out why text, out acting_for text, out acting_roles text[]
) language plpgsql stable as $$
declare
    v_id    text := p ->> 'principal';
    v_own   text[] := array[v_id] || array(select jsonb_array_elements_text(p -> 'roles'));
    v_kind  text := p ->> 'decision';
    v_rules jsonb := (select coalesce(jsonb_agg(r), '[]') from jsonb_array_elements(a.requirements) as r
                       where stateward.is_open(a, r));
    v_party text;
    s       stateward.signature;
    d       stateward.delegation;
begin
    why := case -- what is not said is not as it has to be: hence `is distinct from`, as null is no reason to go on
        when p ->> 'kind' is distinct from 'person' then format('%s is of the kind %s; only a person decides', v_id, p ->> 'kind')
        when p ->> 'tenant' is distinct from a.tenant then 'the approval belongs to another tenant'
        when a.status <> 'pending' then format('it is %s already', a.status)
        when clock_timestamp() >= a.expires_at then
            format('it expired at %s UTC', to_char(a.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'))
        when p ->> 'digest' is not null and p ->> 'digest' <> a.digest then
            'it asks for something else than what you were shown; look at it again'
        when v_kind is null or not v_kind = any (a.allowed) then
            format('''%s'' cannot be answered here; allowed: %s', v_kind, array_to_string(a.allowed, ', '))
        when v_kind = 'edit' and p -> 'arguments' is null then 'an edit needs the complete new arguments'
        when v_kind in ('reject', 'respond') and p ->> 'reason' is null then
            format('%s needs a reason: why, or what the answer is', v_kind)
        when v_kind = 'approve' and a.confirmation is not null and not coalesce((p ->> 'confirmed')::boolean, false) then
            'to approve it, the confirmation has to be typed'
    end;
    if why is not null then
        return;
    end if;
    select * into s from stateward.signature x
     where x.approval_id = a.approval_id and v_id in (x.principal, x.acting_for) order by x.at limit 1;
    if found then
        why := case when s.principal = v_id then format('%s has signed already; it needs different people', v_id)
                    else format('%s has signed for %s already; it needs different people', s.principal, v_id) end;
        return;
    end if;
    if exists (select from jsonb_array_elements(v_rules) as r where stateward.counts(a, r, v_own, v_own)) then
        return;
    end if;
    for d in select * from stateward.delegation x
              where x.tenant = a.tenant and x.delegate = v_id and x.revoked_at is null
                and x.since <= clock_timestamp() and x.until > clock_timestamp() order by x.delegator collate "C", x.delegation_id collate "C" loop
        if not exists (select from jsonb_array_elements(v_rules) as r where (r -> 'by') ?| (array[d.delegator] || d.roles)) then
            continue;
        end if;
        -- Through a delegation nobody decides about themselves, whatever the policy leaves open.
        if v_id in (a.requester, a.subject, a.editor)
           or exists (select from stateward.signature x
                       where x.approval_id = a.approval_id and d.delegator in (x.principal, x.acting_for))
           or not exists (select from jsonb_array_elements(v_rules) as r
                           where stateward.counts(a, r, array[d.delegator] || d.roles, v_own || d.delegator || d.roles)) then
            v_party := coalesce(v_party, d.delegator);
            continue;
        end if;
        acting_for := d.delegator;
        acting_roles := d.roles;
        return;
    end loop;
    if exists (select from jsonb_array_elements(v_rules) as r where (r -> 'by') ?| v_own) then
        why := format('%s is excluded here (segregation of duties: %s)', v_id, (
            select string_agg(distinct ('not ' || x.name) collate "C", ', ' order by ('not ' || x.name) collate "C")
              from jsonb_array_elements(v_rules) as r, jsonb_array_elements_text(r -> 'not') as x (name)
             where (r -> 'by') ?| v_own));
    elsif v_party is not null then
        why := format('%s may not decide this for %s (segregation of duties)', v_id, v_party);
    elsif exists (select from jsonb_array_elements(a.requirements) as r
                   where coalesce((r ->> 'stage')::int, 1) > a.stage and (r -> 'by') ?| v_own) then
        why := format('it is not %s''s turn yet; first it is for %s', v_id, stateward.addressees(v_rules));
    else
        why := format('%s may not decide this; it is for %s', (
            select v_id || coalesce(' (' || string_agg(r.name, ', ' order by r.name collate "C") || ')', '')
              from jsonb_array_elements_text(p -> 'roles') as r (name)), stateward.addressees(v_rules));
    end if;
end $$;

-- An entry about a question in its thread's chain.
create function stateward.note_approval(a stateward.approval, p_kind text, p_actor text, p_detail jsonb)
returns void language sql as $$
    select stateward.append(a.thread_id, p_kind, p_actor, a.action_id, a.tool,
                            p_detail || jsonb_build_object('approval', a.approval_id, 'digest', a.digest));
$$;

-- A question closes, and the action that it is about becomes what was decided.
create function stateward.close_approval(
    a stateward.approval, p_status text, p_actor text, p_response bytea, p_said text, p_detail jsonb
) returns void language plpgsql as $$
begin
    update stateward.approval set status = p_status, decided_at = clock_timestamp() where approval_id = a.approval_id;
    if a.kind in ('action', 'answer') then
        update stateward.action
           set status = case p_status when 'approved' then 'permitted' when 'edited' then 'superseded'
                                      when 'responded' then 'responded' else 'rejected' end,
               response = p_response, said = p_said,
               approvers = case when p_status = 'approved' then array(
                   select x.principal from stateward.signature x
                    where x.approval_id = a.approval_id and x.decision = 'approve' order by x.at) else '{}' end
         where action_id = a.action_id and status = 'asked';
    end if;
    perform stateward.note_approval(a, 'approval.' || p_status, p_actor, p_detail);
end $$;

-- People are asked: those of the next stage, or those whom a question is escalated to. Their time begins now.
create function stateward.ask_next(a stateward.approval, p_kind text, p_actor text) returns void language plpgsql as $$
declare
    v_rules jsonb := (select coalesce(jsonb_agg(r), '[]') from jsonb_array_elements(a.requirements) as r
                       where stateward.is_open(a, r));
begin
    update stateward.approval x
       set stage = a.stage, asking = a.asking + 1, requirements = a.requirements, escalated_at = a.escalated_at,
           asked_at = clock_timestamp(),
           expires_at = clock_timestamp()
               + (select min((r ->> 'within')::float8) from jsonb_array_elements(v_rules) as r) * interval '1 second',
           remind_at = clock_timestamp()
               + (select min((r ->> 'remind')::float8) from jsonb_array_elements(v_rules) as r) * interval '1 second'
     where x.approval_id = a.approval_id;
    perform stateward.note_approval(a, p_kind, p_actor, jsonb_build_object(
        'stage', a.stage, 'by', (select jsonb_agg(distinct x.name collate "C" order by x.name collate "C") from jsonb_array_elements(v_rules) as r,
                                        jsonb_array_elements_text(r -> 'by') as x (name))));
end $$;

-- Nobody decided in time: once it may go to those whom the policy escalates to, else it is a rejection.
create function stateward.lapse(a stateward.approval) returns text language plpgsql as $$
begin
    if a.escalated_at is null and not exists (
        select from jsonb_array_elements(a.requirements) as r
         where stateward.is_open(a, r) and not stateward.is_met(a, r) and jsonb_array_length(coalesce(r -> 'escalate', '[]')) = 0
    ) then
        -- Who has signed stays counted; whoever is asked now answers for those who did not.
        a.requirements := (
            select jsonb_agg(case
                       when not stateward.is_open(a, r) then r
                       when stateward.is_met(a, r) then r || '{"met": true}'
                       else r || jsonb_build_object('by', r -> 'escalate', 'within', r -> 'escalate_within',
                                                    'of', (r ->> 'of')::int - stateward.signed(a, r)) end order by at)
              from jsonb_array_elements(a.requirements) with ordinality as x (r, at));
        a.escalated_at := clock_timestamp();
        perform stateward.ask_next(a, 'approval.escalated', 'clock');
        return 'escalated';
    end if;
    perform stateward.close_approval(a, 'expired', 'clock', null,
        format('nobody decided before %s UTC', to_char(a.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')),
        '{"decision": "reject", "verified_by": "runtime"}');
    return 'expired';
end $$;

-- What is due by the clock, of one thread or of all: questions lapse, and people are reminded, each once, however many
-- workers look. Where it is all threads, one whose row somebody holds is left for the next time.
create function stateward.tick(p_thread text, p_limit int) returns table (approval_id text, event text) language plpgsql as $$
#variable_conflict use_column
declare
    v_due record;
    v_now timestamptz := clock_timestamp(); -- what changes while a statement runs is looked up in no index
    a     stateward.approval;
begin
    for v_due in select x.approval_id, x.thread_id from stateward.approval x
                  where x.status = 'pending' and (x.expires_at <= v_now or x.remind_at <= v_now)
                    and (p_thread is null or x.thread_id = p_thread)
                  order by x.thread_id, x.approval_id limit p_limit loop
        if p_thread is null then
            perform 1 from stateward.thread t where t.thread_id = v_due.thread_id for no key update skip locked;
            continue when not found;
        else
            perform stateward.hold(p_thread);
        end if;
        select * into a from stateward.approval x where x.approval_id = v_due.approval_id for update;
        continue when a.status <> 'pending';
        if a.expires_at <= clock_timestamp() then
            approval_id := a.approval_id;
            event := stateward.lapse(a);
            return next;
        elsif a.remind_at <= clock_timestamp() then
            update stateward.approval x
               set remind_at = a.remind_at + ceil(extract(epoch from clock_timestamp() - a.remind_at) / n.every + 1e-9) * n.every
                               * interval '1 second'
              from (select min((r ->> 'remind')::float8) as every from jsonb_array_elements(a.requirements) as r
                     where stateward.is_open(a, r)) as n
             where x.approval_id = a.approval_id;
            perform stateward.note_approval(a, 'approval.reminded', 'clock', jsonb_build_object('stage', a.stage));
            approval_id := a.approval_id;
            event := 'reminded';
            return next;
        end if;
    end loop;
end $$;

-- A question with its signatures, as JSON. Volatile: it sees what its own statement did.
create function stateward.question(p_approval text) returns json language sql volatile as $$
    select json_build_object('approval', row_to_json(a), 'signatures', coalesce(
               (select json_agg(row_to_json(s) order by s.at) from stateward.signature s
                 where s.approval_id = a.approval_id), '[]'))
      from stateward.approval a where a.approval_id = p_approval;
$$;

-- A question, once; `p` is its row. Ids are short, for people: where another question has it already, that is an error, as this one would never be asked.
create function stateward.ask(p jsonb) returns boolean language plpgsql as $$
declare
    v_asked boolean;
begin
    insert into stateward.approval (approval_id, tenant, thread_id, action_id, turn, kind, tool, arguments, description,
                                    because, requirements, allowed, digest, requester, subject, editor, stage, confirmation,
                                    expires_at, remind_at)
    values (p ->> 'approval_id', p ->> 'tenant', p ->> 'thread_id', p ->> 'action_id', p ->> 'turn', p ->> 'kind',
            p ->> 'tool', (p ->> 'arguments')::bytea, (p ->> 'description')::bytea,
            (p ->> 'because')::bytea, p -> 'requirements',
            array(select jsonb_array_elements_text(p -> 'allowed')), p ->> 'digest', p ->> 'requester', p ->> 'subject',
            p ->> 'editor', (p ->> 'stage')::int, (p ->> 'confirmation')::bytea,
            clock_timestamp() + (p ->> 'within')::float8 * interval '1 second',
            clock_timestamp() + (p ->> 'remind')::float8 * interval '1 second')
    on conflict (approval_id) do nothing;
    v_asked := found;
    if not v_asked and not exists (
        select from stateward.approval x
         where x.approval_id = p ->> 'approval_id' and x.thread_id = p ->> 'thread_id' and x.kind = p ->> 'kind'
           and x.action_id is not distinct from p ->> 'action_id'
    ) then
        raise exception 'the id % is that of another question: start this work on a thread of another name',
            p ->> 'approval_id' using errcode = 'SW007';
    end if;
    return v_asked;
end $$;

-- Takes one decision with all that follows from it, or refuses it and says why; both are in the ledger. An edit needs a
-- judgement first: without `judged` it answers with what is to be judged. Texts are sealed: `reason` for the signature,
-- `response` for the action, `refuse`, why the tool's schema refuses an edit, for the chain. Whoever calls it has opened the
-- question, whose `confirmation` never changes, and says whether it was typed.
create function stateward.decide(p jsonb) returns json language plpgsql as $$
declare
    a        stateward.approval;
    n        stateward.approval;
    w        record;
    v_kind   text := p ->> 'decision';
    v_status text;
    v_says   jsonb;
    v_detail jsonb := jsonb_build_object('decision', v_kind, 'verified_by', p ->> 'verified_by');
begin
    perform stateward.hold((select thread_id from stateward.approval where approval_id = p ->> 'approval'));
    select * into a from stateward.approval where approval_id = p ->> 'approval' for update;
    if not found then
        return json_build_object('outcome', 'unknown');
    end if;
    select * into w from stateward.weigh(a, p);
    if w.why is not null or p ? 'refuse' then
        perform stateward.note_approval(a, 'approval.refused', p ->> 'principal', v_detail || jsonb_build_object(
            'why', coalesce(to_jsonb(w.why), p -> 'refuse')));
        if a.status = 'pending' and a.expires_at <= clock_timestamp() then
            perform stateward.lapse(a);
        end if;
        return json_build_object('outcome', 'refused', 'why', w.why, 'question', stateward.question(a.approval_id));
    end if;
    if v_kind = 'edit' and p -> 'judged' is null then
        return json_build_object('outcome', 'judge', 'question', stateward.question(a.approval_id),
            'thread', (select row_to_json(t) from stateward.thread t where t.thread_id = a.thread_id),
            'action', (select row_to_json(x) from stateward.action x where x.action_id = a.action_id));
    end if;
    v_detail := v_detail || jsonb_strip_nulls(jsonb_build_object('for', w.acting_for));
    insert into stateward.signature (approval_id, principal, roles, verified_by, decision, reason, arguments, asking,
                                     acting_for, acting_roles)
    values (a.approval_id, p ->> 'principal', array(select jsonb_array_elements_text(p -> 'roles')), p ->> 'verified_by',
            v_kind, (p ->> 'reason')::bytea, (p ->> 'arguments')::bytea, a.asking, w.acting_for, coalesce(w.acting_roles, '{}'));
    perform stateward.note_approval(a, 'approval.signed', p ->> 'principal', v_detail);
    v_status := case v_kind when 'approve' then 'approved' when 'edit' then 'edited' when 'reject' then 'rejected'
                            when 'respond' then 'responded' when 'done' then 'approved' when 'retry' then 'edited'
                            when 'give_up' then 'rejected' end;
    if v_kind = 'approve' then
        if exists (select from jsonb_array_elements(a.requirements) as r
                    where stateward.is_open(a, r) and not stateward.is_met(a, r)) then
            v_status := 'pending';
        else
            a.stage := (select min(coalesce((r ->> 'stage')::int, 1)) from jsonb_array_elements(a.requirements) as r
                         where coalesce((r ->> 'stage')::int, 1) > a.stage);
            if a.stage is not null then
                v_status := 'pending';
                perform stateward.ask_next(a, 'approval.passed_on', p ->> 'principal');
            end if;
        end if;
    end if;
    if v_kind = 'edit' then
        foreach v_says in array (stateward.judge(a.thread_id, p -> 'judged')).entries loop
            perform stateward.append(a.thread_id, v_says ->> 'kind', v_says ->> 'actor', v_says ->> 'action',
                                     v_says ->> 'tool', v_says -> 'detail');
        end loop;
        if p -> 'question' is not null then
            perform stateward.ask(p -> 'question');
            select * into n from stateward.approval where approval_id = p -> 'question' ->> 'approval_id';
            perform stateward.note_approval(n, 'approval.asked', p ->> 'principal', p -> 'asked');
        end if;
    end if;
    if v_status <> 'pending' then
        perform stateward.close_approval(a, v_status, p ->> 'principal',
            (p ->> 'response')::bytea, case v_kind when 'edit' then 'edited' end, v_detail);
    end if;
    return json_build_object('outcome', 'decided', 'question', stateward.question(p ->> 'approval'));
end $$;

-- A turn as it stands at the desk: what is due is done first. Where questions are open and `p_task` is about to ask them,
-- what it shows is noted; a replay gets what was shown at first.
create function stateward.look(p_thread text, p_turn text, p_task text, p_round int) returns json language plpgsql as $$
declare
    v_pending text[];
    v_shown   stateward.shown;
begin
    perform stateward.tick(p_thread, 1000);
    v_pending := array(select approval_id from stateward.approval
                        where thread_id = p_thread and turn = p_turn and status = 'pending'
                        order by requested_at, approval_id);
    if p_task <> '' and v_pending <> '{}' then
        insert into stateward.shown (thread_id, task, round, approvals) values (p_thread, p_task, p_round, v_pending)
            on conflict (thread_id, task, round) do nothing;
        select * into v_shown from stateward.shown where thread_id = p_thread and task = p_task and round = p_round;
    end if;
    return json_build_object(
        'questions', coalesce((select json_agg(stateward.question(x.approval_id) order by x.requested_at, x.approval_id)
                                 from stateward.approval x where x.thread_id = p_thread and x.turn = p_turn), '[]'),
        'actions', coalesce((select json_agg(row_to_json(x) order by x.position, x.edit) from stateward.action x
                              where x.thread_id = p_thread and x.turn = p_turn and x.status <> 'superseded'), '[]'),
        'shown', coalesce(to_json(v_shown.approvals), '[]'));
end $$;

-- Uses up an interrupt's answer, with the decisions in it, in one transaction: false where it was used before.
-- LangGraph keeps an answer that came without an interrupt's id, and a later run without input would give it to the next
-- question, in the name of whoever starts that run: it is deleted.
create function stateward.answer(p_thread text, p_task text, p_round int, p_decisions jsonb)
returns json language plpgsql as $$
begin
    perform stateward.hold(p_thread);
    update stateward.shown set answered_at = clock_timestamp()
     where thread_id = p_thread and task = p_task and round = p_round and answered_at is null;
    if not found then
        return null;
    end if;
    delete from stateward.checkpoint_write
     where thread_id = p_thread and task_id = '00000000-0000-0000-0000-000000000000' and channel = '__resume__';
    return coalesce((select json_agg(stateward.decide(x.value) order by x.at)
                       from jsonb_array_elements(p_decisions) with ordinality as x (value, at)), '[]');
end $$;

-- What happens at the desk beside any piece of work stands in a chain of its own, one for each tenant.
create function stateward.note_desk(p_tenant text, p_kind text, p_actor text, p_detail jsonb) returns void
language plpgsql as $$
begin
    insert into stateward.thread (thread_id, tenant, principal, roles, requester, purpose, subject, graph, graph_version)
    values ('desk:' || p_tenant, p_tenant, 'desk', '{}', 'desk', 'approvals', 'none', 'desk', '')
        on conflict (thread_id) do nothing;
    perform stateward.append('desk:' || p_tenant, p_kind, p_actor, null, null, p_detail);
end $$;

-- One person hands their right to decide to another for a time, or is refused; both are in the ledger. Nobody hands over
-- what they do not have themselves: a right that they were handed is none of their own names.
create function stateward.delegate(p jsonb) returns json language plpgsql as $$
declare
    v_since timestamptz := coalesce((p ->> 'since')::timestamptz, clock_timestamp());
    v_until timestamptz := (p ->> 'until')::timestamptz;
    v_why   text;
    v_grant jsonb := jsonb_build_object('from', p ->> 'delegator', 'to', p ->> 'delegate', 'roles', p -> 'roles',
                                        'since', v_since, 'until', v_until, 'verified_by', p ->> 'verified_by');
    d       stateward.delegation;
begin
    v_why := case
        when p ->> 'kind' is distinct from 'person' then format('%s is a %s; only a person delegates', p ->> 'by', p ->> 'kind')
        when p ->> 'by' is distinct from p ->> 'delegator' then
            format('%s may hand over their own right only, not that of %s', p ->> 'by', p ->> 'delegator')
        when not coalesce((p -> 'held') @> (p -> 'roles'), false) then format('%s does not have all of these roles', p ->> 'by')
        when p ->> 'delegate' = p ->> 'delegator' then 'it needs somebody else to delegate to'
        when v_until <= greatest(v_since, clock_timestamp()) then 'it would end before it begins'
    end;
    if v_why is not null then
        perform stateward.note_desk(p ->> 'tenant', 'delegation.refused', p ->> 'by', v_grant || jsonb_build_object('why', v_why));
        return json_build_object('why', v_why);
    end if;
    insert into stateward.delegation (delegation_id, tenant, delegator, roles, delegate, since, until)
    values (p ->> 'id', p ->> 'tenant', p ->> 'delegator', array(select jsonb_array_elements_text(p -> 'roles')),
            p ->> 'delegate', v_since, v_until)
    returning * into d;
    perform stateward.note_desk(d.tenant, 'delegation.granted', d.delegator, v_grant || jsonb_build_object('id', d.delegation_id));
    return json_build_object('delegation', row_to_json(d));
end $$;

-- Either of the two ends a delegation, at once; it says why not.
create function stateward.revoke_delegation(p jsonb) returns json language plpgsql as $$
declare
    d     stateward.delegation;
    v_why text;
begin
    select * into d from stateward.delegation where delegation_id = p ->> 'id' for update;
    v_why := case
        when d.delegation_id is null or d.tenant is distinct from p ->> 'tenant' then format('there is no delegation %s', p ->> 'id')
        when p ->> 'kind' is distinct from 'person' or coalesce(p ->> 'by', '') not in (d.delegator, d.delegate) then
            format('%s is neither of the two people', p ->> 'by')
        when d.revoked_at is not null then 'it was revoked already'
    end;
    if v_why is not null then
        perform stateward.note_desk(p ->> 'tenant', 'delegation.refused', p ->> 'by',
                                    jsonb_build_object('id', p ->> 'id', 'why', v_why));
        return json_build_object('why', v_why);
    end if;
    update stateward.delegation set revoked_at = clock_timestamp() where delegation_id = d.delegation_id returning * into d;
    perform stateward.note_desk(d.tenant, 'delegation.revoked', p ->> 'by', jsonb_build_object('id', d.delegation_id));
    return json_build_object('delegation', row_to_json(d));
end $$;

revoke all on function stateward.is_open(stateward.approval, jsonb) from public;
revoke all on function stateward.counts(stateward.approval, jsonb, text[], text[]) from public;
revoke all on function stateward.signed(stateward.approval, jsonb) from public;
revoke all on function stateward.is_met(stateward.approval, jsonb) from public;
revoke all on function stateward.addressees(jsonb) from public;
revoke all on function stateward.weigh(stateward.approval, jsonb) from public;
revoke all on function stateward.note_approval(stateward.approval, text, text, jsonb) from public;
revoke all on function stateward.close_approval(stateward.approval, text, text, bytea, text, jsonb) from public;
revoke all on function stateward.ask_next(stateward.approval, text, text) from public;
revoke all on function stateward.lapse(stateward.approval) from public;
revoke all on function stateward.tick(text, int) from public;
revoke all on function stateward.question(text) from public;
revoke all on function stateward.ask(jsonb) from public;
revoke all on function stateward.decide(jsonb) from public;
revoke all on function stateward.look(text, text, text, int) from public;
revoke all on function stateward.answer(text, text, int, jsonb) from public;
revoke all on function stateward.note_desk(text, text, text, jsonb) from public;
revoke all on function stateward.delegate(jsonb) from public;
revoke all on function stateward.revoke_delegation(jsonb) from public;
