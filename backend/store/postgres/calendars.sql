-- name: calendar_days
-- The days of named calendars; without ids, of all of the namespace.
select id, days from calendars
where namespace = :namespace and (:ids::text[] is null or id = any(:ids::text[]))

-- name: calendar_by_id
-- One named calendar.
select id, days, updated_at, updated_by from calendars where namespace = :namespace and id = :id

-- name: list_calendars
-- One page of named calendars, by id.
select id, days, updated_at, updated_by from calendars
where namespace = :namespace and id > :after
order by id
limit :limit

-- name: count_calendars
-- How many named calendars a namespace has.
select count(*) from calendars where namespace = :namespace

-- name: put_calendar
-- Make or replace a named calendar.
insert into calendars (namespace, id, days, updated_at, updated_by)
values (:namespace, :id, :days, :updated_at, :updated_by)
on conflict (namespace, id) do update
set days = excluded.days, updated_at = excluded.updated_at, updated_by = excluded.updated_by

-- name: delete_calendar
-- Forget a named calendar.
delete from calendars where namespace = :namespace and id = :id

-- name: schedules_with_calendar
-- The live schedules that exclude the days of a calendar, by the index of those that exclude any.
select s.id
from schedules s cross join lateral (select readable_json(s.definition) #> '{definition,exclusions}' as list) e
where s.namespace = :namespace and s.deleted_at is null and strpos(s.definition, '"kind":"calendar"') > 0
  and exists (select 1
              from json_array_elements(case json_typeof(e.list) when 'array' then e.list else '[]'::json end) x
              where x.value ->> 'kind' = 'calendar' and x.value ->> 'calendar' = :id::text)
order by s.key
limit :limit
