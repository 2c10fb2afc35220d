-- What is known of the people of a case, so that it is found wherever it is written.

-- `body` is a list of entity types and values, sealed for its thread; each call adds a row.
create table stateward.case_value (
    thread_id text not null,
    ordinal   bigint not null generated always as identity,
    body      bytea not null,
    primary key (thread_id, ordinal)
);
