-- How long a thread is kept after it has ended.

-- A moment so many seconds later. Hours have the same length everywhere, so that it can be indexed; more than nine thousand
-- years are as good as for ever.
create function stateward.after(p_from timestamptz, p_seconds bigint) returns timestamptz language sql immutable as
$$ select p_from + make_interval(secs => least(p_seconds, 3e11)::float8) $$;

-- In seconds after the last thing that happened on it, as the policy said that it ran under last; null: for ever.
alter table stateward.thread add column keep_for bigint check (keep_for > 0);

-- In seconds without anything that happens, after which one that has not ended counts as ended; null: never.
alter table stateward.thread add column idle_for bigint check (idle_for > 0);

-- From when on it can be over at the earliest. The moment itself moves with everything that happens on a thread: an index on
-- it would have to be written each time.
create index thread_by_retention on stateward.thread (stateward.after(created_at, keep_for))
    where keep_for is not null and erased_at is null;

-- How many seconds after the last thing that happened on a thread its time is over; null where it does not end. One that was
-- abandoned has ended when its effects are taken back, however long that takes.
create function stateward.time_of(t stateward.thread) returns bigint language sql stable as $$
    select case when t.status in ('answered', 'escalated') then t.keep_for
                when t.status = 'abandoned' then
                    case when exists (select from stateward.ledger
                                       where thread_id = t.thread_id and kind = 'thread.compensated') then t.keep_for end
                when t.keep_for is not null and t.idle_for is not null then greatest(t.keep_for, t.idle_for) end
$$;

-- Whether a thread has ended, or counts as ended, and its time is over too. One whose question waits for people has not, nor
-- has one with an effect that is under way or of unknown outcome. A checkpoint shows that something runs before it leaves an
-- entry.
create function stateward.is_over(t stateward.thread) returns boolean language sql stable as $$
    select t.erased_at is null and stateward.after(t.updated_at, stateward.time_of(t)) <= clock_timestamp()
       and not exists (select from stateward.approval where thread_id = t.thread_id and status = 'pending')
       and not exists (select from stateward.effect where thread_id = t.thread_id and status in ('reserved', 'unknown'))
       and coalesce(stateward.after((select max(created_at) from stateward.checkpoint where thread_id = t.thread_id),
                                    stateward.time_of(t)) <= clock_timestamp(), true)
$$;

-- Does to a thread whose time is over what forgetting its subject does to it; its row and its chain stay. False where
-- somebody is at it, such as another sweep, or where it goes on, or is on hold. In the order in which a commit takes its rows.
create function stateward.expire_thread(p_thread text) returns boolean language plpgsql as $$
declare
    t stateward.thread;
begin
    if not stateward.enrol(p_thread) then
        return false;
    end if;
    perform from stateward.checkpoint_thread where thread_id = p_thread for no key update skip locked;
    if not found then
        return false;
    end if;
    select * into t from stateward.thread where thread_id = p_thread for no key update skip locked;
    if t.thread_id is null or not stateward.is_over(t) or stateward.is_held(p_thread) then
        return false;
    end if;
    update stateward.checkpoint_thread set erased_at = coalesce(erased_at, clock_timestamp()) where thread_id = p_thread;
    perform stateward.append(p_thread, 'thread.expired', 'clock', null, null,
                             jsonb_strip_nulls(jsonb_build_object('status', t.status, 'keep', t.keep_for, 'idle', t.idle_for))
                             || stateward.empty_thread(p_thread));
    update stateward.thread set erased_at = clock_timestamp() where thread_id = p_thread;
    return true;
end $$;

revoke all on function stateward.time_of(stateward.thread) from public;
revoke all on function stateward.is_over(stateward.thread) from public;
revoke all on function stateward.expire_thread(text) from public;
