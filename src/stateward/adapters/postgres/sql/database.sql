-- name: create_schema
-- Where everything of ours lives.
create schema if not exists stateward;

-- name: create_migrations
-- Which migrations have run.
create table if not exists stateward.migration (
    name text primary key, checksum text not null, applied_at timestamptz not null default clock_timestamp());

-- name: migrations
-- Those that have run.
select name, checksum from stateward.migration;

-- name: note_migration
-- One has run.
insert into stateward.migration (name, checksum) values (%(name)s, %(checksum)s);

-- name: try_lock
-- The migration lock is polled: whoever waits inside the lock call would stop CREATE INDEX CONCURRENTLY for ever.
select pg_try_advisory_lock(hashtext('stateward.migration')) as locked;

-- name: unlock
-- Gives the migration lock back.
select pg_advisory_unlock(hashtext('stateward.migration'));

-- name: mint
-- A login for one call, in the group that the policy names.
select stateward.mint(%(user)s, %(role)s, %(verifier)s, %(seconds)s);

-- name: unmint
-- The call is over.
select stateward.unmint(%(user)s);

-- name: sweep_roles
-- Logins that a crash left behind.
select stateward.sweep_roles() as swept;

-- name: settle_here
-- Settles an effect on the connection of its own call.
select stateward.settle_here(%(result)s::bytea);

-- name: styles
-- How the server writes times on this connection.
select set_config('datestyle', 'ISO, MDY', false), set_config('intervalstyle', 'postgres', false);

-- name: met
-- Which process serves this session, of which server and database.
select pg_backend_pid() as pid, current_database() as database,
       extract(epoch from pg_postmaster_start_time()) as since;

-- name: about
-- What we are connected to.
select current_setting('server_version') as version, current_database() as database, current_user as "user",
       (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) as may_create_roles,
       coalesce(host(inet_server_addr()), 'local socket') as address;
