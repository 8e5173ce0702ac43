-- fragment: run_columns
r.key, r.id, s.id, r.namespace, r.nominal_at, r.backfill_id, r.trigger_type, r.state, r.reason, r.scheduled_at,
r.queued_at, r.available_at, r.started_at, r.finished_at, r.attempt, r.losses, r.attempt_started_at, r.worker,
r.missed_count, r.missed_first_at, r.missed_last_at, r.input, r.revision, r.error, r.schedule_key,
r.lease_until

-- name: run_by_id
-- One run of a namespace.
select {{run_columns}} from runs r join schedules s on s.key = r.schedule_key
where r.namespace = :namespace and r.id = :id

-- fragment: is_open
r.state in ('buffered', 'held', 'queued', 'running', 'retrying')

-- fragment: is_unsuccessful
r.state in ('failed', 'timed_out', 'dead', 'cancelled', 'skipped', 'missed')

-- fragment: page_of_namespace
r.namespace = :namespace and r.id < :before and r.id >= :floor
  and (:from is null or r.nominal_at >= :from) and (:to is null or r.nominal_at < :to)
order by r.id desc
limit :limit

-- fragment: page_of_schedule
r.schedule_key = :schedule_key and r.nominal_at <= :before_at
  and (r.nominal_at < :before_at or r.id < :before)
  and (:from is null or r.nominal_at >= :from) and (:to is null or r.nominal_at < :to)
order by r.nominal_at desc, r.id desc
limit :limit

-- name: list_runs
-- One page of a namespace's runs, newest first; ids begin with the nominal time.
select {{run_columns}} from runs r join schedules s on s.key = r.schedule_key
where (:state is null or r.state = :state) and {{page_of_namespace}}

-- name: list_open_runs
-- The same in a state that ends, by the index on open runs: it sorts them, and reads no others.
select {{run_columns}} from runs r indexed by runs_open join schedules s on s.key = r.schedule_key
where {{is_open}} and r.state = :state and {{page_of_namespace}}

-- name: list_unsuccessful_runs
-- The same in a state that may be rare, by the index on such.
select {{run_columns}} from runs r indexed by runs_unsuccessful join schedules s on s.key = r.schedule_key
where {{is_unsuccessful}} and r.state = :state and {{page_of_namespace}}

-- name: list_schedule_runs
-- One page of a schedule's runs, newest first.
select {{run_columns}} from runs r join schedules s on s.key = r.schedule_key
where (:state is null or r.state = :state) and {{page_of_schedule}}

-- name: list_open_schedule_runs
-- The same in a state that ends, by the index on open runs, lane by lane and then sorted: of one schedule few are open.
select {{run_columns}} from runs r indexed by runs_open join schedules s on s.key = r.schedule_key
where {{is_open}} and r.lane in (0, 1) and r.state = :state and {{page_of_schedule}}

-- name: list_unsuccessful_schedule_runs
-- The same in a state that may be rare, by the index on such.
select {{run_columns}} from runs r indexed by runs_unsuccessful_of_schedule join schedules s on s.key = r.schedule_key
where {{is_unsuccessful}} and r.state = :state and {{page_of_schedule}}

-- name: attempts_of
-- The ended attempts of these runs, in order.
select run_key, number, state, started_at, finished_at, worker, error, status_code, output, output_truncated
from attempts where run_key in (select value from json_each(:run_keys)) order by run_key, number

-- name: attempts_in_brief
-- The same for a list: of the output only the beginning of the newest, so that a page stays small.
select a.run_key, a.number, a.state, a.started_at, a.finished_at, a.worker, a.error, a.status_code,
       case when a.number = r.attempt then substr(a.output, 1, 4096) else '' end,
       a.output_truncated or length(a.output) > 4096
from attempts a join runs r on r.key = a.run_key
where a.run_key in (select value from json_each(:run_keys)) order by a.run_key, a.number

-- name: cancel_run
-- End a run that has not ended; its lease, if it has one, is void from now on.
update runs set state = 'cancelled', error = :error, finished_at = :now, lease_token = null, lease_until = null,
                worker = null
where key = :key and state in ('buffered', 'held', 'queued', 'running', 'retrying')
returning key, schedule_key
