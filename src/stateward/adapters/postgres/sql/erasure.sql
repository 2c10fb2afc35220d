-- name: begin
-- Begins to erase a subject, or finds the erasure that was begun.
select stateward.begin_erasure(%(id)s, %(tenant)s, %(subject)s, %(by)s, %(verified_by)s) as erasure;

-- name: threads_left
-- The subject's threads that are not erased yet, one batch.
select t.thread_id from stateward.thread t join stateward.erasure e using (tenant, subject)
 where e.erasure_id = %(erasure)s and e.finished_at is null and t.erased_at is null and t.thread_id <> 'desk:' || t.tenant
 order by t.thread_id limit 100;

-- name: erase_thread
-- Erases one thread, in one transaction.
select stateward.erase_thread(%(erasure)s, %(thread)s, %(by)s);

-- name: erase_memory
-- Deletes memory of the subject, one batch; how many rows.
select stateward.erase_memory(%(erasure)s, %(batch)s) as erased;

-- name: erasure
-- What is known of an erasure, and the server's time.
select *, clock_timestamp() as now from stateward.erasure where erasure_id = %(erasure)s;

-- name: erased_threads
-- The threads that an erasure has erased, and what it took from each.
select thread_id, counts from stateward.erased_thread where erasure_id = %(erasure)s order by thread_id;

-- name: finish
-- Ends an erasure with its receipt; false where something has come to be meanwhile.
select stateward.finish_erasure(%(erasure)s, %(finished)s, %(receipt)s, %(seal)s) as done;

-- name: threads_over
-- Threads that have ended, or have been idle for so long that they count as ended, and whose time is over too, but for those that this sweep has left, one batch, those that have
-- waited longest first.
select t.thread_id from stateward.thread t
 where t.keep_for is not null and t.erased_at is null and stateward.after(t.created_at, t.keep_for) <= now()
   and t.thread_id <> all (%(left)s::text[]) and stateward.is_over(t)
   and not exists (select from stateward.legal_hold h where h.tenant = t.tenant and h.subject = t.subject)
 order by stateward.after(t.created_at, t.keep_for) limit 100;

-- name: expire_thread
-- Empties one of them, in one transaction; false where it is left for another time.
select stateward.expire_thread(%(thread)s) as done;

-- name: vault_tenants
-- The tenants that can have a vault of pseudonyms: there is none without a key.
select distinct tenant from stateward.subject_key order by tenant;

-- name: vaults
-- The subjects of a tenant that come after one and have a vault, one batch, and whether nothing of it is kept any longer. In
-- the collation of this table no index of the others would serve.
with batch as (
    select distinct subject from stateward.subject_key
     where tenant = %(tenant)s and subject > %(after)s order by subject limit %(batch)s)
select subject,
       subject in (select stateward.unkept(%(tenant)s, array(select subject collate "default" from batch))) as is_over
  from batch order by subject;

-- name: expire_vault
-- Deletes one of them, in one transaction; false where it is left for another time.
select stateward.expire_vault(%(tenant)s, %(subject)s) as done;

-- name: count
-- The threads that there are of a subject.
select count(*) as threads, count(*) filter (where status = 'waiting') as waiting,
       count(*) filter (where status = 'open') as running
  from stateward.thread
 where tenant = %(tenant)s and subject = %(subject)s and erased_at is null and thread_id <> 'desk:' || tenant;

-- name: count_memory
-- How many items of memory, former versions included, and pseudonyms, in a transaction of the tenant.
select (select count(*) from stateward.memory where tenant = %(tenant)s and subject = %(subject)s)
     + (select count(*) from stateward.memory_version where tenant = %(tenant)s and subject = %(subject)s) as items,
       (select count(*) from stateward.pseudonym where tenant = %(tenant)s and subject = %(subject)s) as pseudonyms;

-- name: receipts
-- The receipts of a subject, oldest first.
select receipt, seal from stateward.erasure
 where tenant = %(tenant)s and subject = %(subject)s and finished_at is not null order by finished_at, erasure_id;

-- name: place_hold
-- Keeps all that is known of a subject; false where it was on hold before.
select stateward.place_hold(%(tenant)s, %(subject)s, %(reason)s, %(by)s, %(verified_by)s) as done;

-- name: end_hold
-- Ends a hold; false where there was none.
select stateward.end_hold(%(tenant)s, %(subject)s, %(by)s, %(verified_by)s) as done;

-- name: holds
-- The subjects on legal hold, oldest first.
select tenant, subject, reason, placed_by as by, since from stateward.legal_hold
 where %(tenant)s::text is null or tenant = %(tenant)s
 order by since, subject;

-- name: note_export
-- Somebody was given all that is known of a subject.
select stateward.note_desk(%(tenant)s, 'subject.exported', %(by)s, jsonb_build_object(
    'subject', encode(sha256(convert_to(%(subject)s::text, 'UTF8')), 'hex'), 'verified_by', %(verified_by)s::text));

-- name: memory_of
-- All that is remembered of a subject, for whatever purpose, former versions included.
select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
       expires_at, labels
  from stateward.memory where tenant = %(tenant)s and subject = %(subject)s
union all
select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
       expires_at, labels
  from stateward.memory_version where tenant = %(tenant)s and subject = %(subject)s
 order by purpose, namespace, key, version;
