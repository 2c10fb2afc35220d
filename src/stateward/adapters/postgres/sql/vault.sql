-- name: enter
-- From here to the end of the transaction, pseudonyms are those of one tenant, and the subject keeps its key: which one it
-- is, null where there is none. The statements below find nothing without it.
select stateward.as_tenant(%(tenant)s),
       (select k.born from (select born from stateward.subject_key
                             where tenant = %(tenant)s and subject = %(subject)s
                             order by generation limit 1 for share) k) as born;

-- name: numbers
-- Of values by their digest the numbers that there are, and of each entity type the last one.
select p.entity, p.digest, p.number from stateward.pseudonym p
  join unnest(%(entities)s::text[], %(digests)s::bytea[]) as n (entity, digest) using (entity, digest)
 where p.tenant = %(tenant)s and p.subject = %(subject)s
union all
select p.entity, null::bytea, max(p.number) from stateward.pseudonym p
 where p.tenant = %(tenant)s and p.subject = %(subject)s and p.entity = any (%(entities)s::text[])
 group by p.entity;

-- name: add
-- New pseudonyms; of those whose value or number somebody else has added meanwhile, none.
insert into stateward.pseudonym (tenant, subject, entity, number, digest, body)
select %(tenant)s::text, %(subject)s::text, n.*
  from unnest(%(entities)s::text[], %(numbers)s::int[], %(digests)s::bytea[], %(bodies)s::bytea[]) as n
 order by 3, 4
    on conflict do nothing
returning entity, number, digest;

-- name: bodies
-- The values that pseudonyms stand for, sealed: of some, or of all.
select entity, number, body from stateward.pseudonym
 where tenant = %(tenant)s and subject = %(subject)s
   and (%(entities)s::text[] is null
        or (entity, number) in (select * from unnest(%(entities)s::text[], %(numbers)s::int[])))
 order by entity, number;
