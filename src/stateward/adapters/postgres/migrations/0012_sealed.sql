-- All that release 0.1.0 kept of actions, effects, approvals and decisions in clear is sealed by now, in this transaction.
do $$
begin
    if exists (select from stateward.action where clear_arguments is not null)
       or exists (select from stateward.effect where clear_error is not null)
       or exists (select from stateward.approval where clear_arguments is not null)
       or exists (select from stateward.signature where clear_reason is not null) then
        raise exception 'what release 0.1.0 kept in clear is not sealed yet: open the runtime, which has the key ring';
    end if;
end $$;
alter table stateward.action
    drop column clear_arguments,
    drop column clear_reasons,
    drop column clear_response;
alter table stateward.effect
    drop column clear_result,
    drop column clear_error;
alter table stateward.approval
    drop column clear_arguments,
    drop column clear_description;
alter table stateward.signature
    drop column clear_reason,
    drop column clear_arguments;
