-- fragment: begun_at
-- What was queued while we claimed, after we had looked at the clock, begins when it was queued: never before the end of
-- the run that it waited for. A clock that has gone back by more than a second is not followed into the future.
case when r.available_at between :now::bigint and :now::bigint + 1000000 then r.available_at else :now::bigint end

-- fragment: delayed
-- Waits for its time; everything else that is queued does not, so that a clock that goes back delays no new run.
(state = 'retrying' or (state = 'queued' and chained > 0))

-- name: waiting_kinds
-- The kinds of target that runs of a lane wait for.
with recursive walk (kind) as (
  select ''
  union all
  select f.kind
  from walk w cross join lateral (
    select least(
      (select target_kind from runs
       where state = 'queued' and chained = 0 and lane = :lane::integer and target_kind > w.kind
       order by target_kind limit 1),
      (select target_kind from runs
       where {{delayed}} and lane = :lane::integer and target_kind > w.kind
       order by target_kind limit 1)) as kind) f
  where f.kind is not null)
select kind from walk where kind > ''

-- fragment: full
-- Are as many runs of a namespace at work as may be? Notifications (lane 2) neither count nor wait for that.
(:lane::integer < 2 and exists (select 1 from namespaces n
        where n.id = f.namespace
          and (n.limits::json ->> 'concurrent_runs')::bigint
              <= (select count(*) from runs r where r.state = 'running' and r.lane < 2 and r.namespace = n.id)))

-- lock: waiting_namespaces
-- Nothing to lock; but for the rest of a claim, the planner must not sort what an index has in order.
-- From statistics of a quiet time it would expect little, read all that waits, and sort it.
select set_config('enable_sort', 'off', true)

-- name: waiting_namespaces
-- The next namespaces of which a lane has runs of these kinds to claim now, in turn after the one that was served last.
-- Of new runs: two walks from namespace to namespace, from that one on and up to it; each ends when it has enough.
-- Of delayed ones: those of the runs that have been due for longest, since a walk would meet all that are not due yet.
-- Where more are due than we read, they may all be one namespace's: then a short walk looks at the next in turn too.
-- So among very many namespaces whose runs are delayed, turns are not exact: one whose run is due may be passed over,
-- at the longest until its run is among the oldest. Namespaces that may have no more at work are passed over, so that
-- they stand in nobody's way. Answers how many may be at work, too.
with recursive walk (turn, namespace, ready, found) as (
  values (0, :after::text, false, 0), (1, '', false, 0)
  union all
  select w.turn, f.namespace, c.ready, w.found + c.ready::integer
  from walk w cross join lateral (
    select min(
      (select namespace from runs
       where state = 'queued' and chained = 0 and lane = :lane::integer and target_kind = k.kind
         and runs.namespace > w.namespace
       order by runs.namespace limit 1)) as namespace
    from unnest(:kinds::text[]) k (kind)) f
  cross join lateral (select not {{full}} as ready) c
  where w.found < :limit::bigint and (w.turn = 0 or w.namespace < :after::text) and f.namespace is not null),
at_limit as materialized (
  select r.namespace from runs r where :lane::integer < 2 and r.state = 'running' and r.lane < 2 group by r.namespace
  having count(*) >= (select (n.limits::json ->> 'concurrent_runs')::bigint from namespaces n where n.id = r.namespace)),
due as (
  select d.namespace from unnest(:kinds::text[]) k (kind) cross join lateral (
    select namespace from runs
    where {{delayed}} and lane = :lane::integer and target_kind = k.kind and available_at <= :now::bigint
      and namespace not in (select namespace from at_limit)
    order by available_at limit 4 * :limit::bigint + 100) d),
crowded (turn, namespace, available_at, steps) as (
  select turn, namespace, null::bigint, 0 from (values (0, :after::text), (1, '')) as t (turn, namespace)
  where (select count(*) from due) >= 4 * :limit::bigint + 100
  union all
  select c.turn, f.namespace, f.available_at, c.steps + 1
  from crowded c cross join lateral (
    select d.* from unnest(:kinds::text[]) k (kind) cross join lateral (
      select namespace, available_at from runs
      where {{delayed}} and lane = :lane::integer and target_kind = k.kind and runs.namespace > c.namespace
      order by namespace, available_at limit 1) d
    order by namespace, available_at limit 1) f
  where c.steps < :limit::bigint + 20 and (c.turn = 0 or c.namespace < :after::text))
select r.namespace, (select (n.limits::json ->> 'concurrent_runs')::bigint from namespaces n
                     where n.id = r.namespace and :lane::integer < 2)
from (
  select namespace from walk where ready
  union
  select namespace from due
  union
  select namespace from crowded where available_at <= :now::bigint and namespace not in (select namespace from at_limit)) r
order by r.namespace <= :after::text, r.namespace limit :limit::bigint

-- name: claim_runs
-- Lease the runs of a lane and of these kinds that have waited longest, of each namespace its share.
-- Notes what they are dispatched under. What another worker is about to lease is passed over: this waits for nobody.
with turn as (
  select t.namespace, t.room, t.place, k.kind
  from unnest(:namespaces::text[], :rooms::bigint[]) with ordinality as t (namespace, room, place)
  cross join unnest(:kinds::text[]) k (kind)),
fresh as materialized (
  select t.place, t.room, w.* from turn t cross join lateral (
    select key, nominal_at, available_at from runs
    where state = 'queued' and chained = 0 and lane = :lane::integer and target_kind = t.kind
      and namespace = t.namespace
    order by available_at limit least(t.room, :share::bigint)
    for no key update skip locked) w),
again as materialized (
  select t.place, t.room, w.* from turn t cross join lateral (
    select key, nominal_at, available_at from runs
    where {{delayed}} and lane = :lane::integer and target_kind = t.kind and namespace = t.namespace
      and available_at <= :now::bigint
    order by available_at limit least(t.room, :share::bigint)
    for no key update skip locked) w),
placed as (
  select w.*, row_number() over (partition by place order by available_at) as rank
  from (select * from fresh union all select * from again) w),
picked as materialized (
  select key, nominal_at from placed where rank <= least(room, :share::bigint) order by rank, place limit :limit::bigint),
x as (  -- arrays, since the planner would take a limit it does not know for a tenth of all, and read the whole ledger
  select * from unnest(array(select key from picked order by key), array(select nominal_at from picked order by key))
    as t (key, nominal_at))
update runs r
set state = 'running', attempt = r.attempt + 1, started_at = coalesce(r.started_at, {{begun_at}}),
    attempt_started_at = {{begun_at}}, lease_token = :token, lease_until = :until, worker = :worker, callback_hash = null,
    (delivery, revision) = (select s.delivery, s.revision from schedules s where s.key = r.schedule_key
                            union all select null, r.revision where r.schedule_key < 0)
from x
where r.key = x.key and r.nominal_at = x.nominal_at
returning r.key, r.id, r.schedule_key, r.namespace, r.nominal_at, r.scheduled_at, r.attempt_started_at, r.attempt,
          r.losses, r.released, r.retry_until_at, r.trigger_type, r.missed_count, r.missed_first_at, r.missed_last_at,
          r.input, r.declined, r.unable_since_at, r.available_at

-- name: next_available
-- When the next waiting run of these lanes and kinds may be claimed.
select min(w.available_at) from unnest(:lanes::integer[]) l (lane) cross join unnest(:kinds::text[]) k (kind)
cross join lateral (
  (select :now::bigint as available_at from runs
   where state = 'queued' and chained = 0 and runs.lane = l.lane and target_kind = k.kind
   order by namespace limit 1)
  union all
  (select available_at from runs where {{delayed}} and runs.lane = l.lane and target_kind = k.kind
   order by available_at limit 1)) w

-- name: errands_of
-- What the runs of these schedules have to carry out, null where the definition is not JSON; and which hosts they may call.
select s.key, s.id, case when d.content is not null then json_build_array(
         d.content -> 'version', d.content #> '{definition,target}', d.content #> '{definition,input}',
         d.content #> '{definition,timeout}', d.content #> '{definition,retry}',
         d.content #> '{definition,delivery}', d.content #> '{definition,completion}',
         d.content #> '{definition,heartbeat_timeout}')::text end,
       s.namespace, (select n.egress from namespaces n where n.id = s.namespace)
from schedules s cross join lateral (select readable_json(s.definition) as content) d
where s.key = any(:schedule_keys::bigint[])

-- name: extend_leases
-- Prolong leases that are still held, and hear which runs are to stop; one that is not answered has lost its lease.
with held as materialized (
  select r.key, r.nominal_at, x.until
  from json_to_recordset(:rows::json) as x (key bigint, token text, until bigint) join runs r on {{in_range}}
  where r.lease_token = x.token and r.state = 'running'
  order by r.key
  for no key update of r)
update runs r set lease_until = x.until
from held x
where r.key = x.key and r.nominal_at = x.nominal_at
returning r.key, r.cancel_requested

-- name: finish_runs
-- Write results back; only the holder of the lease may. One that is asked to stop is not attempted again.
-- One that the holder may not do has not been attempted, and waits for who has the ability.
with held as materialized (
  select r.nominal_at, x.*
  from json_to_recordset(:rows::json) as x (
    key bigint, token text, now bigint, state text, reason text, error text, finished_at bigint, available_at bigint,
    released integer, declined integer, unable_since_at bigint, ability text) join runs r on {{in_range}}
  where r.lease_token = x.token and r.state = 'running'
  order by r.key
  for no key update of r)
update runs r
set state = case when r.cancel_requested = 1 and x.finished_at is null then 'cancelled' else x.state end,
    finished_at = case when r.cancel_requested = 1 then x.now else x.finished_at end,
    reason = x.reason, error = x.error, available_at = x.available_at,
    released = r.released + x.released, lease_token = null, lease_until = null, worker = null,
    attempt = r.attempt - x.declined, declined = case when x.declined = 1 then r.declined + 1 else 0 end,
    started_at = case when x.declined = 1 and r.attempt = 1 then null else r.started_at end,
    unable_since_at = x.unable_since_at, target_kind = coalesce(x.ability, r.target_kind)
from held x
where r.key = x.key and r.nominal_at = x.nominal_at
returning r.key, r.attempt + x.declined, r.state

-- name: insert_attempts
-- Record ended attempts.
insert into attempts (run_key, number, state, started_at, finished_at, worker, error, status_code, output,
                      output_truncated)
select x.run_key, x.number, x.state, x.started_at, x.finished_at, x.worker, x.error, x.status_code, x.output,
       x.output_truncated
from json_to_recordset(:rows::json) as x (
  run_key bigint, number integer, state text, started_at bigint, finished_at bigint, worker text, error text,
  status_code integer, output text, output_truncated boolean)
on conflict (run_key, number) do nothing

-- name: end_streaks
-- A success ends a streak of failures.
update schedules set failure_streak = 0, permanent_streak = 0, streak_since_at = null
where key = any(:schedule_keys::bigint[]) and failure_streak > 0

-- name: lengthen_streaks
-- Failed runs lengthen the streak, or begin one after a success; one that is not permanent ends that of permanent ones.
update schedules s
set failure_streak = x.failures + case when x.after_success then 0 else s.failure_streak end,
    permanent_streak = x.permanent
                       + case when x.all_permanent and not x.after_success then s.permanent_streak else 0 end,
    streak_since_at = case when x.after_success then x.now else coalesce(s.streak_since_at, x.now) end
from json_to_recordset(:rows::json) as x (
  schedule_key bigint, failures bigint, permanent bigint, all_permanent boolean, after_success boolean, now bigint)
where s.key = x.schedule_key
returning s.key, s.failure_streak

-- name: pause_failing
-- Pause schedules whose streak is long enough, with a note that says why.
update schedules as s
set state = 'paused', note_by = 'scheduler', note_at = :now::bigint, paused_cursor_at = s.cursor_at,
    skip_reason = null, skip_count = 0, skip_range_at = null,
    note = 'paused after ' || s.failure_streak || ' failed runs in a row: ' || x.error
from json_to_recordset(:failures::json) as x (schedule_key bigint, error text)
where s.key = x.schedule_key
  and s.state = 'active' and s.deleted_at is null and s.pause_after_failures > 0
  and (s.permanent_streak >= s.pause_after_failures
       or (s.failure_streak >= s.pause_after_failures and s.streak_since_at <= :now::bigint - :streak_span::bigint))
returning s.namespace, s.id, s.note, s.key
