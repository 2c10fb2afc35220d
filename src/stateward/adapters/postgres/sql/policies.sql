-- name: keep_policy
-- Keeps a policy where it is new, and says which others have the same name and version.
with kept as (
    insert into stateward.policy (policy_digest, label, document)
    values (%(digest)s, %(label)s, %(document)s::json)
    on conflict do nothing
)
select policy_digest from stateward.policy where label = %(label)s and policy_digest <> %(digest)s
 order by first_used_at;

-- name: find_policy
-- A policy by its digest.
select document from stateward.policy where policy_digest = %(digest)s;

-- name: others_of
-- Which other policies that have judged have this name and version.
select policy_digest from stateward.policy where label = %(label)s and policy_digest <> %(digest)s
 order by first_used_at;

-- name: same_names
-- The names and versions that more than one policy has judged under.
select label, array_agg(policy_digest order by first_used_at) as digests
  from stateward.policy group by label having count(*) > 1 order by label;

-- name: judgements
-- A page of recorded actions with what they were judged by, oldest first: the first verdict on each, from the ledger.
select a.*, t.principal, t.roles, t.requester, t.purpose, t.subject, t.graph, l.entry::jsonb -> 'detail' as detail
  from stateward.action a
  join stateward.thread t using (thread_id)
  join lateral (select entry from stateward.ledger
                 where ledger.action_id = a.action_id and ledger.thread_id = a.thread_id
                   and ledger.kind in ('action.allowed', 'action.denied', 'action.asked',
                                     'answer.allowed', 'answer.denied', 'answer.asked')
                 order by seq limit 1) l on true
 where (%(action_id)s::text is null or a.action_id = %(action_id)s)
   and (%(graph)s::text is null or t.graph = %(graph)s)
   and (%(seconds)s::float8 is null or a.created_at > clock_timestamp() - make_interval(secs => %(seconds)s::float8))
   and (%(after)s::text is null
        or (a.created_at, a.action_id) > (select p.created_at, p.action_id from stateward.action p
                                           where p.action_id = %(after)s))
 order by a.created_at, a.action_id
 limit %(limit)s;
