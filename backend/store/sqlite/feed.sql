-- fragment: fed_columns
r.id, coalesce(s.id, n.id), r.trigger_type, r.state, r.reason, r.nominal_at, r.queued_at, r.attempt_started_at,
r.finished_at, r.attempt, r.error

-- fragment: fed_runs
from runs r left join schedules s on s.key = r.schedule_key left join notification_routes n on n.key = -r.schedule_key

-- name: changes_since
-- What was done to a namespace's schedules, oldest first.
select a.key, a.changed_at, a.verb, a.object_id, a.changed_by from audit a
where a.namespace = :namespace and a.changed_at > :since and a.kind = 'schedule'
order by a.changed_at, a.key
limit :limit

-- fragment: queued_kinds
-- The kinds of target that new runs of a lane wait for: by each of them the index finds a namespace's.
queued_kinds (kind) as (
  select ''
  union all
  select (select min(target_kind) from runs
          where state = 'queued' and chained = 0 and lane = :lane and target_kind > k.kind)
  from queued_kinds k where k.kind is not null)

-- name: queued_since
-- Runs of a lane that were queued, and still wait.
with recursive {{queued_kinds}}
select {{fed_columns}}
from queued_kinds k cross join runs r left join schedules s on s.key = r.schedule_key
left join notification_routes n on n.key = -r.schedule_key
where r.lane = :lane and r.target_kind = k.kind and r.namespace = :namespace and r.state = 'queued' and r.chained = 0
  and r.available_at > :since
order by r.available_at
limit :limit

-- name: started_since
-- Runs that were begun, and are at work.
select {{fed_columns}} {{fed_runs}}
where r.state = 'running' and r.namespace = :namespace and r.attempt_started_at > :since
order by r.attempt_started_at
limit :limit

-- name: ended_since
-- Runs that ended, or never ran, oldest first; not those that failed.
-- By the time alone: of a namespace there may be very many, and of late only few.
select {{fed_columns}} {{fed_runs}}
where r.state in ('succeeded', 'cancelled', 'skipped', 'missed') and r.finished_at > :since and +r.namespace = :namespace
order by r.finished_at
limit :limit

-- name: failed_since
-- Runs that failed, oldest first.
select {{fed_columns}} {{fed_runs}}
where r.state in ('failed', 'timed_out', 'dead') and r.finished_at > :since and +r.namespace = :namespace
order by r.finished_at
limit :limit
