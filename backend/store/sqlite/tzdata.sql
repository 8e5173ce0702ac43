-- name: tzdata_facts
-- Which release of the time zone database planned the schedules, and how far another has come.
select key, value from store_info where key in ('tzdata_version', 'tzdata_place')

-- name: zoned_schedules
-- The next schedules by key that have a next time and name a zone.
select {{schedule_columns}}, 0
from schedules s
where s.key > :after_key and s.next_nominal_at is not null and s.deleted_at is null
  and instr(s.triggers, '"timezone":') > 0
order by s.key
limit :limit

-- name: zoned_schedules_due
-- The same, of those that are due by an instant, in the order in which they are.
select {{schedule_columns}}, 0
from schedules s
where s.next_scheduled_at <= :until and (s.next_scheduled_at, s.key) > (:after_at, :after_key)
  and s.next_nominal_at is not null and s.deleted_at is null and instr(s.triggers, '"timezone":') > 0
order by s.next_scheduled_at, s.key
limit :limit
