-- name: insert_approval
-- Asks people; the same question asked again stays as it was.
insert into stateward.approval (approval_id, tenant, thread_id, action_id, turn, kind, tool, arguments, description,
                                requirements, allowed, digest, requester, subject, editor, expires_at)
values (%(approval_id)s, %(tenant)s, %(thread)s, %(action_id)s, %(turn)s, %(kind)s, %(tool)s, %(arguments)s::json,
        %(description)s, %(requirements)s::jsonb, %(allowed)s, %(digest)s, %(requester)s, %(subject)s, %(editor)s,
        clock_timestamp() + %(within)s::interval)
on conflict (approval_id) do nothing
returning approval_id;

-- name: approval
-- One approval with its signatures.
select a.*, coalesce((select jsonb_agg(to_jsonb(s) order by s.at) from stateward.signature s
                       where s.approval_id = a.approval_id), '[]'::jsonb) as signatures
  from stateward.approval a where a.approval_id = %(approval_id)s;

-- name: lock_approval
-- Holds the approval while it is decided, and its thread's row before it.
select a.approval_id, clock_timestamp() as now
  from (select stateward.hold(x.thread_id) from stateward.approval x where x.approval_id = %(approval_id)s) as held
  join stateward.approval a on a.approval_id = %(approval_id)s
   for update of a;

-- name: approvals
-- The inbox: by tenant, thread and status, oldest first.
select a.*, coalesce((select jsonb_agg(to_jsonb(s) order by s.at) from stateward.signature s
                       where s.approval_id = a.approval_id), '[]'::jsonb) as signatures
  from stateward.approval a
 where (%(tenant)s::text is null or a.tenant = %(tenant)s)
   and (%(thread)s::text is null or a.thread_id = %(thread)s)
   and (%(turn)s::text is null or a.turn = %(turn)s)
   and (%(status)s::text is null or a.status = %(status)s)
 order by a.requested_at, a.approval_id;

-- name: sign
-- A decision with its author; a second one by the same person changes nothing.
insert into stateward.signature (approval_id, principal, roles, verified_by, decision, reason, arguments)
values (%(approval_id)s, %(principal)s, %(roles)s, %(verified_by)s, %(decision)s, %(reason)s, %(arguments)s::jsonb)
on conflict (approval_id, principal) do nothing
returning principal;

-- name: close_approval
-- The decision is taken, once.
update stateward.approval set status = %(status)s, decided_at = clock_timestamp()
 where approval_id = %(approval_id)s and status = 'pending'
returning approval_id;

-- name: overdue
-- Questions that nobody answered in time.
select approval_id from stateward.approval
 where status = 'pending' and expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp())
 order by expires_at;

-- name: show
-- Notes what an interrupt shows; a replay does not change it.
insert into stateward.shown (thread_id, task, round, approvals)
values (%(thread)s, %(task)s, %(round)s, %(approvals)s)
on conflict (thread_id, task, round) do nothing;

-- name: shown
-- What an interrupt showed at first.
select approvals from stateward.shown where thread_id = %(thread)s and task = %(task)s and round = %(round)s;

-- name: take_answer
-- Uses up an interrupt's answer; nothing comes back for one that was used before.
update stateward.shown set answered_at = clock_timestamp()
 where thread_id = %(thread)s and task = %(task)s and round = %(round)s and answered_at is null
returning round;

-- name: forget_answer
-- LangGraph keeps an answer that came without an interrupt's id, and a later run without input would give it to the
-- next question, in the name of whoever starts that run.
delete from stateward.checkpoint_write
 where thread_id = %(thread)s and task_id = '00000000-0000-0000-0000-000000000000' and channel = '__resume__';
