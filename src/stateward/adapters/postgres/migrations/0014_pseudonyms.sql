-- Data keys of subjects, and the vault of pseudonyms that is sealed with them.

-- Each is wrapped by the master key. `born` tells the keys of a subject from those that it had before it was forgotten.
create table stateward.subject_key (
    tenant     text collate "C" not null,
    subject    text collate "C" not null,
    generation int not null,
    wrapped    bytea not null,
    born       bigint not null generated always as identity,
    primary key (tenant, subject, generation)
);

-- A value of a subject that a number stands for: `<PERSON_1>`. `digest` is keyed with the subject's key, and `body` is the
-- value, sealed for exactly this row.
create table stateward.pseudonym (
    tenant  text collate "C" not null,
    subject text collate "C" not null,
    entity  text collate "C" not null,
    number  int not null,
    digest  bytea not null,
    body    bytea not null,
    primary key (tenant, subject, entity, number),
    unique (tenant, subject, entity, digest)
);
alter table stateward.pseudonym enable row level security, force row level security;
create policy pseudonym_of_tenant on stateward.pseudonym
    using (tenant = nullif(current_setting('stateward.tenant', true), ''));
grant select, insert, delete on stateward.pseudonym to stateward_memory;

alter table stateward.erasure
    add column pseudonyms   bigint not null default 0,
    add column subject_keys bigint not null default 0;
