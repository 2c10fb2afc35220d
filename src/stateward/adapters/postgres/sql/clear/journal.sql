-- name: alone
-- Nobody else writes what is sealed now.
lock table stateward.action, stateward.effect, stateward.approval, stateward.signature in share row exclusive mode;

-- name: actions
-- A batch of actions in clear.
select action_id, thread_id, verdict, clear_arguments, clear_reasons, clear_response from stateward.action
 where clear_arguments is not null and action_id > %(after)s order by action_id limit %(limit)s;

-- name: seal_action
-- Puts envelopes in the place of what stood in clear.
update stateward.action
   set arguments = %(arguments)s::bytea, reasons = %(reasons)s::bytea, response = %(response)s::bytea,
       amounts = %(amounts)s::jsonb, clear_arguments = null, clear_reasons = null, clear_response = null
 where action_id = %(action_id)s;

-- name: effects
-- A batch of effects in clear.
select action_id, thread_id, status, clear_result, clear_error from stateward.effect
 where clear_error is not null and action_id > %(after)s order by action_id limit %(limit)s;

-- name: seal_effect
-- The same for an effect.
update stateward.effect
   set result = %(result)s::bytea, error = %(error)s::bytea, clear_result = null, clear_error = null
 where action_id = %(action_id)s;

-- name: approvals
-- A batch of questions in clear.
select approval_id, thread_id, clear_arguments::text as clear_arguments, clear_description, requirements
  from stateward.approval
 where clear_arguments is not null and approval_id > %(after)s order by approval_id limit %(limit)s;

-- name: seal_approval
-- The same for a question.
update stateward.approval
   set arguments = %(arguments)s::bytea, description = %(description)s::bytea, because = %(because)s::bytea,
       requirements = %(requirements)s::jsonb, clear_arguments = null, clear_description = null
 where approval_id = %(approval_id)s;

-- name: signatures
-- A batch of decisions in clear.
select s.approval_id, s.principal, a.thread_id, s.clear_reason, s.clear_arguments
  from stateward.signature s join stateward.approval a using (approval_id)
 where s.clear_reason is not null and (s.approval_id, s.principal) > (%(after)s, %(after_principal)s)
 order by s.approval_id, s.principal limit %(limit)s;

-- name: seal_signature
-- The same for a decision.
update stateward.signature
   set reason = %(reason)s::bytea, arguments = %(arguments)s::bytea, clear_reason = null, clear_arguments = null
 where approval_id = %(approval_id)s and principal = %(principal)s;
