-- name: enter
-- From here to the end of the transaction, memory is that of one tenant. The statements below find nothing without it. A
-- plan for any prefix and any limit would sort all items of a subject, so that each search gets its own.
select stateward.as_tenant(%(tenant)s), set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: change
-- Writes and deletes items with their ledger entries; the version of each, in order.
select stateward.change_memory(%(changes)s::jsonb) as versions;

-- name: get_item
-- One item that has not expired; reading changes nothing.
select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
       expires_at, labels, null::float8 as score
  from stateward.memory
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s
   and place = stateward.place(%(namespace)s::text[]) and key = %(key)s and expires_at > clock_timestamp();

-- name: newest_items
-- Items below a namespace that fulfil a filter, newest first.
select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
       expires_at, labels, null::float8 as score
  from stateward.memory
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s
   and starts_with(place, stateward.place(%(namespace)s::text[])) and expires_at > clock_timestamp()
   and (%(filter)s::jsonpath is null or value @? %(filter)s::jsonpath)
 order by updated_at desc, place, key
 limit %(limit)s offset %(offset)s;

-- name: items_by_words
-- Items below a namespace that fulfil a filter and hold some of the words, best match first.
select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
       expires_at, labels, ts_rank(search, stateward.any_word(%(query)s))::float8 as score
  from stateward.memory
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s
   and starts_with(place, stateward.place(%(namespace)s::text[])) and expires_at > clock_timestamp()
   and (%(filter)s::jsonpath is null or value @? %(filter)s::jsonpath)
   and search @@ stateward.any_word(%(query)s)
 order by score desc, updated_at desc, place, key
 limit %(limit)s offset %(offset)s;

-- name: versions
-- What an item has said before and may still be kept, newest first.
select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
       expires_at, labels, null::float8 as score
  from stateward.memory_version
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s
   and place = stateward.place(%(namespace)s::text[]) and key = %(key)s and expires_at > clock_timestamp()
 order by version desc;

-- name: namespaces
-- The namespaces that hold something.
select distinct namespace from stateward.memory
 where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s and expires_at > clock_timestamp()
 order by namespace;

-- name: tenants
-- The tenants that can have memory: nothing is remembered but on a thread.
select distinct tenant from stateward.thread order by tenant;

-- name: sweep
-- Deletes what has expired of a tenant, one batch; how many rows.
select stateward.sweep_memory(%(tenant)s, %(batch)s) as swept;
