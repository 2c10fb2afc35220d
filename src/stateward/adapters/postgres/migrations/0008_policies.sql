-- The policies that have judged, each as its digest reads it. Nobody is granted anything on it: it is the owner's.
create table stateward.policy (
    policy_digest text primary key,
    label         text not null,
    document      json not null,  -- json keeps the order of the tools and rules, for people
    first_used_at timestamptz not null default clock_timestamp()
);
create index policy_by_label on stateward.policy (label);
revoke all on table stateward.policy from public;
create index action_by_time on stateward.action (created_at, action_id);
