-- The vault of a subject ends when nothing is left that can hold one of its pseudonyms.

-- Those of some subjects of a tenant of which nothing is left: no thread that is not emptied, and no memory, former versions
-- and what has expired included. One on legal hold is not among them.
create function stateward.unkept(p_tenant text, p_subjects text[]) returns setof text language plpgsql as $$
declare
    v_subjects text[] := array(
        select s from unnest(p_subjects) as s
         where not exists (select from stateward.legal_hold h where h.tenant = p_tenant and h.subject = s)
           and not exists (select from stateward.thread t
                            where t.tenant = p_tenant and t.subject = s and t.erased_at is null));
begin
    perform stateward.as_tenant(p_tenant);
    return query
        select s from unnest(v_subjects) as s
         where not exists (select from stateward.memory m where m.tenant = p_tenant and m.subject = s)
           and not exists (select from stateward.memory_version m where m.tenant = p_tenant and m.subject = s);
    perform stateward.as_nobody();
end $$;

-- Deletes the pseudonyms of such a subject, and destroys its keys. False where something is left, or somebody is at it.
create function stateward.expire_vault(p_tenant text, p_subject text) returns boolean language plpgsql as $$
declare
    v_keys  bigint;
    v_names bigint;
begin
    perform stateward.keep_holds(p_tenant);
    select count(*) into v_keys
      from (select 1 from stateward.subject_key k where k.tenant = p_tenant and k.subject = p_subject
               for update skip locked) as held;
    -- Only now is looked at what is left: whoever issues or opens a pseudonym holds a key meanwhile, and does so on a thread
    -- that was opened before. One that is opened from here on waits for the key, and finds none.
    if v_keys = 0
       or v_keys < (select count(*) from stateward.subject_key k where k.tenant = p_tenant and k.subject = p_subject)
       or not exists (select from stateward.unkept(p_tenant, array[p_subject])) then
        return false;
    end if;
    delete from stateward.subject_key where tenant = p_tenant and subject = p_subject;
    perform stateward.as_tenant(p_tenant);
    delete from stateward.pseudonym where tenant = p_tenant and subject = p_subject;
    get diagnostics v_names = row_count;
    perform stateward.as_nobody();
    perform stateward.note_desk(p_tenant, 'vault.expired', 'clock', jsonb_build_object(
        'subject', encode(sha256(convert_to(p_subject, 'UTF8')), 'hex'), 'pseudonyms', v_names, 'keys', v_keys));
    return true;
end $$;

revoke all on function stateward.unkept(text, text[]) from public;
revoke all on function stateward.expire_vault(text, text) from public;
