-- Memory in less time: the same rows, entries and checks, by fewer and cheaper steps in the server.
--
-- A function in SQL that holds a sub-query, or says that it is immutable and is not, is no part of the statement that calls
-- it: Postgres starts it anew each time. Such functions are in plpgsql from here on, which keeps its plans.

-- What an entry says, before it has its place in the chain. Stable, as the functions that make JSON are.
create or replace function stateward.says(p_kind text, p_actor text, p_action text, p_tool text, p_detail jsonb)
returns jsonb language sql stable as $$
    select jsonb_build_object('kind', p_kind, 'actor', p_actor, 'action', p_action, 'tool', p_tool, 'detail', p_detail);
$$;

-- What is said as an entry at this place in a thread's chain: the exact text that is hashed.
create function stateward.entry(p_thread text, p_seq bigint, p_says jsonb) returns text language sql volatile as $$
    select (p_says || jsonb_build_object(
        'v', 1, 'thread', p_thread, 'seq', p_seq,
        'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::text;
$$;

create or replace function stateward.placed(p_thread stateward.thread, p_says jsonb) returns text language sql volatile as $$
    select stateward.entry(p_thread.thread_id, p_thread.head_seq, p_says);
$$;

create or replace function stateward.place(p_namespace text[]) returns text language plpgsql immutable as $$
begin
    return case when cardinality(p_namespace) = 0 then '' else array_to_string(p_namespace, chr(31)) || chr(31) end;
end $$;

-- The texts of a JSON array. Of one, as most namespaces have, without a query.
create function stateward.texts(p jsonb) returns text[] language plpgsql immutable as $$
begin
    if jsonb_array_length(p) = 1 then
        return array[p ->> 0];
    end if;
    return array(select jsonb_array_elements_text(p));
end $$;

create or replace function stateward.keep_holds(p_tenant text) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('stateward.hold ' || p_tenant, 0));
end $$;

create or replace function stateward.joined(p_labels text[], p_more jsonb) returns text[] language plpgsql immutable as $$
begin
    if p_labels = '{}' and coalesce(p_more, '[]') = '[]' then
        return '{}';
    end if;
    return array(select unnest(p_labels) union select jsonb_array_elements_text(p_more) order by 1);
end $$;

create or replace function stateward.vector_of(c jsonb) returns real[] language plpgsql immutable as $$
begin
    if c ? 'embedding' then
        return array(select e::text::real from jsonb_array_elements(c -> 'embedding') as e);
    end if;
    return null;
end $$;

-- What an item has said is kept until it would have expired; where its subject is on hold, whenever that is.
create or replace function stateward.retire(p_item stateward.memory, p_held boolean) returns void language plpgsql as $$
begin
    insert into stateward.memory_version (tenant, subject, purpose, place, key, version, namespace, kind, value, source,
                                          action, sensitivity, labels, created_at, updated_at, expires_at)
    select p_item.tenant, p_item.subject, p_item.purpose, p_item.place, p_item.key, p_item.version, p_item.namespace,
           p_item.kind, p_item.value, p_item.source, p_item.action, p_item.sensitivity, p_item.labels, p_item.created_at,
           p_item.updated_at, p_item.expires_at
     where p_held or p_item.expires_at > clock_timestamp();
end $$;

-- From here to the end of the transaction, memory is that of one tenant.
create or replace function stateward.as_tenant(p_tenant text) returns void language plpgsql as $$
begin
    perform set_config('stateward.tenant', p_tenant, true);
    if not row_security_active('stateward.memory'::regclass) then
        perform set_config('role', 'stateward_memory', true);
    end if;
end $$;

-- What a change of memory says in the ledger.
create or replace function stateward.told(p jsonb, c jsonb, p_version bigint, p_labels text[]) returns jsonb
language sql stable as $$
    select case when c -> 'value' is null
        then stateward.says('memory.deleted', p ->> 'actor', c ->> 'action', null, jsonb_build_object('item', c -> 'item'))
        else stateward.says('memory.written', p ->> 'actor', c ->> 'action', null,
            coalesce(c -> 'note', '{}') || jsonb_strip_nulls(jsonb_build_object(
                'kind', c -> 'kind', 'item', c -> 'item', 'version', p_version, 'sensitivity', c -> 'sensitivity',
                'labels', to_jsonb(nullif(stateward.joined(p_labels, c -> 'labels'), '{}'))))) end;
$$;

-- Whether a change can be the first of its item: it writes, expects no version, and no change before it in its batch is of
-- the same item.
create function stateward.may_be_new(c jsonb) returns boolean language sql immutable as $$
    select c -> 'value' is not null and coalesce(c ->> 'version', '0') = '0' and not c ? 'again';
$$;

-- One change of an item within `change_memory`; its version, and null where there was nothing to delete. What may be new is
-- inserted first (`p_new`), as most items are, and looked for where that fails.
drop function stateward.change_item(jsonb, jsonb, text[], boolean);
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
revoke all on function stateward.change_item(jsonb, jsonb, text[], boolean, boolean) from public;
grant execute on function stateward.change_item(jsonb, jsonb, text[], boolean, boolean) to stateward_memory;

-- Those of the changes that are the first one of an item that is not there yet, written at once; the version of each change,
-- 0 where it goes by itself.
drop function stateward.add_items(jsonb, text[]);
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
    v_versions bigint[] := '{}';
    v_next     int := 1;
    c          jsonb;
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
    if cardinality(v_made) = jsonb_array_length(v_changes) then
        return v_made;
    end if;
    for c in select jsonb_array_elements(v_changes) loop
        if stateward.may_be_new(c) and c ->> 'key' = v_keys[v_next]
           and stateward.place(stateward.texts(c -> 'namespace')) = v_places[v_next] then
            v_versions := v_versions || v_made[v_next];
            v_next := v_next + 1;
        else
            v_versions := v_versions || 0::bigint;
        end if;
    end loop;
    return v_versions;
end $$;
revoke all on function stateward.add_items(jsonb, text[]) from public;
grant execute on function stateward.add_items(jsonb, text[]) to stateward_memory;

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
revoke all on function stateward.tell(jsonb, jsonb, bigint[], text[], bigint, text) from public;
drop function stateward.append_all(text, jsonb[]);

-- All changes of a batch with their ledger entries, or none. First what is new, then the rest, each in order of place and
-- key, so that two batches do not wait for each other.
create or replace function stateward.change_memory(p jsonb) returns bigint[] language plpgsql as $$
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

-- One item.
create or replace function stateward.find_item(
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

-- Items below a namespace that fulfil a filter, newest first. Every value that fulfils it contains `p_part`.
--
-- What is below a namespace lies between two places, which an index can be asked for. What a value fulfils stands in a
-- `case`: Postgres, which takes such conditions for rarer than they are and tries them on its samples for each plan, would
-- read and sort all that there is of a subject, where its newest items come in order from the index by recency.
create or replace function stateward.find_newest(
    p_tenant text, p_subject text, p_purpose text, p_namespace text[], p_part jsonb, p_filter jsonpath, p_limit bigint,
    p_offset bigint
) returns setof stateward.found language plpgsql as $$
declare
    v_from text := stateward.place(p_namespace);
    v_to   text := left(v_from, -1) || chr(32); -- the next character after the mark
    v_now  timestamptz := clock_timestamp();
begin
    perform stateward.read_as(p_tenant);
    return query
        select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
               expires_at, labels, null::float8
          from stateward.memory
         where tenant = p_tenant and subject = p_subject and purpose = p_purpose
           and place >= v_from and (v_from = '' or place < v_to)
           and case when expires_at > v_now and (p_part is null or value @> p_part)
                    then p_filter is null or value @? p_filter end
         order by updated_at desc, place, key
         limit p_limit offset p_offset;
    perform stateward.as_nobody();
end $$;

-- The same that hold some of the words, best match first.
create or replace function stateward.find_by_words(
    p_tenant text, p_subject text, p_purpose text, p_namespace text[], p_part jsonb, p_filter jsonpath, p_limit bigint,
    p_offset bigint, p_query text
) returns setof stateward.found language plpgsql as $$
declare
    v_words tsquery := stateward.any_word(p_query);
    v_from  text := stateward.place(p_namespace);
    v_to    text := left(v_from, -1) || chr(32);
    v_now   timestamptz := clock_timestamp();
begin
    perform stateward.read_as(p_tenant);
    return query
        select namespace, key, kind, subject, purpose, value, source, action, sensitivity, version, created_at, updated_at,
               expires_at, labels, ts_rank(search, v_words)::float8 as score
          from stateward.memory
         where tenant = p_tenant and subject = p_subject and purpose = p_purpose
           and place >= v_from and (v_from = '' or place < v_to)
           and case when expires_at > v_now and (p_part is null or value @> p_part) and search @@ v_words
                    then p_filter is null or value @? p_filter end
         order by score desc, updated_at desc, place, key
         limit p_limit offset p_offset;
    perform stateward.as_nobody();
end $$;
