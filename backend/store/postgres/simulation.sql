-- name: replayable_schedules
-- The next active schedules by key, as far as a simulation needs them.
select s.key, s.id, s.triggers, s.jitter, s.misfire_policy, s.misfire_threshold, s.catchup_window, s.overlap_policy,
       s.max_runs - s.runs_made
from schedules s
where s.namespace = :namespace and s.deleted_at is null and s.key > :after and s.state = 'active'
order by s.key
limit :limit

-- name: schedules_beside
-- How many of the newest schedules fire next at the same place within an hour.
select count(*)
from (select s.id, s.next_nominal_at from schedules s
      where s.namespace = :namespace and s.deleted_at is null
      order by s.key desc
      limit 1000) newest
where next_nominal_at % :hour::bigint = :within::bigint and id <> :id
