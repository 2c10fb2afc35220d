-- Labels and origins: what a thread has come by, and in which texts values of its calls can have been seen.

-- Labels never leave a thread by themselves. `turn` brought the label first; the calls beside it in that turn were made
-- without it. No constraint refers to the thread, as a copied one has its labels before anybody opens it.
create table stateward.thread_label (
    thread_id text not null,
    label     text not null,
    turn      text not null,
    at        timestamptz not null default clock_timestamp(),
    primary key (thread_id, label)
);

-- `body` is the text, sealed for its thread, source and origin. The newest count.
create table stateward.sighting (
    thread_id text not null,
    source    text not null,
    origin    text not null check (origin in ('person', 'trusted', 'untrusted')),
    body      bytea not null,
    ordinal   bigint not null generated always as identity,
    primary key (thread_id, source)
);
create index sighting_newest on stateward.sighting (thread_id, ordinal);
alter table stateward.sighting alter column body set storage external;

-- What an item brings to whoever recalls it.
alter table stateward.memory add column labels text[] not null default '{}';

-- Adds labels to a thread; those that are new are told in its chain.
create function stateward.add_labels(p_thread text, p jsonb) returns stateward.transition language plpgsql as $$
declare
    v_new text[];
    t     stateward.transition;
begin
    with added as (
        insert into stateward.thread_label (thread_id, label, turn)
        select p_thread, l, p ->> 'turn' from jsonb_array_elements_text(p -> 'labels') as l order by l
            on conflict do nothing returning label)
    select array_agg(label order by label) into v_new from added;
    t.answer := to_jsonb(coalesce(v_new, '{}'));
    if v_new is not null then
        t.entries := array[stateward.says('thread.labelled', p ->> 'actor', p ->> 'action', p ->> 'tool',
                                          jsonb_build_object('labels', t.answer))];
    end if;
    return t;
end $$;

-- Keeps a text that the thread has seen; one of the same source is replaced.
create function stateward.see(p_thread text, p jsonb) returns stateward.transition language plpgsql as $$
declare
    t stateward.transition;
begin
    insert into stateward.sighting (thread_id, source, origin, body)
    values (p_thread, p ->> 'source', p ->> 'origin', decode(p ->> 'body', 'base64'))
        on conflict (thread_id, source) do update set origin = excluded.origin, body = excluded.body;
    t.answer := 'true';
    return t;
end $$;

revoke all on function stateward.add_labels(text, jsonb) from public;
revoke all on function stateward.see(text, jsonb) from public;
