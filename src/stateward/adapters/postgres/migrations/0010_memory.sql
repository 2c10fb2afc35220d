-- Memory that obeys: tenants kept apart by the database, versions, legal hold.
--
-- A function in SQL that holds a sub-query, or says that it is immutable and is not, is no part of the statement that calls
-- it: Postgres starts it anew each time. Such functions are in plpgsql here, which keeps its plans.

-- Whoever reads or writes memory with a login that row-level security does not bind steps down to this role first.
do $$
begin
    if not exists (select from pg_roles where rolname = 'stateward_memory') then
        create role stateward_memory nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;  -- another database of this server was migrated at the same moment
end $$;

-- A namespace as one text that the database can look up under row-level security: every label is followed by a mark that
-- no label holds, so that the beginning of a namespace is the beginning of its text.
create function stateward.place(p_namespace text[]) returns text language plpgsql immutable as $$
begin
    return case when cardinality(p_namespace) = 0 then '' else array_to_string(p_namespace, chr(31)) || chr(31) end;
end $$;

-- An operator that is not proven to leak nothing is held against a row only after its tenant was. An index for words would
-- never be used like that: words are looked for among the items of one subject and purpose, which the key finds.
drop index stateward.memory_search;
alter table stateward.memory
    add column place       text collate "C" not null generated always as (stateward.place(namespace)) stored,
    add column sensitivity text,
    add column action      text,
    add column embedding   real[], -- in the row of its text, so that neither can be without the other
    drop constraint memory_pkey,
    add primary key (tenant, subject, purpose, place, key),
    add constraint memory_is_of_somebody check (tenant <> '' and subject <> '' and purpose <> '' and kind <> '') not valid;
alter table stateward.memory alter column embedding set storage external;
create index memory_by_recency on stateward.memory (tenant, subject, purpose, updated_at desc, place, key);

-- What an item said before, until that would have expired.
create table stateward.memory_version (
    tenant      text not null,
    subject     text not null,
    purpose     text not null,
    place       text collate "C" not null,
    key         text not null,
    version     bigint not null,
    namespace   text[] not null,
    kind        text not null,
    value       jsonb not null,
    source      text not null,
    action      text,
    sensitivity text,
    labels      text[] not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    expires_at  timestamptz not null,
    replaced_at timestamptz not null default clock_timestamp(),
    primary key (tenant, subject, purpose, place, key, version)
);
create index memory_version_expiry on stateward.memory_version (expires_at);

-- Whoever is bound, the owner of the tables too, sees and writes the rows of the tenant that the transaction names, and
-- no row where it names none.
alter table stateward.memory enable row level security, force row level security;
alter table stateward.memory_version enable row level security, force row level security;
create policy memory_of_tenant on stateward.memory
    using (tenant = nullif(current_setting('stateward.tenant', true), ''));
create policy memory_of_tenant on stateward.memory_version
    using (tenant = nullif(current_setting('stateward.tenant', true), ''));
grant usage on schema stateward to stateward_memory;
grant select, insert, update, delete on stateward.memory, stateward.memory_version to stateward_memory;

-- Until when nothing about a subject may be deleted.
create table stateward.legal_hold (
    tenant    text not null,
    subject   text not null,
    reason    text not null,
    placed_by text not null,
    since     timestamptz not null default clock_timestamp(),
    primary key (tenant, subject)
);

-- From here to the end of the transaction, memory is that of one tenant.
create function stateward.as_tenant(p_tenant text) returns void language plpgsql as $$
begin
    perform set_config('stateward.tenant', p_tenant, true);
    if not row_security_active('stateward.memory'::regclass) then
        perform set_config('role', 'stateward_memory', true);
    end if;
end $$;

-- From here on, no tenant's.
create function stateward.as_nobody() returns void language plpgsql as $$
begin
    perform set_config('role', 'none', true);
    perform set_config('stateward.tenant', '', true);
end $$;

-- Until the end of the transaction no hold is placed in the tenant: whoever deletes looks for holds after it. Taken after
-- the thread's row.
create function stateward.keep_holds(p_tenant text) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('stateward.hold ' || p_tenant, 0));
end $$;

-- Whether a thread's subject is on hold, to the end of the transaction.
create function stateward.is_held(p_thread text) returns boolean language plpgsql as $$
begin
    perform stateward.keep_holds((select tenant from stateward.thread where thread_id = p_thread));
    return exists (select from stateward.thread t join stateward.legal_hold h using (tenant, subject)
                    where t.thread_id = p_thread);
end $$;

-- What an item has said is kept until it would have expired; where its subject is on hold, whenever that is.
create function stateward.retire(p_item stateward.memory, p_held boolean) returns void language plpgsql as $$
begin
    insert into stateward.memory_version (tenant, subject, purpose, place, key, version, namespace, kind, value, source,
                                          action, sensitivity, labels, created_at, updated_at, expires_at)
    select p_item.tenant, p_item.subject, p_item.purpose, p_item.place, p_item.key, p_item.version, p_item.namespace,
           p_item.kind, p_item.value, p_item.source, p_item.action, p_item.sensitivity, p_item.labels, p_item.created_at,
           p_item.updated_at, p_item.expires_at
     where p_held or p_item.expires_at > clock_timestamp();
end $$;

-- The texts of a JSON array. Of one, as most namespaces have, without a query.
create function stateward.texts(p jsonb) returns text[] language plpgsql immutable as $$
begin
    if jsonb_array_length(p) = 1 then
        return array[p ->> 0];
    end if;
    return array(select jsonb_array_elements_text(p));
end $$;

-- Labels of a thread and of an item, each once, in order.
create function stateward.joined(p_labels text[], p_more jsonb) returns text[] language plpgsql immutable as $$
begin
    if p_labels = '{}' and coalesce(p_more, '[]') = '[]' then
        return '{}';
    end if;
    return array(select unnest(p_labels) union select jsonb_array_elements_text(p_more) order by 1);
end $$;

-- The embedding of a change, where it has one.
create function stateward.vector_of(c jsonb) returns real[] language plpgsql immutable as $$
begin
    if c ? 'embedding' then
        return array(select e::text::real from jsonb_array_elements(c -> 'embedding') as e);
    end if;
    return null;
end $$;

-- Whether a change can be the first of its item: it writes, expects no version, and no change before it in its batch is of
-- the same item.
create function stateward.may_be_new(c jsonb) returns boolean language sql immutable as $$
    select c -> 'value' is not null and coalesce(c ->> 'version', '0') = '0' and not c ? 'again';
$$;

-- One change of an item within `change_memory`; its version, and null where there was nothing to delete. What may be new is
-- inserted first (`p_new`), as most items are, and looked for where that fails.
create function stateward.change_item(p jsonb, c jsonb, p_labels text[], p_held boolean, p_new boolean) returns bigint
language plpgsql as $$
declare
    v_tenant    text := p ->> 'tenant';
    v_subject   text := p ->> 'subject';
    v_purpose   text := p ->> 'purpose';
    v_key       text := c ->> 'key';
    v_namespace text[] := stateward.texts(c -> 'namespace');
    v_place     text := stateward.place(v_namespace);
    v_now       timestamptz := clock_timestamp();
    v_until     timestamptz := v_now + make_interval(secs => (c ->> 'keep')::float8);
    v_labels    text[] := stateward.joined(p_labels, c -> 'labels');
    v_embedding real[] := stateward.vector_of(c);
    v_version   bigint;
    m           stateward.memory;
begin
    loop
        if p_new then
            insert into stateward.memory (tenant, subject, purpose, namespace, key, kind, value, source, action,
                                          sensitivity, version, created_at, updated_at, expires_at, labels, embedding)
            values (v_tenant, v_subject, v_purpose, v_namespace, v_key, c ->> 'kind', c -> 'value', p ->> 'thread',
                    c ->> 'action', c ->> 'sensitivity',
                    -- Its number goes on where former versions are kept longer than it was.
                    1 + coalesce((select max(x.version) from stateward.memory_version x
                                   where x.tenant = v_tenant and x.subject = v_subject and x.purpose = v_purpose
                                     and x.place = v_place and x.key = v_key), 0),
                    v_now, v_now, v_until, v_labels, v_embedding)
                on conflict do nothing returning version into v_version;
            if v_version is not null then
                return v_version;
            end if;
        end if;
        select * into m from stateward.memory x
         where x.tenant = v_tenant and x.subject = v_subject and x.purpose = v_purpose and x.place = v_place
           and x.key = v_key for update;
        if c ->> 'version' is not null
           and (c ->> 'version')::bigint <> coalesce(case when m.expires_at > v_now then m.version end, 0) then
            raise exception 'version % was expected, and it is %', c ->> 'version',
                  coalesce(case when m.expires_at > v_now then m.version end, 0) using errcode = 'SW006';
        end if;
        if c -> 'value' is null then
            if m.key is not null then
                if p_held then
                    perform stateward.retire(m, true);
                else
                    delete from stateward.memory_version x
                     where x.tenant = v_tenant and x.subject = v_subject and x.purpose = v_purpose and x.place = v_place
                       and x.key = v_key;
                end if;
                delete from stateward.memory x
                 where x.tenant = v_tenant and x.subject = v_subject and x.purpose = v_purpose and x.place = v_place
                   and x.key = v_key;
            end if;
            return case when m.expires_at > v_now then m.version end;
        end if;
        if m.key is not null then
            perform stateward.retire(m, p_held);
            update stateward.memory x
               set kind = c ->> 'kind', value = c -> 'value', source = p ->> 'thread', action = c ->> 'action',
                   sensitivity = c ->> 'sensitivity', version = m.version + 1, updated_at = v_now,
                   created_at = case when m.expires_at > v_now then m.created_at else v_now end,
                   expires_at = v_until, labels = v_labels, embedding = v_embedding
             where x.tenant = v_tenant and x.subject = v_subject and x.purpose = v_purpose and x.place = v_place
               and x.key = v_key;
            return m.version + 1;
        end if;
        p_new := true; -- it is not there, or somebody else has deleted it at this moment
    end loop;
end $$;

-- What a change of memory says in the ledger.
create function stateward.told(p jsonb, c jsonb, p_version bigint, p_labels text[]) returns jsonb
language sql stable as $$
    select case when c -> 'value' is null
        then stateward.says('memory.deleted', p ->> 'actor', c ->> 'action', null, jsonb_build_object('item', c -> 'item'))
        else stateward.says('memory.written', p ->> 'actor', c ->> 'action', null,
            coalesce(c -> 'note', '{}') || jsonb_strip_nulls(jsonb_build_object(
                'kind', c -> 'kind', 'item', c -> 'item', 'version', p_version, 'sensitivity', c -> 'sensitivity',
                'labels', to_jsonb(nullif(stateward.joined(p_labels, c -> 'labels'), '{}'))))) end;
$$;

-- Those of the changes that are the first one of an item that is not there yet, written at once; the version of each change,
-- 0 where it goes by itself.
create function stateward.add_items(p jsonb, p_labels text[]) returns bigint[] language plpgsql as $$
declare
    v_changes  jsonb := p -> 'changes';
    v_tenant   text := p ->> 'tenant';
    v_subject  text := p ->> 'subject';
    v_purpose  text := p ->> 'purpose';
    v_thread   text := p ->> 'thread';
    v_places   text[];
    v_keys     text[];
    v_made     bigint[];
begin
    with given as (
        select x.at, x.c, stateward.texts(x.c -> 'namespace') as namespace, clock_timestamp() as now
          from jsonb_array_elements(v_changes) with ordinality as x (c, at)
         where stateward.may_be_new(x.c)
    ), made as (
        insert into stateward.memory (tenant, subject, purpose, namespace, key, kind, value, source, action, sensitivity,
                                      version, created_at, updated_at, expires_at, labels, embedding)
        select v_tenant, v_subject, v_purpose, g.namespace, g.c ->> 'key', g.c ->> 'kind', g.c -> 'value', v_thread,
               g.c ->> 'action', g.c ->> 'sensitivity',
               -- Its number goes on where former versions are kept longer than it was.
               1 + coalesce((select max(v.version) from stateward.memory_version v
                              where v.tenant = v_tenant and v.subject = v_subject and v.purpose = v_purpose
                                and v.place = stateward.place(g.namespace) and v.key = g.c ->> 'key'), 0),
               g.now, g.now, g.now + make_interval(secs => (g.c ->> 'keep')::float8),
               stateward.joined(p_labels, g.c -> 'labels'), stateward.vector_of(g.c)
          from given g order by g.at
            on conflict do nothing
     returning memory.place, memory.key, memory.version)
    select array_agg(m.place), array_agg(m.key), array_agg(m.version) into v_places, v_keys, v_made from made m;
    -- In whatever order they come back: where all are there in the same version, as is usual, it does not matter.
    if cardinality(v_made) = jsonb_array_length(v_changes) and v_made[1] = all (v_made) then
        return v_made;
    end if;
    return array(
        select coalesce(m.version, 0)
          from jsonb_array_elements(v_changes) with ordinality as x (c, at)
          left join unnest(v_places, v_keys, v_made) as m (place, key, version)
            on m.place = stateward.place(stateward.texts(x.c -> 'namespace')) and m.key = x.c ->> 'key'
               and stateward.may_be_new(x.c)
         order by x.at);
end $$;

-- The entries of a batch of changes, at the end of the chain that stands at `p_seq` and `p_hash`.
create function stateward.tell(
    p jsonb, p_changes jsonb, p_versions bigint[], p_labels text[], p_seq bigint, p_hash text
) returns void language plpgsql as $$
declare
    v_thread  text := p ->> 'thread';
    v_seqs    bigint[] := '{}'; -- the ledger's columns, one entry at a place
    v_prevs   text[] := '{}';
    v_hashes  text[] := '{}';
    v_entries text[] := '{}';
    v_entry   text;
    c         jsonb;
begin
    for v_at in 1 .. cardinality(p_versions) loop
        if p_versions[v_at] is not null then
            p_seq := p_seq + 1;
            c := p_changes -> (v_at - 1);
            v_entry := stateward.entry(v_thread, p_seq, stateward.told(p, c, p_versions[v_at], p_labels));
            v_seqs := v_seqs || p_seq;
            v_prevs := v_prevs || p_hash;
            p_hash := encode(sha256(convert_to(p_hash || v_entry, 'UTF8')), 'hex');
            v_hashes := v_hashes || p_hash;
            v_entries := v_entries || v_entry;
        end if;
    end loop;
    insert into stateward.ledger (thread_id, seq, prev, hash, entry)
    select v_thread, unnest(v_seqs), unnest(v_prevs), unnest(v_hashes), unnest(v_entries);
    update stateward.thread set head_seq = p_seq, head_hash = p_hash, updated_at = clock_timestamp()
     where thread_id = v_thread;
end $$;

-- All changes of a batch with their ledger entries, or none. First what is new, then the rest, each in order of place and
-- key, so that two batches do not wait for each other.
create function stateward.change_memory(p jsonb) returns bigint[] language plpgsql as $$
declare
    v_changes  jsonb := p -> 'changes';
    c          jsonb;
    v_seq      bigint;
    v_hash     text;
    v_labels   text[];
    v_held     boolean;
    v_versions bigint[];
begin
    perform stateward.hold(p ->> 'thread');
    perform stateward.keep_holds(p ->> 'tenant');
    select t.head_seq, t.head_hash, array(select l.label from stateward.thread_label l where l.thread_id = t.thread_id),
           exists (select from stateward.legal_hold h where h.tenant = p ->> 'tenant' and h.subject = p ->> 'subject')
      into v_seq, v_hash, v_labels, v_held
      from stateward.thread t where t.thread_id = p ->> 'thread';
    if v_seq is null then
        raise exception 'thread % is not known', p ->> 'thread' using errcode = 'SW002';
    end if;
    perform stateward.as_tenant(p ->> 'tenant');
    if jsonb_array_length(v_changes) = 1 then
        c := v_changes -> 0;
        v_versions := array[stateward.change_item(p, c, v_labels, v_held, stateward.may_be_new(c))];
    else
        v_versions := stateward.add_items(p, v_labels);
        for v_at in 1 .. cardinality(v_versions) loop
            if v_versions[v_at] = 0 then
                v_versions[v_at] := stateward.change_item(p, v_changes -> (v_at - 1), v_labels, v_held, false);
            end if;
        end loop;
    end if;
    perform stateward.as_nobody();
    perform stateward.tell(p, v_changes, v_versions, v_labels, v_seq, v_hash);
    return v_versions;
end $$;

-- An item as it is found.
create type stateward.found as (
    namespace text[], key text, kind text, subject text, purpose text, value jsonb, source text, action text,
    sensitivity text, version bigint, created_at timestamptz, updated_at timestamptz, expires_at timestamptz, labels text[],
    score float8);

-- Memory is read by these, each as one tenant and in one statement. What has expired is not found, and reading changes
-- nothing. A plan for any prefix and any limit would sort all items of a subject, so that each search gets its own.
create function stateward.read_as(p_tenant text) returns void language plpgsql as $$
begin
    perform stateward.as_tenant(p_tenant);
    perform set_config('plan_cache_mode', 'force_custom_plan', true);
end $$;

-- One item.
create function stateward.find_item(
    p_tenant text, p_subject text, p_purpose text, p_namespace text[], p_key text
) returns setof stateward.found language plpgsql as $$
declare
    v_place text := stateward.place(p_namespace);
begin
    perform stateward.as_tenant(p_tenant);
    return query
        select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
               expires_at, labels, null::float8
          from stateward.memory
         where tenant = p_tenant and subject = p_subject and purpose = p_purpose
           and place = v_place and key = p_key and expires_at > clock_timestamp();
    perform stateward.as_nobody();
end $$;

-- What an item has said before and may still be kept, newest first.
create function stateward.find_versions(p_tenant text, p_subject text, p_purpose text, p_namespace text[], p_key text)
returns setof stateward.found language plpgsql as $$
begin
    perform stateward.as_tenant(p_tenant);
    return query
        select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
               expires_at, labels, null::float8
          from stateward.memory_version
         where tenant = p_tenant and subject = p_subject and purpose = p_purpose
           and place = stateward.place(p_namespace) and key = p_key and expires_at > clock_timestamp()
         order by version desc;
    perform stateward.as_nobody();
end $$;

-- The namespaces that hold something.
create function stateward.find_namespaces(p_tenant text, p_subject text, p_purpose text) returns setof text[]
language plpgsql as $$
begin
    perform stateward.as_tenant(p_tenant);
    return query
        select distinct namespace from stateward.memory
         where tenant = p_tenant and subject = p_subject and purpose = p_purpose and expires_at > clock_timestamp()
         order by namespace;
    perform stateward.as_nobody();
end $$;

-- The words of a question, any of which may be found.
create function stateward.any_word(p_query text) returns tsquery language sql immutable as
$$ select replace(plainto_tsquery('simple', p_query)::text, ' & ', ' | ')::tsquery $$;

-- Items below a namespace that fulfil a filter and hold some of the words, best match first; where no words are asked for,
-- newest first. Every value that fulfils the filter contains `p_part`.
--
-- What is below a namespace lies between two places, which an index can be asked for. What a value fulfils stands in a
-- `case`: Postgres, which takes such conditions for rarer than they are and tries them on its samples for each plan, would
-- read and sort all that there is of a subject, where its newest items come in order from the index by recency. Without
-- words the score is the same null for all, which the plan does not sort by.
create function stateward.find_items(
    p_tenant text, p_subject text, p_purpose text, p_namespace text[], p_part jsonb, p_filter jsonpath, p_limit bigint,
    p_offset bigint, p_query text
) returns setof stateward.found language plpgsql as $$
declare
    v_words tsquery := stateward.any_word(p_query);
    v_from  text := stateward.place(p_namespace);
    v_to    text := left(v_from, -1) || chr(32); -- the next character after the mark
    v_now   timestamptz := clock_timestamp();
begin
    perform stateward.read_as(p_tenant);
    return query
        select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
               expires_at, labels, ts_rank(search, v_words)::float8 as score
          from stateward.memory
         where tenant = p_tenant and subject = p_subject and purpose = p_purpose
           and place >= v_from and (v_from = '' or place < v_to)
           and case when expires_at > v_now and (p_part is null or value @> p_part)
                         and (v_words is null or search @@ v_words)
                    then p_filter is null or value @? p_filter end
         order by score desc, updated_at desc, place, key
         limit p_limit offset p_offset;
    perform stateward.as_nobody();
end $$;

-- The same by words and by meaning in one ranking: reciprocal rank fusion, with the constant 60 of Cormack, Clarke and
-- Buettcher (2009). Every vector of the subject is compared: nothing is approximate. It needs pgvector.
create function stateward.find_by_both(
    p_tenant text, p_subject text, p_purpose text, p_namespace text[], p_part jsonb, p_filter jsonpath, p_limit bigint,
    p_offset bigint, p_query text, p_vector real[]
) returns setof stateward.found language plpgsql as $$
declare
    v_words tsquery := stateward.any_word(p_query);
begin
    perform stateward.read_as(p_tenant);
    return query
        with mine as materialized (
            select place, m.key, ts_rank(search, v_words) as rank, search @@ v_words as has_words,
                   case when cardinality(embedding) = cardinality(p_vector)
                        then embedding::vector <=> p_vector::vector end as distance
              from stateward.memory m
             where tenant = p_tenant and m.subject = p_subject and m.purpose = p_purpose
               and starts_with(place, stateward.place(p_namespace)) and m.expires_at > clock_timestamp()
               and (p_part is null or m.value @> p_part) and (p_filter is null or m.value @? p_filter)
        ), ranked as (
            select x.place, x.key, row_number() over (order by x.rank desc, x.place, x.key) as at from mine x where x.has_words
            union all
            select x.place, x.key, row_number() over (order by x.distance, x.place, x.key) from mine x
             where x.distance is not null and x.distance <> 'NaN'
        ), fused as (
            select r.place, r.key, sum(1.0 / (60 + r.at))::float8 as score from ranked r group by r.place, r.key
             order by score desc, r.place, r.key limit p_limit offset p_offset)
        select m.namespace, m.key, m.kind, m.subject, m.purpose, m.value, m.source, m.action, m.sensitivity, m.version,
               m.created_at, m.updated_at, m.expires_at, m.labels, f.score
          from fused f join stateward.memory m on m.place = f.place and m.key = f.key
         where m.tenant = p_tenant and m.subject = p_subject and m.purpose = p_purpose
         order by f.score desc, m.place, m.key;
    perform stateward.as_nobody();
end $$;

-- Deletes what has expired of one tenant, but for subjects on hold; how many rows. An item that is being written anew has
-- not expired.
create function stateward.sweep_memory(p_tenant text, p_batch int) returns bigint language plpgsql as $$
declare
    v_held text[];
    v_now  timestamptz := clock_timestamp();
    v_rows bigint;
    v_more bigint;
begin
    perform stateward.keep_holds(p_tenant);
    v_held := array(select subject from stateward.legal_hold where tenant = p_tenant);
    perform stateward.as_tenant(p_tenant);
    delete from stateward.memory
     where expires_at <= v_now
       and ctid = any (array(select ctid from stateward.memory
                              where tenant = p_tenant and expires_at <= v_now and subject <> all (v_held)
                              order by expires_at limit p_batch for update skip locked));
    get diagnostics v_rows = row_count;
    delete from stateward.memory_version
     where expires_at <= v_now
       and ctid = any (array(select ctid from stateward.memory_version
                              where tenant = p_tenant and expires_at <= v_now and subject <> all (v_held)
                              order by expires_at limit p_batch for update skip locked));
    get diagnostics v_more = row_count;
    perform stateward.as_nobody();
    return v_rows + v_more;
end $$;

-- A thread whose subject was erased: its chain stays, and nothing is written to it any more.
alter table stateward.thread add column erased_at timestamptz;

-- Takes a thread's row before any other of its rows is changed, so that no two who change them wait for each other.
create function stateward.hold(p_thread text) returns void language plpgsql as $$
declare
    v_erased timestamptz;
begin
    select erased_at into v_erased from stateward.thread where thread_id = p_thread for no key update;
    if v_erased is not null then
        raise exception '%', p_thread using errcode = 'SW008';
    end if;
end $$;

-- The erasure of a subject. It may be cut off anywhere: what is left of it is found in the rows.
create table stateward.erasure (
    erasure_id   text primary key,
    tenant       text not null,
    subject      text not null,
    requested_by text not null,
    verified_by  text not null,
    requested_at timestamptz not null default clock_timestamp(),
    items        bigint not null default 0, -- of memory, former versions included
    finished_at  timestamptz,
    receipt      text, -- the exact text that is sealed
    seal         bytea
);
create unique index erasure_under_way on stateward.erasure (tenant, subject) where finished_at is null;

create table stateward.erased_thread (
    erasure_id text not null references stateward.erasure,
    thread_id  text not null references stateward.thread,
    counts     jsonb not null,
    primary key (erasure_id, thread_id)
);

-- Begins to erase a subject, or finds the erasure that was begun.
create function stateward.begin_erasure(p_id text, p_tenant text, p_subject text, p_by text, p_verified_by text)
returns text language plpgsql as $$
declare
    v_id text;
begin
    perform pg_advisory_xact_lock(hashtextextended('stateward.hold ' || p_tenant, 0));
    if exists (select from stateward.legal_hold where tenant = p_tenant and subject = p_subject) then
        raise exception 'the subject is on legal hold' using errcode = 'SW009';
    end if;
    select erasure_id into v_id from stateward.erasure
     where tenant = p_tenant and subject = p_subject and finished_at is null;
    if v_id is null then
        insert into stateward.erasure (erasure_id, tenant, subject, requested_by, verified_by)
        values (p_id, p_tenant, p_subject, p_by, p_verified_by) returning erasure_id into v_id;
        perform stateward.note_desk(p_tenant, 'erasure.requested', p_by,
                                    jsonb_build_object('erasure', v_id, 'verified_by', p_verified_by));
    end if;
    return v_id;
end $$;

-- Takes from a thread all that it holds: its keys and what was sealed with them go; how much of what. Whoever calls it holds
-- the thread's rows.
create function stateward.empty_thread(p_thread text) returns jsonb language plpgsql as $$
declare
    v_counts jsonb;
begin
    with keys as (delete from stateward.data_key where thread_id = p_thread returning 1),
         checkpoints as (delete from stateward.checkpoint where thread_id = p_thread returning 1),
         heads as (delete from stateward.checkpoint_head where thread_id = p_thread),
         "values" as (delete from stateward.checkpoint_value where thread_id = p_thread returning 1),
         writes as (delete from stateward.checkpoint_write where thread_id = p_thread returning 1),
         sightings as (delete from stateward.sighting where thread_id = p_thread returning 1),
         known as (delete from stateward.case_value where thread_id = p_thread returning 1),
         actions as (update stateward.action set arguments = null, response = null, reasons = null, amounts = '{}'
                      where thread_id = p_thread returning 1),
         effects as (update stateward.effect
                        set result = null, error = null,
                            status = case when status in ('reserved', 'unknown') then 'abandoned' else status end,
                            settled_at = coalesce(settled_at, clock_timestamp())
                      where thread_id = p_thread returning 1),
         approvals as (update stateward.approval
                          set arguments = null, description = null, because = null, confirmation = null,
                              status = case when status = 'pending' then 'withdrawn' else status end,
                              decided_at = coalesce(decided_at, clock_timestamp())
                        where thread_id = p_thread returning approval_id),
         signatures as (update stateward.signature set reason = null, arguments = null
                         where approval_id in (select approval_id from stateward.approval where thread_id = p_thread)
                        returning 1)
    select jsonb_build_object(
               'keys', (select count(*) from keys), 'checkpoints', (select count(*) from checkpoints),
               'values', (select count(*) from "values"), 'writes', (select count(*) from writes),
               'sightings', (select count(*) from sightings), 'known', (select count(*) from known), 'actions', (select count(*) from actions),
               'effects', (select count(*) from effects), 'approvals', (select count(*) from approvals),
               'signatures', (select count(*) from signatures))
      into v_counts;
    return v_counts;
end $$;

-- Erases one thread: whatever runs or waits on it ends, its keys and all that was sealed with them go. Its row and its chain
-- stay. In the order in which a commit takes its rows.
create function stateward.erase_thread(p_erasure text, p_thread text, p_by text) returns void language plpgsql as $$
declare
    v_counts jsonb;
begin
    perform from stateward.erasure where erasure_id = p_erasure and finished_at is null for share;
    if not found then
        return; -- its receipt says what went, and nothing more goes with it
    end if;
    insert into stateward.checkpoint_thread as t (thread_id, erased_at) values (p_thread, clock_timestamp())
        on conflict (thread_id) do update set erased_at = coalesce(t.erased_at, excluded.erased_at);
    perform from stateward.thread where thread_id = p_thread for no key update;
    if exists (select from stateward.thread where thread_id = p_thread and erased_at is not null) then
        return;
    end if;
    perform stateward.abandon(p_thread, p_by, jsonb_build_object('erasure', p_erasure));
    v_counts := stateward.empty_thread(p_thread);
    perform stateward.append(p_thread, 'thread.erased', p_by, null, null,
                             jsonb_build_object('erasure', p_erasure) || v_counts);
    update stateward.thread set erased_at = clock_timestamp() where thread_id = p_thread;
    insert into stateward.erased_thread (erasure_id, thread_id, counts) values (p_erasure, p_thread, v_counts);
end $$;

-- Destroys the keys of an erasure's subject, deletes its pseudonyms and its memory, one batch, and counts them; how many
-- rows. The keys go first: whoever adds a pseudonym holds one, and finds none after it.
create function stateward.erase_memory(p_erasure text, p_batch int) returns bigint language plpgsql as $$
declare
    e       stateward.erasure;
    v_keys  bigint;
    v_names bigint;
    v_rows  bigint;
    v_more  bigint;
begin
    select * into e from stateward.erasure where erasure_id = p_erasure and finished_at is null for update;
    if not found then
        return 0;
    end if;
    delete from stateward.subject_key where tenant = e.tenant and subject = e.subject;
    get diagnostics v_keys = row_count;
    perform stateward.as_tenant(e.tenant);
    delete from stateward.pseudonym where tenant = e.tenant and subject = e.subject;
    get diagnostics v_names = row_count;
    delete from stateward.memory
     where ctid = any (array(select ctid from stateward.memory
                              where tenant = e.tenant and subject = e.subject limit p_batch for update));
    get diagnostics v_rows = row_count;
    delete from stateward.memory_version
     where ctid = any (array(select ctid from stateward.memory_version
                              where tenant = e.tenant and subject = e.subject limit p_batch for update));
    get diagnostics v_more = row_count;
    perform stateward.as_nobody();
    update stateward.erasure
       set items = items + v_rows + v_more, pseudonyms = pseudonyms + v_names, subject_keys = subject_keys + v_keys
     where erasure_id = p_erasure;
    return v_keys + v_names + v_rows + v_more;
end $$;

-- Ends an erasure with its receipt; false where somebody else has ended it, a thread was opened or something was
-- remembered meanwhile, or more has gone than the receipt says.
create function stateward.finish_erasure(p_erasure text, p_finished timestamptz, p_receipt text, p_seal bytea)
returns boolean language plpgsql as $$
declare
    e      stateward.erasure;
    v_left boolean;
begin
    select * into e from stateward.erasure where erasure_id = p_erasure for update;
    if e.finished_at is not null or e.items <> (p_receipt::jsonb ->> 'items')::bigint
       or e.pseudonyms <> (p_receipt::jsonb ->> 'pseudonyms')::bigint
       or e.subject_keys <> (p_receipt::jsonb ->> 'keys')::bigint
       or jsonb_array_length(p_receipt::jsonb -> 'threads')
          <> (select count(*) from stateward.erased_thread where erasure_id = p_erasure) then
        return false;
    end if;
    perform stateward.as_tenant(e.tenant);
    v_left := exists (select from stateward.memory where tenant = e.tenant and subject = e.subject)
              or exists (select from stateward.memory_version where tenant = e.tenant and subject = e.subject)
              or exists (select from stateward.pseudonym where tenant = e.tenant and subject = e.subject);
    perform stateward.as_nobody();
    if v_left or exists (select from stateward.subject_key where tenant = e.tenant and subject = e.subject)
       or exists (select from stateward.thread
                          where tenant = e.tenant and subject = e.subject and erased_at is null
                            and thread_id <> 'desk:' || tenant) then
        return false;
    end if;
    update stateward.erasure set finished_at = p_finished, receipt = p_receipt, seal = p_seal where erasure_id = p_erasure;
    perform stateward.note_desk(e.tenant, 'subject.erased', e.requested_by, jsonb_build_object(
        'erasure', p_erasure, 'receipt', encode(sha256(convert_to(p_receipt, 'UTF8')), 'hex')));
    return true;
end $$;

-- Keeps all that is known of a subject until the hold ends; false where it was on hold.
create function stateward.place_hold(p_tenant text, p_subject text, p_reason text, p_by text, p_verified_by text)
returns boolean language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('stateward.hold ' || p_tenant, 0));
    if exists (select from stateward.erasure where tenant = p_tenant and subject = p_subject and finished_at is null) then
        raise exception 'the subject is being erased' using errcode = 'SW009';
    end if;
    insert into stateward.legal_hold (tenant, subject, reason, placed_by) values (p_tenant, p_subject, p_reason, p_by)
        on conflict do nothing;
    if not found then
        return false;
    end if;
    perform stateward.note_desk(p_tenant, 'hold.placed', p_by, jsonb_build_object(
        'subject', encode(sha256(convert_to(p_subject, 'UTF8')), 'hex'), 'verified_by', p_verified_by));
    return true;
end $$;

create function stateward.end_hold(p_tenant text, p_subject text, p_by text, p_verified_by text) returns boolean
language plpgsql as $$
begin
    delete from stateward.legal_hold where tenant = p_tenant and subject = p_subject;
    if not found then
        return false;
    end if;
    perform stateward.note_desk(p_tenant, 'hold.ended', p_by, jsonb_build_object(
        'subject', encode(sha256(convert_to(p_subject, 'UTF8')), 'hex'), 'verified_by', p_verified_by));
    return true;
end $$;

revoke all on function stateward.as_tenant(text) from public;
revoke all on function stateward.as_nobody() from public;
revoke all on function stateward.keep_holds(text) from public;
revoke all on function stateward.is_held(text) from public;
revoke all on function stateward.retire(stateward.memory, boolean) from public;
revoke all on function stateward.change_item(jsonb, jsonb, text[], boolean, boolean) from public;
revoke all on function stateward.add_items(jsonb, text[]) from public;
revoke all on function stateward.change_memory(jsonb) from public;
revoke all on function stateward.tell(jsonb, jsonb, bigint[], text[], bigint, text) from public;
revoke all on function stateward.told(jsonb, jsonb, bigint, text[]) from public;
revoke all on function stateward.read_as(text) from public;
revoke all on function stateward.find_item(text, text, text, text[], text) from public;
revoke all on function stateward.find_versions(text, text, text, text[], text) from public;
revoke all on function stateward.find_namespaces(text, text, text) from public;
revoke all on function stateward.find_items(text, text, text, text[], jsonb, jsonpath, bigint, bigint, text) from public;
revoke all on function stateward.find_by_both(text, text, text, text[], jsonb, jsonpath, bigint, bigint, text, real[]) from public;
revoke all on function stateward.sweep_memory(text, int) from public;
grant execute on function stateward.as_nobody(), stateward.retire(stateward.memory, boolean), stateward.add_items(jsonb, text[]),
    stateward.change_item(jsonb, jsonb, text[], boolean, boolean) to stateward_memory;
revoke all on function stateward.hold(text) from public;
revoke all on function stateward.begin_erasure(text, text, text, text, text) from public;
revoke all on function stateward.empty_thread(text) from public;
revoke all on function stateward.erase_thread(text, text, text) from public;
revoke all on function stateward.erase_memory(text, int) from public;
revoke all on function stateward.finish_erasure(text, timestamptz, text, bytea) from public;
revoke all on function stateward.place_hold(text, text, text, text, text) from public;
revoke all on function stateward.end_hold(text, text, text, text) from public;
