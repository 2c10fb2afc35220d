-- name: add_case_values
-- Keeps what is known of the people of a case, sealed.
insert into stateward.case_value (thread_id, body) values (%(thread)s, %(body)s) returning ordinal;

-- name: case_values
-- What is known of the people of a case, oldest first.
select body from stateward.case_value where thread_id = %(thread)s order by ordinal;
