-- fragment: schedule_columns
s.key, s.namespace, s.id, s.name, s.owner, s.target_kind, s.state, s.note, s.note_by, s.note_at, s.definition,
s.triggers, s.revision, s.source, s.created_at, s.created_by, s.updated_at, s.effective_at, s.cursor_at,
s.next_nominal_at, s.next_scheduled_at, s.misfire_policy, s.misfire_threshold, s.catchup_window, s.overlap_policy,
s.delivery, s.pause_after_failures, s.jitter, s.max_runs, s.runs_made, s.paused_cursor_at, s.missed_count,
s.missed_first_at, s.missed_last_at, s.skip_reason,
s.skip_count, s.skip_range_at, s.failure_streak, s.permanent_streak, s.streak_since_at, s.error, s.error_count,
s.deleted_at

-- fragment: has_open_run
-- Backfills do not count. The first list of states says for which index this is, here and below.
exists (select 1 from runs r where r.schedule_key = s.key and r.lane = 0
        and r.state in ('buffered', 'held', 'queued', 'running', 'retrying')
        and r.state in ('held', 'queued', 'running', 'retrying'))

-- fragment: buffered_runs
(select count(*) from runs b where b.schedule_key = s.key and b.lane = 0
   and b.state in ('buffered', 'held', 'queued', 'running', 'retrying') and b.state = 'buffered')

-- fragment: has_run_to_end
exists (select 1 from runs r where r.schedule_key = s.key and r.lane = 0
        and r.state in ('buffered', 'held', 'queued', 'running', 'retrying'))

-- name: clock
-- The database's clock, in microseconds; the only statement that reads time.
select cast(unixepoch('subsec') * 1000000 as integer)

-- name: hold_namespace
-- Only to see that there is one: writers take turns.
select 1 from namespaces where id = :namespace

-- name: hold_free_namespaces
-- Those that there are, with their limits: writers take turns.
select id, limits from namespaces where id in (select value from json_each(:namespaces))

-- name: hold_schedules
-- Which of these schedules somebody is to hear of when they succeed; there is nothing to hold, as writers take turns.
select distinct m.schedule_key from notification_marks m
where m.schedule_key in (select value from json_each(:schedule_keys)) and m.is_open = 1

-- name: hold_open_runs
-- Nothing to do: writers take turns.
select 1 where false

-- name: claim_due
-- Schedules whose next time has come, oldest first; whether each has an open run, and how many wait for that.
select {{schedule_columns}}, {{has_open_run}}, {{buffered_runs}}
from schedules s
where s.next_scheduled_at <= :now
order by s.next_scheduled_at
limit :limit

-- name: claim_due_latest
-- The same from the other end: while old ones are caught up, those that are due just now do not wait.
select {{schedule_columns}}, {{has_open_run}}, {{buffered_runs}}
from schedules s
where s.next_scheduled_at <= :now and s.next_scheduled_at > :above
order by s.next_scheduled_at desc
limit :limit

-- name: next_due
-- When the engine has to look again.
select min(next_scheduled_at) from schedules where next_scheduled_at is not null

-- name: insert_runs
-- Record occurrences; one that is recorded already stays as it is.
insert into runs (id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, reason, scheduled_at,
                  queued_at, available_at, finished_at, retry_until_at, chained, missed_count, missed_first_at,
                  missed_last_at, input, revision, lane, target_kind)
values (:id, :schedule_key, :namespace, :nominal_at, :backfill_id, :trigger_type, :state, :reason, :scheduled_at,
        :queued_at, :available_at, :finished_at, :retry_until_at, :chained, :missed_count, :missed_first_at,
        :missed_last_at, :input, :revision, case :trigger_type when 'backfill' then 1 when 'notification' then 2 else 0 end,
        coalesce((select target_kind from schedules where key = :schedule_key),
                 (select errand ->> '$[1].kind' from notification_routes where key = -:schedule_key)))
on conflict (schedule_key, nominal_at, backfill_id) do nothing
returning state, missed_count, schedule_key

-- name: extend_range
-- Add occurrences that did not run to the range row that stands already.
update runs set missed_count = missed_count + :added, missed_last_at = :last_at,
                finished_at = max(finished_at, :last_at)
where schedule_key = :schedule_key and nominal_at = :nominal_at and backfill_id = ''

-- name: advance_schedules
-- Move schedules to the position that planning found.
update schedules
set state = :state, cursor_at = :cursor_at, next_nominal_at = :next_nominal_at,
    next_scheduled_at = :next_scheduled_at, missed_count = :missed_count, missed_first_at = :missed_first_at,
    missed_last_at = :missed_last_at, runs_made = :runs_made, skip_reason = :skip_reason, skip_count = :skip_count,
    skip_range_at = :skip_range_at, error = :error, error_count = :error_count
where key = :key

-- name: expired_leases
-- Running runs whose worker has fallen silent.
select r.key, r.schedule_key, r.attempt, r.losses, r.attempt_started_at, r.worker, r.delivery, r.cancel_requested,
       r.id, r.nominal_at
from runs r
where r.state = 'running' and r.lease_until < :now and r.lease_token is not r.callback_hash
order by r.lease_until
limit :limit

-- name: cut_leases
-- Leases that no worker can have been given by the present clock, which has gone back, end when they would have.
-- Those of callees may be as long as their attempts.
update runs set lease_until = :now + (select max(:lease, coalesce(max(lease), 0)) from workers)
where state = 'running' and lease_token is not callback_hash
  and lease_until > :now + 2 * (select max(:lease, coalesce(max(lease), 0)) from workers)

-- name: next_expiry
-- When the next lease ends, unless it is renewed before.
select min(lease_until) from runs where state = 'running'

-- name: reap_runs
-- End or requeue what a silent worker held.
update runs
set state = :state, reason = :reason, error = :error, finished_at = :finished_at, losses = :losses,
    available_at = :available_at, lease_token = null, lease_until = null, worker = null
where key = :key and state = 'running'

-- fragment: chain_head
-- The oldest held run of a schedule in one lane.
(select f.key from runs f
 where f.schedule_key = s.key and f.lane = l.value
   and f.state in ('buffered', 'held', 'queued', 'running', 'retrying') and f.state = 'held'
 order by f.nominal_at limit 1)

-- fragment: chain_may_go_on
-- Fewer are at work than may be: those of the chain, and any others where no two may overlap. A pause holds no backfill.
(s.state <> 'paused' or l.value = 1) and s.deleted_at is null and (
  select count(*) from runs o
  where o.schedule_key = s.key and o.lane = l.value
    and o.state in ('buffered', 'held', 'queued', 'running', 'retrying')
    and o.state in ('queued', 'running', 'retrying')
    and (o.chained > 0 or s.overlap_policy <> 'allow_all')) < h.chained

-- fragment: buffered_head
-- The oldest run of a schedule that waits for the open one.
(select b.key from runs b
 where b.schedule_key = s.key and b.lane = 0
   and b.state in ('buffered', 'held', 'queued', 'running', 'retrying') and b.state = 'buffered'
 order by b.nominal_at limit 1)

-- name: promote_held
-- Of each chain of a schedule that is not paused, queue the oldest held run unless as many as may are at work.
-- Answers how many of the chain may be.
update runs
set state = 'queued', available_at = max(available_at, :now), retry_until_at = max(retry_until_at, :retry_until_at)
where key in (
  select h.key
  from json_each(:schedule_keys) k cross join schedules s on s.key = k.value
  cross join json_each('[0, 1]') l cross join runs h on h.key = {{chain_head}}
  where {{chain_may_go_on}})
returning schedule_key, chained

-- name: promote_buffered
-- Of each schedule without an open run, queue the oldest one that waits for that; where runs may overlap now, all.
update runs
set state = 'queued', available_at = max(available_at, :now), retry_until_at = max(retry_until_at, :retry_until_at)
where key in (
  select {{buffered_head}}
  from json_each(:schedule_keys) k cross join schedules s on s.key = k.value
  where s.overlap_policy <> 'allow_all' and not {{has_open_run}}
  union all
  select r.key
  from json_each(:schedule_keys) k cross join schedules s on s.key = k.value and s.overlap_policy = 'allow_all'
  cross join runs r on r.schedule_key = s.key and r.lane = 0
    and r.state in ('buffered', 'held', 'queued', 'running', 'retrying') and r.state = 'buffered')
returning schedule_key

-- name: waiting_schedules
-- The next schedules by key that have runs that wait, for a walk over all of them, from one to the next by the index.
with recursive walk (key, number) as (
  select :after_key, 0
  union all
  select (select min(r.schedule_key) from runs r where r.state in ('buffered', 'held') and r.schedule_key > walk.key),
         number + 1
  from walk where walk.key is not null and number < :limit)
select key from walk where number > 0 and key is not null order by number

-- name: schedules_holding
-- Of these schedules, those of which a waiting run stands still though it might go on.
-- A net under the promotion that ending a run does.
select s.key from json_each(:schedule_keys) k cross join schedules s on s.key = k.value
where exists (select 1 from json_each('[0, 1]') l cross join runs h on h.key = {{chain_head}}
              where {{chain_may_go_on}})
   or ((s.overlap_policy = 'allow_all' or not {{has_open_run}}) and {{buffered_head}} is not null)

-- fragment: others
-- The runs of a schedule beside the occurrence at a nominal time and later ones.
schedule_key = :schedule_key and lane = 0 and not (backfill_id = '' and nominal_at >= :nominal_at)
  and state in ('buffered', 'held', 'queued', 'running', 'retrying')

-- name: unreported
-- What other runs that have never begun were to report as missed.
select coalesce(sum(missed_count), 0), min(missed_first_at), max(missed_last_at) from runs
where {{others}} and state in ('buffered', 'held', 'queued') and attempt = 0

-- name: skip_buffered
-- What waits is skipped in favour of a newer occurrence, which reports what it was to report.
update runs set state = 'skipped', reason = 'overlap', finished_at = :now,
                missed_count = 0, missed_first_at = null, missed_last_at = null
where schedule_key = :schedule_key and lane = 0 and nominal_at < :nominal_at
  and state in ('buffered', 'held', 'queued', 'running', 'retrying') and state = 'buffered'

-- name: cancel_waiting
-- Other open runs that nobody works on are ended at once.
update runs set state = 'cancelled', error = :error, finished_at = :now
where {{others}} and state in ('held', 'queued', 'retrying')

-- name: ask_to_stop
-- Whoever works on another run learns with the next heartbeat that it is to stop.
update runs set cancel_requested = 1
where {{others}} and state = 'running'

-- name: attempts_at_work
-- The attempts that are going on of other runs.
select key, attempt, attempt_started_at, worker from runs where {{others}} and state = 'running'

-- name: revoke_running
-- Whoever works on another run has lost the lease.
update runs set state = 'cancelled', error = :error, finished_at = :now, lease_token = null, lease_until = null,
                worker = null
where {{others}} and state = 'running'

-- name: count_recorded
-- How many of these occurrences became runs by themselves.
select count(*) from json_each(:instants) i cross join runs r
on r.schedule_key = :schedule_key and r.nominal_at = i.value and r.backfill_id = ''
where r.state not in ('skipped', 'missed')

-- name: complete_schedules
-- Schedules with nothing left to fire, and no run that is open or waits, are completed.
update schedules as s
set state = 'completed'
where s.key in (select value from json_each(:schedule_keys)) and s.state = 'active' and s.next_nominal_at is null
  and s.deleted_at is null and not {{has_run_to_end}}
returning namespace, id

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
-- Nothing to do: the ledger is one table.
select 1 where false

-- fragment: open_range
-- The row that stands for occurrences in a row, and may still be extended.
exists (select 1 from schedules s where s.key = runs.schedule_key and s.skip_range_at = runs.nominal_at
        and s.deleted_at is null)

-- name: prune_old_runs
-- Delete a batch of runs that ended long ago, oldest first; failures are kept longer.
delete from runs
where key in (
  select * from (select key from runs
                 where state in ('succeeded', 'cancelled', 'skipped', 'missed') and finished_at < :runs_before
                   and not {{open_range}}
                 order by finished_at limit :limit)
  union all
  select * from (select key from runs
                 where state in ('failed', 'timed_out', 'dead') and finished_at < :failures_before
                 order by finished_at limit :limit)
  limit :limit)
returning schedule_key, backfill_id, {{last_of_row}}

-- name: prune_surplus_runs
-- Of one schedule, delete what is beyond its newest runs and ended a day ago.
delete from runs
where key in (
  select key from runs
  where schedule_key = :schedule_key and finished_at < :ended_before
    and (finished_at < :failures_before or state not in ('failed', 'timed_out', 'dead'))
    and nominal_at < (select nominal_at from runs where schedule_key = :schedule_key
                      order by nominal_at desc limit 1 offset :keep - 1)
    and not {{open_range}}
  order by nominal_at limit :limit)
returning schedule_key, backfill_id, {{last_of_row}}

-- name: schedules_after
-- The next schedules by key, for a walk over all of them, and whether each has more runs than are kept.
select s.key, (select 1 from runs r where r.schedule_key = s.key limit 1 offset :keep) is not null
from schedules s where s.key > :after_key order by s.key limit :limit

-- name: prune_deleted_schedules
-- Forget schedules that were deleted long ago and have no runs left.
delete from schedules
where key in (
  select s.key from schedules s
  where s.deleted_at < :deleted_before and not exists (select 1 from runs r where r.schedule_key = s.key)
  limit :limit)
returning key
