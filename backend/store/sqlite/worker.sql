-- fragment: delayed
-- Waits for its time; everything else that is queued does not, so that a clock that goes back delays no new run.
(state = 'retrying' or (state = 'queued' and chained > 0))

-- name: waiting_kinds
-- The kinds of target that runs of a lane wait for.
with recursive walk (kind) as (
  select ''
  union all
  select (select min(kind) from (
            select min(target_kind) as kind from runs
            where state = 'queued' and chained = 0 and lane = :lane and target_kind > w.kind
            union all
            select min(target_kind) from runs where {{delayed}} and lane = :lane and target_kind > w.kind))
  from walk w where w.kind is not null)
select kind from walk where kind > ''

-- fragment: full
-- Are as many runs of a namespace at work as may be? Notifications (lane 2) neither count nor wait for that.
(:lane < 2 and exists (select 1 from namespaces n
        where n.id = w.namespace
          and n.limits ->> '$.concurrent_runs'
              <= (select count(*) from runs where state = 'running' and runs.lane < 2 and runs.namespace = n.id)))

-- name: waiting_namespaces
-- The next namespaces of which a lane has runs of these kinds to claim now, in turn after the one that was served last.
-- Of new runs: two walks from namespace to namespace, from that one on and up to it; each ends when it has enough.
-- Of delayed ones: those of the runs that have been due for longest, since a walk would meet all that are not due yet.
-- Where more are due than we read, they may all be one namespace's: then a short walk looks at the next in turn too.
-- So among very many namespaces whose runs are delayed, turns are not exact: one whose run is due may be passed over,
-- at the longest until its run is among the oldest. Namespaces that may have no more at work are passed over, so that
-- they stand in nobody's way. Answers how many may be at work, too.
with recursive walk (turn, namespace, begins, found) as (
  values (0, :after, 1, 0), (1, '', 1, 0)
  union all
  select w.turn, (select min(namespace) from (
           select (select min(namespace) from runs
                   where state = 'queued' and chained = 0 and lane = :lane and target_kind = kind.value
                     and namespace > w.namespace) as namespace
           from json_each(:kinds) kind)), 0, w.found + (not w.begins and not {{full}})
  from walk w where w.namespace is not null and w.found < :limit and (w.turn = 0 or w.namespace < :after)),
at_limit (namespace) as (
  select namespace from runs where :lane < 2 and state = 'running' and lane < 2 group by namespace
  having count(*) >= (select n.limits ->> '$.concurrent_runs' from namespaces n where n.id = runs.namespace)),
due (namespace) as (
  select r.namespace from json_each(:kinds) kind cross join runs r
  where r.key in (
    select key from runs
    where {{delayed}} and lane = :lane and target_kind = kind.value and available_at <= :now
      and namespace not in (select namespace from at_limit)
    order by available_at limit 4 * :limit + 100)),
crowded (turn, namespace, steps) as (
  select column1, column2, 0 from (values (0, :after), (1, ''))
  where (select count(*) from due) >= 4 * :limit + 100
  union all
  select c.turn, (select min(namespace) from (
           select (select min(namespace) from runs
                   where {{delayed}} and lane = :lane and target_kind = kind.value
                     and namespace > c.namespace) as namespace
           from json_each(:kinds) kind)), c.steps + 1
  from crowded c where c.namespace is not null and c.steps < :limit + 20 and (c.turn = 0 or c.namespace < :after)),
ready (namespace) as (
  select w.namespace from walk w where not w.begins and w.namespace is not null and not {{full}}
  union
  select namespace from due
  union
  select c.namespace from crowded c
  where c.steps > 0 and c.namespace not in (select namespace from at_limit) and exists (
    select 1 from json_each(:kinds) kind cross join runs
    where {{delayed}} and lane = :lane and target_kind = kind.value and namespace = c.namespace
      and available_at <= :now))
select namespace, (select n.limits ->> '$.concurrent_runs' from namespaces n where n.id = ready.namespace and :lane < 2)
from ready order by namespace <= :after, namespace limit :limit

-- name: claim_runs
-- Lease the runs of a lane and of these kinds that have waited longest, of each namespace its share.
-- Notes what they are dispatched under.
update runs
set state = 'running', attempt = attempt + 1, started_at = coalesce(started_at, :now), attempt_started_at = :now,
    lease_token = :token, lease_until = :until, worker = :worker, callback_hash = null,
    (delivery, revision) = (select s.delivery, s.revision from schedules s where s.key = runs.schedule_key
                            union all select null, runs.revision where runs.schedule_key < 0)
where key in (
  select key from (
    select w.key, turn.key as turn, row_number() over (partition by turn.key order by w.available_at) as place
    from json_each(:namespaces) turn cross join json_each(:kinds) kind cross join runs w
    where w.key in (
      select key from (
        select key, available_at from runs
        where state = 'queued' and chained = 0 and lane = :lane and target_kind = kind.value
          and namespace = turn.value
        union all
        select key, available_at from runs
        where {{delayed}} and lane = :lane and target_kind = kind.value and namespace = turn.value
          and available_at <= :now
        order by available_at limit :share)))
  where place <= :share and (:rooms is null or place <= :rooms ->> turn)
  order by place, turn limit :limit)
returning key, id, schedule_key, namespace, nominal_at, scheduled_at, attempt_started_at, attempt, losses, released,
          retry_until_at, trigger_type, missed_count, missed_first_at, missed_last_at, input, declined, unable_since_at,
          available_at

-- name: next_available
-- When the next waiting run of these lanes and kinds may be claimed.
select min(w.available_at) from (
  select :now as available_at where exists (
    select 1 from json_each(:lanes) lanes cross join json_each(:kinds) kind cross join runs
    where state = 'queued' and chained = 0 and lane = lanes.value and target_kind = kind.value)
  union all
  select (select min(available_at) from runs where {{delayed}} and lane = lanes.value and target_kind = kind.value)
  from json_each(:lanes) lanes cross join json_each(:kinds) kind) w

-- name: errands_of
-- What the runs of these schedules have to carry out, null where the definition is not JSON; and which hosts they may call.
select key, id, case when json_valid(definition) then json_extract(
         definition, '$.version', '$.definition.target', '$.definition.input', '$.definition.timeout',
         '$.definition.retry', '$.definition.delivery', '$.definition.completion', '$.definition.heartbeat_timeout') end,
       namespace, (select egress from namespaces n where n.id = schedules.namespace)
from schedules where key in (select value from json_each(:schedule_keys))

-- name: extend_leases
-- Prolong leases that are still held, and hear which runs are to stop; one that is not answered has lost its lease.
update runs set lease_until = :until
where key = :key and lease_token = :token and state = 'running'
returning key, cancel_requested

-- name: finish_runs
-- Write results back; only the holder of the lease may. One that is asked to stop is not attempted again.
-- One that the holder may not do has not been attempted, and waits for who has the ability.
update runs
set state = case when cancel_requested and :finished_at is null then 'cancelled' else :state end,
    finished_at = case when cancel_requested then :now else :finished_at end,
    reason = :reason, error = :error, available_at = :available_at,
    released = released + :released, lease_token = null, lease_until = null, worker = null,
    attempt = attempt - :declined, declined = case when :declined then declined + 1 else 0 end,
    started_at = case when :declined and attempt = 1 then null else started_at end,
    unable_since_at = :unable_since_at, target_kind = coalesce(:ability, target_kind)
where key = :key and lease_token = :token and state = 'running'
returning key, attempt + :declined, state

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
