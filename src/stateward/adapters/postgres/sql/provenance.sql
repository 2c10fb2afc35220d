-- name: provenance
-- A thread's labels with the turns that brought them; and the texts that it has seen, the newest of each origin up to a
-- size, oldest first.
select 'label' as what, l.label as name, l.turn as detail, null::bytea as body, 0::bigint as ordinal
  from stateward.thread_label l where l.thread_id = %(thread)s
union all
select 'sighting', s.source, s.origin, s.body, s.ordinal
  from (select x.*, sum(length(x.body)) over (partition by x.origin order by x.ordinal desc) as so_far
          from stateward.sighting x where x.thread_id = %(thread)s and %(seen)s) s
 where s.so_far <= %(size)s
 order by ordinal;
