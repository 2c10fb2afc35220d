-- The books of the month-end close, and the two roles that may touch them.
-- Neither role can log in; for each permitted call the runtime makes a login in one of them.

do $$
begin
    create role month_end_reader nologin;
exception when duplicate_object or unique_violation then
    null;  -- roles belong to the whole server; another database of it was here first
end $$;
do $$
begin
    create role month_end_writer nologin;
exception when duplicate_object or unique_violation then
    null;
end $$;

create schema month_end;

create table month_end.import (
    import_id text primary key,
    period    text not null,
    bank      text not null,
    ledger    text not null,
    out       text not null,
    mail_to   text[] not null,
    key       text not null,
    loaded_at timestamptz not null default clock_timestamp()
);
create index import_by_period on month_end.import (period, loaded_at);

create table month_end.bank_line (
    import_id    text not null references month_end.import,
    position     int not null,
    line         text not null,
    date         date not null,
    amount       numeric not null,
    currency     text not null,
    reference    text not null,
    counterparty text not null,
    description  text not null,
    primary key (import_id, position)
);

create table month_end.ledger_line (
    import_id   text not null references month_end.import,
    position    int not null,
    line        text not null,
    entry_id    text not null,
    date        date not null,
    account     text not null,
    amount      numeric not null,
    currency    text not null,
    reference   text not null,
    description text not null,
    primary key (import_id, position)
);

-- One adjusting entry for each variance of a period, and one for each idempotency key.
create table month_end.journal_entry (
    entry_id       text primary key,
    period         text not null,
    variance       text not null,
    debit_account  text not null,
    credit_account text not null check (credit_account <> debit_account),
    amount         numeric not null check (amount > 0),
    currency       text not null,
    date           date not null,
    reference      text not null,
    memo           text not null,
    key            text not null unique,
    approved_by    text[] not null,
    posted_by      text not null default session_user,
    posted_at      timestamptz not null default clock_timestamp(),
    constraint one_entry_for_a_variance unique (period, variance)
);

create table month_end.close_pack (
    period   text not null,
    version  int not null,
    digest   text not null,
    workbook text not null,
    markdown text not null,
    key      text not null,
    built_at timestamptz not null default clock_timestamp(),
    primary key (period, version)
);

create table month_end.mailing (
    period     text not null,
    version    int not null,
    message_id text not null unique,
    recipients text[] not null,
    sent_at    timestamptz not null default clock_timestamp(),
    primary key (period, version)
);

grant usage on schema month_end to month_end_reader, month_end_writer;
grant select on all tables in schema month_end to month_end_reader, month_end_writer;
grant insert on all tables in schema month_end to month_end_writer;
