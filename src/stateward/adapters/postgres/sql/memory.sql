-- name: enter
-- From here to the end of the transaction, memory is that of one tenant.
select stateward.as_tenant(%(tenant)s);

-- name: change
-- Writes and deletes items with their ledger entries; the version of each, in order.
select stateward.change_memory(%(changes)s::jsonb) as versions;

-- name: get_item
-- One item that has not expired; reading changes nothing.
select * from stateward.find_item(%(tenant)s, %(subject)s, %(purpose)s, %(namespace)s::text[], %(key)s);

-- name: items
-- Items below a namespace that fulfil a filter and hold some of the words, best match first; without words newest first.
select * from stateward.find_items(%(tenant)s, %(subject)s, %(purpose)s, %(namespace)s::text[], %(part)s::jsonb,
                                   %(filter)s::jsonpath, %(limit)s, %(offset)s, %(query)s);

-- name: items_by_both
-- The same by words and by meaning in one ranking.
select * from stateward.find_by_both(%(tenant)s, %(subject)s, %(purpose)s, %(namespace)s::text[], %(part)s::jsonb,
                                     %(filter)s::jsonpath, %(limit)s, %(offset)s, %(query)s, %(vector)s::real[]);

-- name: versions
-- What an item has said before and may still be kept, newest first.
select * from stateward.find_versions(%(tenant)s, %(subject)s, %(purpose)s, %(namespace)s::text[], %(key)s);

-- name: namespaces
-- The namespaces that hold something.
select namespace from stateward.find_namespaces(%(tenant)s, %(subject)s, %(purpose)s) as namespace;

-- name: recall_by_meaning
-- Makes pgvector available, where the server has it and it is not there yet.
create extension if not exists vector;

-- name: tenants
-- The tenants that can have memory: nothing is remembered but on a thread.
select distinct tenant from stateward.thread order by tenant;

-- name: sweep
-- Deletes what has expired of a tenant, one batch; how many rows.
select stateward.sweep_memory(%(tenant)s, %(batch)s) as swept;
