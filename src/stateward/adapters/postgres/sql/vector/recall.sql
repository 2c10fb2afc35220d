-- name: extension
-- Makes pgvector available, where the server has it and it is not there yet.
create extension if not exists vector;

-- name: items_by_both
-- Items below a namespace that fulfil a filter, by words and by meaning in one ranking: reciprocal rank fusion, with the
-- constant 60 of Cormack, Clarke and Buettcher (2009). Every vector of the subject is compared: nothing is approximate.
with mine as materialized (
    select place, key, ts_rank(search, stateward.any_word(%(query)s)) as rank,
           search @@ stateward.any_word(%(query)s) as has_words,
           case when cardinality(embedding) = cardinality(%(vector)s::real[])
                then embedding::vector <=> %(vector)s::real[]::vector end as distance
      from stateward.memory
     where tenant = %(tenant)s and subject = %(subject)s and purpose = %(purpose)s
       and starts_with(place, stateward.place(%(namespace)s::text[])) and expires_at > clock_timestamp()
       and (%(filter)s::jsonpath is null or value @? %(filter)s::jsonpath)),
ranked as (
    select place, key, row_number() over (order by rank desc, place, key) as at from mine where has_words
    union all
    select place, key, row_number() over (order by distance, place, key) from mine
     where distance is not null and distance <> 'NaN'),
fused as (
    select place, key, sum(1.0 / (60 + at))::float8 as score from ranked group by place, key
     order by score desc, place, key limit %(limit)s offset %(offset)s)
select m.namespace, m.key, m.kind, m.subject, m.purpose, m.value, m.source, m.action, m.sensitivity, m.version,
       m.created_at, m.updated_at, m.expires_at, m.labels, f.score
  from fused f join stateward.memory m using (place, key)
 where m.tenant = %(tenant)s and m.subject = %(subject)s and m.purpose = %(purpose)s
 order by f.score desc, m.place, m.key;
