-- fragment: schedule_columns
s.key, s.namespace, s.id, s.name, s.owner, s.target_kind, s.state, s.note, s.note_by, s.note_at, s.definition,
s.triggers, s.revision, s.source, s.created_at, s.created_by, s.updated_at, s.effective_at, s.cursor_at,
s.next_nominal_at, s.next_scheduled_at, s.misfire_policy, s.misfire_threshold, s.catchup_window, s.overlap_policy,
s.delivery, s.pause_after_failures, s.jitter, s.max_runs, s.runs_made, s.paused_cursor_at, s.missed_count,
s.missed_first_at, s.missed_last_at, s.skip_reason,
s.skip_count, s.skip_range_at, s.failure_streak, s.permanent_streak, s.streak_since_at, s.error, s.error_count,
s.deleted_at

-- fragment: in_range
-- The run of a key given in `x`, in the one partition where it can be.
r.key = x.key and r.nominal_at >= range_from(x.key) and r.nominal_at < range_until(x.key)

-- fragment: has_open_run
-- Backfills do not count. Not `exists`, which the planner would answer by reading all that is open, if it expects little.
((select true from runs r where r.schedule_key = s.key and r.lane = 0
  and r.state in ('held', 'queued', 'running', 'retrying') limit 1) is not null)

-- fragment: buffered_runs
(select count(*) from runs b where b.schedule_key = s.key and b.lane = 0 and b.state = 'buffered')

-- fragment: has_run_to_end
((select true from runs r where r.schedule_key = s.key and r.lane = 0
  and r.state in ('buffered', 'held', 'queued', 'running', 'retrying') limit 1) is not null)

-- fragment: under_way
-- What of each locked schedule is under way, read once for all of them.
left join (select r.schedule_key, bool_or(r.state <> 'buffered') as open_run,
                  count(*) filter (where r.state = 'buffered') as buffered
           from runs r
           where r.schedule_key = any(:locked::bigint[]) and r.lane = 0
             and r.state in ('buffered', 'held', 'queued', 'running', 'retrying')
           group by r.schedule_key) o on o.schedule_key = s.key

-- name: clock
-- The database's clock, in microseconds; the only statement that reads time.
select (extract(epoch from clock_timestamp()) * 1000000)::bigint

-- name: hold_namespace
-- Nobody else changes schedules or calendars of this namespace until we are done.
select 1 from namespaces where id = :namespace for no key update

-- name: hold_free_namespaces
-- Those at which nobody else is, with their limits; nobody else changes schedules there until we are done.
select id, limits from namespaces where id = any(:namespaces::text[]) order by id for no key update skip locked

-- lock: hold_schedules
-- Nobody else changes these schedules, or what waits for the end of their runs, until we are done.
select key from schedules where key = any(:schedule_keys::bigint[]) order by key for no key update

-- name: hold_schedules
-- Which of these schedules somebody is to hear of when they succeed.
select distinct m.schedule_key from notification_marks m
where m.schedule_key = any(:schedule_keys::bigint[]) and m.is_open = 1

-- lock: claim_due
-- What another engine plans, or somebody changes just now, is passed over.
select key from schedules where next_scheduled_at <= :now::bigint
order by next_scheduled_at limit :limit::bigint
for no key update skip locked

-- name: claim_due
-- Schedules whose next time has come, oldest first; whether each has an open run, and how many wait for that.
select {{schedule_columns}}, coalesce(o.open_run, false), coalesce(o.buffered, 0)
from schedules s {{under_way}}
where s.key = any(:locked::bigint[])
order by s.next_scheduled_at

-- lock: claim_due_latest
-- From the other end.
select key from schedules where next_scheduled_at <= :now::bigint and next_scheduled_at > :above::bigint
order by next_scheduled_at desc limit :limit::bigint
for no key update skip locked

-- name: claim_due_latest
-- The same from the other end: while old ones are caught up, those that are due just now do not wait.
select {{schedule_columns}}, coalesce(o.open_run, false), coalesce(o.buffered, 0)
from schedules s {{under_way}}
where s.key = any(:locked::bigint[])
order by s.next_scheduled_at desc

-- name: next_due
-- When the engine has to look again.
select min(next_scheduled_at) from schedules where next_scheduled_at is not null

-- name: insert_runs
-- Record occurrences; one that is recorded already stays as it is.
insert into runs (key, id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, reason, scheduled_at,
                  queued_at, available_at, finished_at, retry_until_at, chained, missed_count, missed_first_at,
                  missed_last_at, input, revision, lane, target_kind)
select (range_of(x.nominal_at) << 40) | nextval('run_numbers'),
       x.id, x.schedule_key, x.namespace, x.nominal_at, x.backfill_id, x.trigger_type, x.state, x.reason,
       x.scheduled_at, x.queued_at, x.available_at, x.finished_at, x.retry_until_at, x.chained, x.missed_count,
       x.missed_first_at, x.missed_last_at, x.input, x.revision,
       case x.trigger_type when 'backfill' then 1 when 'notification' then 2 else 0 end,
       coalesce((select target_kind from schedules s where s.key = x.schedule_key),
                (select n.errand::json #>> '{1,kind}' from notification_routes n where n.key = -x.schedule_key))
from json_to_recordset(:rows::json) as x (
  id text, schedule_key bigint, namespace text, nominal_at bigint, backfill_id text, trigger_type text, state text,
  reason text, scheduled_at bigint, queued_at bigint, available_at bigint, finished_at bigint, retry_until_at bigint,
  chained integer, missed_count bigint, missed_first_at bigint, missed_last_at bigint, input text, revision integer)
on conflict (schedule_key, nominal_at, backfill_id) do nothing
returning state, missed_count, schedule_key

-- name: extend_range
-- Add occurrences that did not run to the range row that stands already.
update runs r set missed_count = r.missed_count + x.added, missed_last_at = x.last_at,
                  finished_at = greatest(r.finished_at, x.last_at)
from json_to_recordset(:rows::json) as x (schedule_key bigint, nominal_at bigint, added bigint, last_at bigint)
where r.schedule_key = x.schedule_key and r.nominal_at = x.nominal_at and r.backfill_id = ''

-- name: advance_schedules
-- Move schedules to the position that planning found.
update schedules s
set state = x.state, cursor_at = x.cursor_at, next_nominal_at = x.next_nominal_at,
    next_scheduled_at = x.next_scheduled_at, missed_count = x.missed_count, missed_first_at = x.missed_first_at,
    missed_last_at = x.missed_last_at, runs_made = x.runs_made, skip_reason = x.skip_reason,
    skip_count = x.skip_count, skip_range_at = x.skip_range_at, error = x.error, error_count = x.error_count
from json_to_recordset(:rows::json) as x (
  key bigint, state text, cursor_at bigint, next_nominal_at bigint, next_scheduled_at bigint, missed_count bigint,
  missed_first_at bigint, missed_last_at bigint, runs_made bigint, skip_reason text, skip_count bigint,
  skip_range_at bigint, error text, error_count bigint)
where s.key = x.key

-- lock: expired_leases
-- Their schedules, but none that somebody is at: the next look finds what is left.
select s.key from schedules s
where s.key in (select r.schedule_key from runs r where r.state = 'running' and r.lease_until < :now::bigint
                  and r.lease_token is distinct from r.callback_hash
                order by r.lease_until limit :limit::bigint)
order by s.key
for no key update skip locked

-- name: expired_leases
-- Running runs whose worker has fallen silent.
select r.key, r.schedule_key, r.attempt, r.losses, r.attempt_started_at, r.worker, r.delivery, r.cancel_requested,
       r.id, r.nominal_at
from runs r
where r.state = 'running' and r.lease_until < :now::bigint and r.lease_token is distinct from r.callback_hash
  and (r.schedule_key = any(:locked::bigint[]) or r.schedule_key < 0) -- a notification has no schedule
order by r.lease_until
limit :limit::bigint
for no key update skip locked

-- name: cut_leases
-- Leases that no worker can have been given by the present clock, which has gone back, end when they would have.
-- Those that somebody is at are prolonged just now, or over; those of callees may be as long as their attempts.
with longest as (select greatest(:lease::bigint, coalesce(max(lease), 0)) as lease from workers)
update runs r set lease_until = :now::bigint + (select lease from longest)
from (select f.key from runs f
      where f.state = 'running' and f.lease_token is distinct from f.callback_hash
        and f.lease_until > :now::bigint + 2 * (select lease from longest)
      for no key update skip locked) x
where {{in_range}}

-- name: next_expiry
-- When the next lease ends, unless it is renewed before.
select min(lease_until) from runs where state = 'running'

-- name: reap_runs
-- End or requeue what a silent worker held.
update runs r
set state = x.state, reason = x.reason, error = x.error, finished_at = x.finished_at, losses = x.losses,
    available_at = x.available_at, lease_token = null, lease_until = null, worker = null
from json_to_recordset(:rows::json) as x (
  key bigint, state text, reason text, error text, finished_at bigint, losses integer, available_at bigint)
where {{in_range}} and r.state = 'running'

-- fragment: chain_head
-- The oldest held run of each schedule in each lane.
cross join lateral (select f.key, f.nominal_at, f.chained from runs f
                    where f.schedule_key = s.key and f.lane = l.lane and f.state = 'held'
                    order by f.nominal_at limit 1) h

-- fragment: chain_may_go_on
-- Fewer are at work than may be: those of the chain, and any others where no two may overlap. A pause holds no backfill.
(s.state <> 'paused' or l.lane = 1) and s.deleted_at is null and (
  select count(*) from runs o
  where o.schedule_key = s.key and o.lane = l.lane and o.state in ('queued', 'running', 'retrying')
    and (o.chained > 0 or s.overlap_policy <> 'allow_all')) < h.chained

-- fragment: buffered_head
-- The oldest run of each schedule that waits for the open one, or all where there is nothing to wait for.
cross join lateral (select b.key, b.nominal_at from runs b
                    where b.schedule_key = s.key and b.lane = 0 and b.state = 'buffered'
                    order by b.nominal_at
                    limit case when s.overlap_policy <> 'allow_all' then 1 end) h

-- name: promote_held
-- Of each chain of a schedule that is not paused, queue the oldest held run unless as many as may are at work.
-- Answers how many of the chain may be.
update runs r
set state = 'queued', available_at = greatest(r.available_at, :now::bigint),
    retry_until_at = greatest(r.retry_until_at, :retry_until_at::bigint)
from (select h.key, h.nominal_at
      from (select distinct w.schedule_key as key, w.lane from runs w
            where w.schedule_key = any(:schedule_keys::bigint[]) and w.state = 'held') l
      join schedules s on s.key = l.key
      {{chain_head}}
      where {{chain_may_go_on}}) x
where r.key = x.key and r.nominal_at = x.nominal_at and r.state = 'held'
returning r.schedule_key, r.chained

-- name: promote_buffered
-- Of each schedule without an open run, queue the oldest one that waits for that; where runs may overlap now, all.
update runs r
set state = 'queued', available_at = greatest(r.available_at, :now::bigint),
    retry_until_at = greatest(r.retry_until_at, :retry_until_at::bigint)
from (select h.key, h.nominal_at
      from (select distinct w.schedule_key as key from runs w
            where w.schedule_key = any(:schedule_keys::bigint[]) and w.state = 'buffered') l
      join schedules s on s.key = l.key
      {{buffered_head}}
      where s.overlap_policy = 'allow_all' or not {{has_open_run}}) x
where r.key = x.key and r.nominal_at = x.nominal_at and r.state = 'buffered'
returning r.schedule_key

-- name: waiting_schedules
-- The next schedules by key that have runs that wait, for a walk over all of them, from one to the next by the index.
with recursive walk (key, number) as (
  select :after_key::bigint, 0::bigint
  union all
  select (select r.schedule_key from runs r where r.state in ('buffered', 'held') and r.schedule_key > w.key
          order by r.schedule_key limit 1),
         w.number + 1
  from walk w where w.key is not null and w.number < :limit::bigint)
select key from walk where number > 0 and key is not null order by number

-- lock: schedules_holding
-- Of these schedules, those of which a waiting run stands still though it might go on.
-- A net under the promotion that ending a run does.
select s.key from schedules s
where s.key = any(:schedule_keys::bigint[])
  and (exists (select 1 from (values (0), (1)) l (lane) {{chain_head}} where {{chain_may_go_on}})
       or ((s.overlap_policy = 'allow_all' or not {{has_open_run}}) and {{buffered_runs}} > 0))
for no key update skip locked

-- name: schedules_holding
-- Those that the lock has answered; promotion looks again.
select x.key from unnest(:locked::bigint[]) x (key)

-- name: hold_open_runs
-- All open runs of what is displaced, in order, as whoever prolongs leases takes them in order.
select r.key from runs r
join json_to_recordset(:rows::json) as x (schedule_key bigint) on r.schedule_key = x.schedule_key
where r.lane = 0 and r.state in ('buffered', 'held', 'queued', 'running', 'retrying')
order by r.key
for no key update of r

-- name: skip_buffered
-- What waits is skipped in favour of a newer occurrence, which reports what it was to report.
update runs r set state = 'skipped', reason = 'overlap', finished_at = x.now,
                  missed_count = 0, missed_first_at = null, missed_last_at = null
from json_to_recordset(:rows::json) as x (schedule_key bigint, nominal_at bigint, now bigint)
where r.schedule_key = x.schedule_key and r.lane = 0 and r.nominal_at < x.nominal_at and r.state = 'buffered'

-- fragment: others
-- The runs of a schedule beside the occurrence at a nominal time and later ones.
r.schedule_key = x.schedule_key and r.lane = 0 and not (r.backfill_id = '' and r.nominal_at >= x.nominal_at)

-- name: unreported
-- What other runs that have never begun were to report as missed.
select coalesce(sum(r.missed_count), 0)::bigint, min(r.missed_first_at), max(r.missed_last_at)
from runs r join (values (:schedule_key::bigint, :nominal_at::bigint)) x (schedule_key, nominal_at) on {{others}}
where r.state in ('buffered', 'held', 'queued') and r.attempt = 0

-- name: cancel_waiting
-- Other open runs that nobody works on are ended at once.
update runs r set state = 'cancelled', error = x.error, finished_at = x.now
from json_to_recordset(:rows::json) as x (schedule_key bigint, nominal_at bigint, now bigint, error text)
where {{others}} and r.state in ('held', 'queued', 'retrying')

-- name: ask_to_stop
-- Whoever works on another run learns with the next heartbeat that it is to stop.
update runs r set cancel_requested = 1
from json_to_recordset(:rows::json) as x (schedule_key bigint, nominal_at bigint)
where {{others}} and r.state = 'running'

-- name: attempts_at_work
-- The attempts that are going on of other runs.
select r.key, r.attempt, r.attempt_started_at, r.worker
from runs r join (values (:schedule_key::bigint, :nominal_at::bigint)) x (schedule_key, nominal_at) on {{others}}
where r.state = 'running'

-- name: revoke_running
-- Whoever works on another run has lost the lease.
update runs r set state = 'cancelled', error = :error, finished_at = :now, lease_token = null, lease_until = null,
                  worker = null
from (values (:schedule_key::bigint, :nominal_at::bigint)) x (schedule_key, nominal_at)
where {{others}} and r.state = 'running'

-- name: count_recorded
-- How many of these occurrences became runs by themselves.
select count(*) from runs
where schedule_key = :schedule_key and nominal_at = any(:instants::bigint[]) and backfill_id = ''
  and state not in ('skipped', 'missed')

-- name: complete_schedules
-- Schedules with nothing left to fire, and no run that is open or waits, are completed.
update schedules as s
set state = 'completed'
where s.key = any(:schedule_keys::bigint[]) and s.state = 'active' and s.next_nominal_at is null
  and s.deleted_at is null and not {{has_run_to_end}}
returning s.namespace, s.id

-- name: backlog
-- How many schedules are due and not planned, and since when.
select count(*), min(next_scheduled_at) from schedules where next_scheduled_at <= :now

-- name: count_open_runs
-- Runs that have not ended, by state.
select state, count(*) from runs where state in ('buffered', 'held', 'queued', 'running', 'retrying') group by state

-- name: count_schedules
-- Schedules by state.
select state, count(*) from schedules where deleted_at is null group by state

-- name: keep_ranges
-- Make the partitions of the next weeks, and drop those in which everything is older than anybody asked to keep.
select keep_ranges(:now, :ended_before)

-- fragment: open_range
-- The row that stands for occurrences in a row, and may still be extended.
exists (select 1 from schedules s where s.key = r.schedule_key and s.skip_range_at = r.nominal_at
        and s.deleted_at is null)

-- lock: prune_old_runs
-- One pruner at a time.
select pg_advisory_xact_lock(hashtext('scheduler ranges'), hashtext(current_schema()))

-- name: prune_old_runs
-- Delete a batch of runs that ended long ago, oldest first; failures are kept longer.
with ended as materialized (
  select r.key, r.nominal_at from runs r
  where r.state in ('succeeded', 'cancelled', 'skipped', 'missed') and r.finished_at < :runs_before::bigint
    and not {{open_range}}
  order by r.finished_at limit :limit::bigint
  for update of r skip locked),
failed as materialized (
  select r.key, r.nominal_at from runs r
  where r.state in ('failed', 'timed_out', 'dead') and r.finished_at < :failures_before::bigint
  order by r.finished_at limit :limit::bigint
  for update of r skip locked),
old as (select * from (select * from ended union all select * from failed) a limit :limit::bigint),
gone as (
  delete from runs r using old x where r.key = x.key and r.nominal_at = x.nominal_at
  returning r.key, r.schedule_key, r.backfill_id, {{last_of_row}} as last_at),
emptied as (delete from attempts a using gone where a.run_key = gone.key)
select schedule_key, backfill_id, last_at from gone

-- name: prune_surplus_runs
-- Of one schedule, delete what is beyond its newest runs and ended a day ago.
with surplus as materialized (
  select r.key, r.nominal_at from runs r
  where r.schedule_key = :schedule_key::bigint and r.finished_at < :ended_before::bigint
    and (r.finished_at < :failures_before::bigint or r.state not in ('failed', 'timed_out', 'dead'))
    and r.nominal_at < (select n.nominal_at from runs n where n.schedule_key = :schedule_key::bigint
                        order by n.nominal_at desc limit 1 offset :keep::bigint - 1)
    and not {{open_range}}
  order by r.nominal_at limit :limit::bigint
  for update of r skip locked),
gone as (
  delete from runs r using surplus x where r.key = x.key and r.nominal_at = x.nominal_at
  returning r.key, r.schedule_key, r.backfill_id, {{last_of_row}} as last_at),
emptied as (delete from attempts a using gone where a.run_key = gone.key)
select schedule_key, backfill_id, last_at from gone

-- name: schedules_after
-- The next schedules by key, for a walk over all of them, and whether each has more runs than are kept.
select s.key, (select 1 from runs r where r.schedule_key = s.key limit 1 offset :keep::bigint) is not null
from schedules s where s.key > :after_key::bigint order by s.key limit :limit::bigint

-- name: prune_deleted_schedules
-- Forget schedules that were deleted long ago and have no runs left.
delete from schedules
where key in (
  select s.key from schedules s
  where s.deleted_at < :deleted_before and not exists (select 1 from runs r where r.schedule_key = s.key)
  order by s.deleted_at
  limit :limit
  for update skip locked)
returning key
