-- name: put_item
-- Writes an item; a new value counts the version up and starts its retention anew. It carries its thread's labels.
insert into stateward.memory as m (tenant, subject, namespace, key, kind, purpose, value, source, expires_at, labels)
values (%(tenant)s, %(subject)s, %(namespace)s, %(key)s, %(kind)s, %(purpose)s, %(value)s::jsonb, %(source)s,
        clock_timestamp() + %(keep)s::interval,
        array(select l.label from stateward.thread_label l where l.thread_id = %(source)s
              union select unnest(%(labels)s::text[]) order by 1))
on conflict (tenant, subject, purpose, namespace, key) do update
   set value = excluded.value, kind = excluded.kind, source = excluded.source, version = m.version + 1,
       created_at = case when m.expires_at <= clock_timestamp() then clock_timestamp() else m.created_at end,
       updated_at = clock_timestamp(), expires_at = excluded.expires_at, labels = excluded.labels
returning version, labels;

-- name: get_item
-- One item that has not expired; reading changes nothing.
select * from stateward.memory
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s
   and namespace = %(namespace)s and key = %(key)s and expires_at > clock_timestamp();

-- name: delete_item
-- Removes one item.
delete from stateward.memory
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s
   and namespace = %(namespace)s and key = %(key)s
returning key;

-- name: search_items
-- Items below a namespace that have not expired, best match first where words are given, else newest first.
select *, case when %(query)s::text is null then 0
               else ts_rank(search, plainto_tsquery('simple', %(query)s)) end as rank
  from stateward.memory
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s
   and namespace[1:cardinality(%(prefix)s::text[])] = %(prefix)s::text[]
   and (%(query)s::text is null or search @@ plainto_tsquery('simple', %(query)s))
   and expires_at > clock_timestamp()
 order by rank desc, updated_at desc, key;

-- name: namespaces
-- The namespaces that hold something.
select distinct namespace from stateward.memory
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s and expires_at > clock_timestamp()
 order by namespace;

-- name: sweep
-- Deletes what has expired, in batches; an item that is being written anew has not.
delete from stateward.memory
 where expires_at <= statement_timestamp()
   and ctid = any (array(select ctid from stateward.memory where expires_at <= statement_timestamp()
                          order by expires_at limit 1000 for update skip locked));
