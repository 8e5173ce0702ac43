-- lock: tzdata_facts
-- One walk at a time.
select key from store_info where key = 'tzdata_version' for no key update

-- name: tzdata_facts
-- Which release of the time zone database planned the schedules, and how far another has come.
select key, value from store_info where key in ('tzdata_version', 'tzdata_place')

-- lock: zoned_schedules
-- The next schedules by key that have a next time and name a zone.
select key from schedules
where key in (select s.key from schedules s
              where s.key > :after_key and s.next_nominal_at is not null and s.deleted_at is null
                and strpos(s.triggers, '"timezone":') > 0
              order by s.key limit :limit)
order by key
for no key update

-- name: zoned_schedules
-- Those that the lock has answered, as they are now.
select {{schedule_columns}}, false from schedules s where s.key = any(:locked::bigint[]) order by s.key

-- lock: zoned_schedules_due
-- The same, of those that are due by an instant; the next in the order in which they are.
select key from schedules
where key in (select s.key from schedules s
              where s.next_scheduled_at <= :until and (s.next_scheduled_at, s.key) > (:after_at, :after_key)
                and s.next_nominal_at is not null and s.deleted_at is null and strpos(s.triggers, '"timezone":') > 0
              order by s.next_scheduled_at, s.key limit :limit)
order by key
for no key update

-- name: zoned_schedules_due
-- Those that the lock has answered, in the order in which they are due.
select {{schedule_columns}}, false from schedules s
where s.key = any(:locked::bigint[])
order by s.next_scheduled_at nulls first, s.key
