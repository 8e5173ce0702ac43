-- fragment: run_columns
r.key, r.id, s.id, r.namespace, r.nominal_at, r.backfill_id, r.trigger_type, r.state, r.reason, r.scheduled_at,
r.queued_at, r.available_at, r.started_at, r.finished_at, r.attempt, r.losses, r.attempt_started_at, r.worker,
r.missed_count, r.missed_first_at, r.missed_last_at, r.input, r.revision, r.error, r.schedule_key

-- name: run_by_id
-- One run of a namespace.
select {{run_columns}} from runs r join schedules s on s.key = r.schedule_key
where r.namespace = :namespace and r.id = :id

-- name: list_runs
-- One page of a namespace's runs, newest first; ids begin with the nominal time.
select {{run_columns}} from runs r join schedules s on s.key = r.schedule_key
where r.namespace = :namespace and r.id < :before and r.id >= :floor
  and (:state is null or r.state = :state)
  and (:from is null or r.nominal_at >= :from) and (:to is null or r.nominal_at < :to)
order by r.id desc
limit :limit

-- name: list_schedule_runs
-- One page of a schedule's runs, newest first.
select {{run_columns}} from runs r join schedules s on s.key = r.schedule_key
where r.schedule_key = :schedule_key and r.nominal_at <= :before_at
  and (r.nominal_at < :before_at or r.id < :before)
  and (:state is null or r.state = :state)
  and (:from is null or r.nominal_at >= :from) and (:to is null or r.nominal_at < :to)
order by r.nominal_at desc, r.id desc
limit :limit

-- name: attempts_of
-- The ended attempts of these runs, in order.
select run_key, number, state, started_at, finished_at, worker, error, status_code, output, output_truncated
from attempts where run_key in (select value from json_each(:run_keys)) order by run_key, number

-- name: cancel_run
-- End a run that has not ended; its lease, if it has one, is void from now on.
update runs set state = 'cancelled', error = :error, finished_at = :now, lease_token = null, lease_until = null,
                worker = null
where key = :key and state in ('buffered', 'held', 'queued', 'running', 'retrying')
returning key, schedule_key
