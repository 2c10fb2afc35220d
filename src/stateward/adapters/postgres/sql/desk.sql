-- name: ask
-- Asks people; the same question asked again stays as it was.
select stateward.ask(%(question)s::jsonb) as asked;

-- name: question
-- One question with its signatures.
select stateward.question(%(approval)s) as found;

-- name: asked
-- What some decisions are about.
select stateward.question(approval_id) as found from stateward.approval where approval_id = any (%(approvals)s::text[]);

-- name: waiting
-- How many questions wait.
select count(*) as waiting from stateward.approval where status = 'pending';

-- name: questions
-- The inbox: by tenant, thread and status, oldest first.
select stateward.question(a.approval_id) as found
  from stateward.approval a
 where (%(tenant)s::text is null or a.tenant = %(tenant)s)
   and (%(thread)s::text is null or a.thread_id = %(thread)s)
   and (%(turn)s::text is null or a.turn = %(turn)s)
   and (%(status)s::text is null or a.status = %(status)s)
 order by a.requested_at, a.approval_id;

-- name: awaited
-- The turn of the last question that is open in a thread, that its run waits for, or that a task of it has shown; or of
-- the last write that was begun and has not ended.
select turn from (
    select a.turn, a.requested_at as at
      from stateward.thread t join stateward.approval a using (thread_id)
     where t.thread_id = %(thread)s
       and (t.status = 'waiting' or a.status = 'pending'
            or exists (select from stateward.shown s
                        where s.thread_id = t.thread_id and s.task = %(task)s and a.approval_id = any (s.approvals)))
    union all
    select a.turn, e.reserved_at
      from stateward.effect e join stateward.action a using (action_id)
     where e.thread_id = %(thread)s and e.status in ('reserved', 'unknown')
) as found
 order by at desc
 limit 1;

-- name: decide
-- Takes one decision with all that follows from it, or refuses it and says why.
select stateward.decide(%(decision)s::jsonb) as said;

-- name: tick
-- Does what is due by the clock, and says what that was, with the questions as they are now.
select t.event, stateward.question(t.approval_id) as found from stateward.tick(null, %(limit)s) as t;

-- name: look
-- A turn as it stands: its questions, its actions, and what the interrupt of a task shows.
select stateward.look(%(thread)s, %(turn)s, %(task)s, %(round)s) as seen;

-- name: answer
-- Uses up an interrupt's answer with the decisions in it; null where it was used before.
select stateward.answer(%(thread)s, %(task)s, %(round)s, %(decisions)s::jsonb) as said;

-- name: delegate
-- Hands a person's right to decide to another for a time, or refuses it and says why.
select stateward.delegate(%(grant)s::jsonb) as said;

-- name: revoke_delegation
-- Ends a delegation, or refuses it and says why.
select stateward.revoke_delegation(%(revocation)s::jsonb) as said;

-- name: delegations
-- The delegations that hold now or later, by tenant and by either person.
select row_to_json(d) as found from stateward.delegation d
 where d.revoked_at is null and d.until > clock_timestamp()
   and (%(tenant)s::text is null or d.tenant = %(tenant)s)
   and (%(person)s::text is null or %(person)s in (d.delegator, d.delegate))
 order by d.since, d.delegation_id;
