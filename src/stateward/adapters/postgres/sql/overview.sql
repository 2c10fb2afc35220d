-- name: threads
-- A page of the threads that somebody may see, newest first: those of their tenant that they asked for, act in, are named
-- in a question of, themselves or by a delegation, or have signed one of; all of their tenant where they may read everything.
select t.*, extract(epoch from clock_timestamp() - t.created_at)::float8 as seconds from stateward.thread t
 where t.tenant = %(tenant)s
   and (%(everything)s
        or %(id)s in (t.requester, t.principal)
        or exists (select from stateward.approval a
                    where a.thread_id = t.thread_id
                      and (exists (select from jsonb_array_elements(a.requirements) r
                                    where r -> 'by' ?| (%(names)s::text[] || array(
                                        select unnest(d.roles || d.delegator) from stateward.delegation d
                                         where d.tenant = %(tenant)s and d.delegate = %(id)s and d.revoked_at is null
                                           and d.since <= clock_timestamp() and d.until > clock_timestamp())))
                           or exists (select from stateward.signature s
                                       where s.approval_id = a.approval_id and s.principal = %(id)s))))
   and (%(thread)s::text is null or t.thread_id = %(thread)s)
   and (%(status)s::text is null or t.status = %(status)s)
   and (%(graph)s::text is null or t.graph = %(graph)s)
   and (%(subject)s::text is null or t.subject = %(subject)s)
   and (%(after)s::text is null
        or (t.created_at, t.thread_id) < (select l.created_at, l.thread_id from stateward.thread l
                                           where l.thread_id = %(after)s and l.tenant = %(tenant)s))
 order by t.created_at desc, t.thread_id desc
 limit %(limit)s;

-- name: approvals
-- A page of the questions that somebody may see, oldest first: those of their tenant that name them or whose right they were handed, whose work they
-- asked for, or that they have signed; all of their tenant where they may read everything.
select stateward.question(a.approval_id) as found
  from stateward.approval a
 where a.tenant = %(tenant)s
   and (%(everything)s
        or a.requester = %(id)s
        or exists (select from jsonb_array_elements(a.requirements) r where r -> 'by' ?| (%(names)s::text[] || array(
                                        select unnest(d.roles || d.delegator) from stateward.delegation d
                                         where d.tenant = %(tenant)s and d.delegate = %(id)s and d.revoked_at is null
                                           and d.since <= clock_timestamp() and d.until > clock_timestamp())))
        or exists (select from stateward.signature s
                    where s.approval_id = a.approval_id and s.principal = %(id)s))
   and (%(approval)s::text is null or a.approval_id = %(approval)s)
   and (%(thread)s::text is null or a.thread_id = %(thread)s)
   and (%(status)s::text is null or a.status = %(status)s)
   and (%(after)s::text is null
        or (a.requested_at, a.approval_id) > (select l.requested_at, l.approval_id from stateward.approval l
                                               where l.approval_id = %(after)s and l.tenant = %(tenant)s))
 order by a.requested_at, a.approval_id
 limit %(limit)s;

-- name: actions
-- A page of a thread's actions, or one of them by its id, in the order in which they were judged, each with its effect.
select a.*, e.status as effect_status, e.result as effect_result, e.error as effect_error, e.attempt as effect_attempt,
       e.settled_at as effect_settled_at
  from stateward.action a left join stateward.effect e using (action_id)
 where (%(thread)s::text is null or a.thread_id = %(thread)s)
   and (%(action_id)s::text is null or a.action_id = %(action_id)s)
   and (%(after)s::text is null
        or (a.created_at, a.action_id) > (select l.created_at, l.action_id from stateward.action l
                                           where l.action_id = %(after)s and l.thread_id = a.thread_id))
 order by a.created_at, a.action_id
 limit %(limit)s;

-- name: entries
-- A page of a thread's ledger, in the order of its chain.
select thread_id, seq, prev, hash, entry from stateward.ledger
 where thread_id = %(thread)s and seq > %(after)s
 order by seq
 limit %(limit)s;
