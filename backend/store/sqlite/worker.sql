-- fragment: delayed
-- Waits for its time; everything else that is queued does not, so that a clock that goes back delays no new run.
(state = 'retrying' or (state = 'queued' and chained > 0))

-- fragment: following
-- The namespace after another one that has waiting runs in a lane; null after the last.
(select min(namespace) from (
   select min(namespace) as namespace from runs
   where state = 'queued' and chained = 0 and lane = :lane and namespace > w.namespace
   union all
   select min(namespace) from runs where {{delayed}} and lane = :lane and namespace > w.namespace))

-- name: waiting_namespaces
-- The namespaces of which a lane has runs to claim now, in turn after the one that was served last.
with recursive walk (namespace) as (
  select ''
  union all
  select {{following}} from walk w where w.namespace is not null)
select found.namespace from walk found
where exists (select 1 from runs
              where state = 'queued' and chained = 0 and lane = :lane and namespace = found.namespace)
   or exists (select 1 from runs
              where {{delayed}} and lane = :lane and namespace = found.namespace and available_at <= :now)
order by found.namespace <= :after, found.namespace limit :limit

-- name: claim_runs
-- Lease the runs of a lane that have waited longest, of each namespace its share.
-- Notes what they are dispatched under.
update runs
set state = 'running', attempt = attempt + 1, started_at = coalesce(started_at, :now), attempt_started_at = :now,
    lease_token = :token, lease_until = :until, worker = :worker,
    (delivery, revision) = (select s.delivery, s.revision from schedules s where s.key = runs.schedule_key
                            union all select null, runs.revision where runs.schedule_key < 0)
where key in (
  select w.key from json_each(:namespaces) turn cross join runs w
  where w.key in (
    select key from (
      select key, available_at from runs
      where state = 'queued' and chained = 0 and lane = :lane and namespace = turn.value
      union all
      select key, available_at from runs
      where {{delayed}} and lane = :lane and namespace = turn.value and available_at <= :now
      order by available_at limit :share))
  order by row_number() over (partition by turn.key order by w.available_at), turn.key limit :limit)
returning key, id, schedule_key, namespace, nominal_at, scheduled_at, attempt_started_at, attempt, losses, released,
          retry_until_at, trigger_type, missed_count, missed_first_at, missed_last_at, input

-- name: next_available
-- When the next waiting run of a lane may be claimed.
select min(w.available_at) from (
  select :now as available_at where exists (
    select 1 from runs where state = 'queued' and chained = 0 and lane = :lane)
  union all
  select (select min(available_at) from runs where {{delayed}} and lane = :lane)) w

-- name: errands_of
-- What the runs of these schedules have to carry out; null where the definition is not JSON.
select key, id, case when json_valid(definition) then json_extract(
         definition, '$.version', '$.definition.target', '$.definition.input', '$.definition.timeout',
         '$.definition.retry', '$.definition.delivery') end
from schedules where key in (select value from json_each(:schedule_keys))

-- name: extend_leases
-- Prolong leases that are still held, and hear which runs are to stop; one that is not answered has lost its lease.
update runs set lease_until = :until
where key = :key and lease_token = :token and state = 'running'
returning key, cancel_requested

-- name: finish_runs
-- Write results back; only the holder of the lease may. One that is asked to stop is not attempted again.
update runs
set state = case when cancel_requested and :finished_at is null then 'cancelled' else :state end,
    finished_at = case when cancel_requested then :now else :finished_at end,
    reason = :reason, error = :error, available_at = :available_at,
    released = released + :released, lease_token = null, lease_until = null, worker = null
where key = :key and lease_token = :token and state = 'running'
returning key, attempt, state

-- name: insert_attempts
-- Record ended attempts.
insert into attempts (run_key, number, state, started_at, finished_at, worker, error, status_code, output,
                      output_truncated)
values (:run_key, :number, :state, :started_at, :finished_at, :worker, :error, :status_code, :output,
        :output_truncated)
on conflict (run_key, number) do nothing

-- name: end_streaks
-- A success ends a streak of failures.
update schedules set failure_streak = 0, permanent_streak = 0, streak_since_at = null
where key in (select value from json_each(:schedule_keys)) and failure_streak > 0

-- name: lengthen_streaks
-- Failed runs lengthen the streak, or begin one after a success; one that is not permanent ends that of permanent ones.
update schedules
set failure_streak = :failures + case when :after_success then 0 else failure_streak end,
    permanent_streak = :permanent + case when :all_permanent and not :after_success then permanent_streak else 0 end,
    streak_since_at = case when :after_success then :now else coalesce(streak_since_at, :now) end
where key = :schedule_key
returning key, failure_streak

-- name: pause_failing
-- Pause schedules whose streak is long enough, with a note that says why.
update schedules as s
set state = 'paused', note_by = 'scheduler', note_at = :now, paused_cursor_at = cursor_at,
    skip_reason = null, skip_count = 0, skip_range_at = null,
    note = 'paused after ' || failure_streak || ' failed runs in a row: '
           || (select f.value ->> 'error' from json_each(:failures) f where f.value ->> 'schedule_key' = s.key)
where s.key in (select f.value ->> 'schedule_key' from json_each(:failures) f)
  and s.state = 'active' and s.deleted_at is null and s.pause_after_failures > 0
  and (s.permanent_streak >= s.pause_after_failures
       or (s.failure_streak >= s.pause_after_failures and s.streak_since_at <= :now - :streak_span))
returning namespace, id, note, key
