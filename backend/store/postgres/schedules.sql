-- lock: schedules_by_id
-- Whoever reads schedules in order to change something holds them.
select key from schedules where namespace = :namespace and id = any(:ids::text[]) and deleted_at is null
order by key
for no key update

-- name: schedules_by_id
-- The live schedules of these ids; whether each has an open run, and how many wait for that.
select {{schedule_columns}}, {{has_open_run}}, {{buffered_runs}}
from schedules s
where s.namespace = :namespace and s.id = any(:ids::text[]) and s.deleted_at is null

-- name: schedule_by_id
-- The live schedule of this id, for who only looks at it; to plan the look at its runs takes longer than to find it.
select {{schedule_columns}}
from schedules s where s.namespace = :namespace and s.id = :id and s.deleted_at is null

-- name: schedules_taken
-- Which of these (namespace, id) there are.
select s.namespace, s.id from json_to_recordset(:places::json) as x (namespace text, id text)
join schedules s on s.namespace = x.namespace and s.id = x.id and s.deleted_at is null

-- name: deleted_schedule_by_id
-- The newest of the deleted schedules that had this id.
select key from schedules where namespace = :namespace and id = :id and deleted_at is not null
order by key desc limit 1

-- name: insert_schedules
-- Create schedules.
insert into schedules (namespace, id, name, owner, target_kind, state, note, note_by, note_at, definition, triggers,
                       revision, source, created_at, created_by, updated_at, effective_at, cursor_at,
                       next_nominal_at, next_scheduled_at, misfire_policy, misfire_threshold, catchup_window,
                       overlap_policy, delivery, pause_after_failures, jitter, max_runs)
select x.namespace, x.id, x.name, x.owner, x.target_kind, x.state, x.note, x.note_by, x.note_at, x.definition,
       x.triggers, x.revision, x.source, x.created_at, x.created_by, x.updated_at, x.effective_at, x.cursor_at,
       x.next_nominal_at, x.next_scheduled_at, x.misfire_policy, x.misfire_threshold, x.catchup_window,
       x.overlap_policy, x.delivery, x.pause_after_failures, x.jitter, x.max_runs
from json_to_recordset(:rows::json) as x (
  namespace text, id text, name text, owner text, target_kind text, state text, note text, note_by text,
  note_at bigint, definition text, triggers text, revision integer, source text, created_at bigint, created_by text,
  updated_at bigint, effective_at bigint, cursor_at bigint, next_nominal_at bigint, next_scheduled_at bigint,
  misfire_policy text, misfire_threshold bigint, catchup_window bigint, overlap_policy text, delivery text,
  pause_after_failures integer, jitter bigint, max_runs bigint)
returning key, namespace, id

-- name: update_schedules
-- Write every column that a person, or planning on a person's behalf, may change.
update schedules s
set name = x.name, owner = x.owner, target_kind = x.target_kind, state = x.state, note = x.note, note_by = x.note_by,
    note_at = x.note_at, definition = x.definition, triggers = x.triggers, revision = x.revision, source = x.source,
    updated_at = x.updated_at, effective_at = x.effective_at, cursor_at = x.cursor_at,
    next_nominal_at = x.next_nominal_at, next_scheduled_at = x.next_scheduled_at, misfire_policy = x.misfire_policy,
    misfire_threshold = x.misfire_threshold, catchup_window = x.catchup_window, overlap_policy = x.overlap_policy,
    delivery = x.delivery, pause_after_failures = x.pause_after_failures, jitter = x.jitter,
    max_runs = x.max_runs, runs_made = x.runs_made, paused_cursor_at = x.paused_cursor_at,
    missed_count = x.missed_count, missed_first_at = x.missed_first_at, missed_last_at = x.missed_last_at,
    skip_reason = x.skip_reason,
    skip_count = x.skip_count, skip_range_at = x.skip_range_at, failure_streak = x.failure_streak,
    permanent_streak = x.permanent_streak, streak_since_at = x.streak_since_at, error = x.error,
    error_count = x.error_count, deleted_at = x.deleted_at
from json_to_recordset(:rows::json) as x (
  key bigint, name text, owner text, target_kind text, state text, note text, note_by text, note_at bigint,
  definition text, triggers text, revision integer, source text, updated_at bigint, effective_at bigint,
  cursor_at bigint, next_nominal_at bigint, next_scheduled_at bigint, misfire_policy text, misfire_threshold bigint,
  catchup_window bigint, overlap_policy text, delivery text, pause_after_failures integer, jitter bigint,
  max_runs bigint, runs_made bigint, paused_cursor_at bigint, missed_count bigint, missed_first_at bigint,
  missed_last_at bigint, skip_reason text, skip_count bigint, skip_range_at bigint, failure_streak bigint,
  permanent_streak bigint, streak_since_at bigint, error text, error_count bigint, deleted_at bigint)
where s.key = x.key

-- name: insert_revisions
-- Keep every definition a schedule has had and every pause, and from when it counted.
insert into schedule_revisions (schedule_key, revision, verb, definition, triggers, state, note, effective_at,
                                cursor_at, planned_to_at, changed_at, changed_by)
select x.schedule_key, x.revision, x.verb, x.definition, x.triggers, x.state, x.note, x.effective_at, x.cursor_at,
       x.planned_to_at, x.changed_at, x.changed_by
from json_to_recordset(:rows::json) as x (
  schedule_key bigint, revision integer, verb text, definition text, triggers text, state text, note text,
  effective_at bigint, cursor_at bigint, planned_to_at bigint, changed_at bigint, changed_by text)

-- name: delete_tags
-- Forget the tags of these schedules.
delete from schedule_tags where schedule_key = any(:schedule_keys::bigint[])

-- name: insert_tags
-- Tag schedules.
insert into schedule_tags (namespace, tag, schedule_key)
select x.namespace, x.tag, x.schedule_key
from json_to_recordset(:rows::json) as x (namespace text, tag text, schedule_key bigint)

-- name: forget_paused
-- Drop the record of occurrences that were skipped while paused, to plan them again.
delete from runs
where schedule_key = :schedule_key and nominal_at > :after and reason = 'paused' and backfill_id = ''

-- name: drop_waiting_runs
-- Runs of deleted schedules that wait, for a first or another attempt, wait no more.
update runs r set state = 'skipped', reason = 'deleted', finished_at = :now,
                  missed_count = 0, missed_first_at = null, missed_last_at = null -- or it would read as a range
from schedules s
where s.key = any(:schedule_keys::bigint[]) and s.deleted_at is not null and r.schedule_key = s.key
  and r.state in ('buffered', 'held', 'queued', 'retrying')
returning r.key

-- name: ids_from_source
-- The schedules that an apply of this file made.
select id from schedules where namespace = :namespace and source = :source and deleted_at is null order by key

-- fragment: wanted
s.namespace = :namespace and s.deleted_at is null and s.key > :after
  and (:state::text is null or s.state = :state::text)
  and (:name::text is null or s.name = :name::text)
  and (:target::text is null or s.target_kind = :target::text)
  and (:due_before::bigint is null or (s.state = 'active' and s.next_scheduled_at < :due_before::bigint))
  and (:q::text is null or strpos(lower((s.id || ' ' || s.name) collate "C"), lower(:q::text collate "C")) > 0)
  and (:tag::text is null or exists (select 1 from schedule_tags t where t.namespace = s.namespace
                                     and t.tag = :tag::text and t.schedule_key = s.key))

-- name: list_schedules
-- One page in order of creation; a filter that is null does not count.
select {{schedule_columns}}, false
from schedules s
where {{wanted}}
order by s.key
limit :limit

-- name: list_schedules_within
-- The same as far as a key, for filters that no index serves.
select {{schedule_columns}}, false
from schedules s
where s.key <= :until::bigint and {{wanted}}
order by s.key
limit :limit

-- name: schedules_bound
-- The key at which such a walk ends; none if it reaches the last one.
select key from schedules where namespace = :namespace::text and deleted_at is null and key > :after::bigint
order by key limit 1 offset :walk::bigint

-- name: list_schedules_of_owner
-- The same of one owner, by the index of owners.
select {{schedule_columns}}, false
from schedules s
where s.owner = :owner and {{wanted}}
order by s.key
limit :limit

-- name: list_schedules_named
-- The same of one name, by the index of names.
select {{schedule_columns}}, false
from schedules s
where s.name = :name::text and {{wanted}}
order by s.key
limit :limit

-- name: list_schedules_of_tag
-- The same with one tag, by the index of tags.
select {{schedule_columns}}, false
from schedule_tags g join schedules s on s.key = g.schedule_key
where g.namespace = :namespace::text and g.tag = :tag::text and g.schedule_key > :after and {{wanted}}
order by g.schedule_key
limit :limit

-- name: list_schedules_at_rest
-- The same of one state that few are in, by the index of those.
select {{schedule_columns}}, false
from schedules s
where s.state = :state::text and s.state <> 'active' and {{wanted}}
order by s.key
limit :limit

-- name: last_runs
-- The newest occurrence of each schedule that became a run.
select k.value, r.id, r.state, r.nominal_at
from unnest(:schedule_keys::bigint[]) k (value)
cross join lateral (
  select n.id, n.state, n.nominal_at from runs n
  where n.schedule_key = k.value and n.state not in ('skipped', 'missed')
  order by n.nominal_at desc limit 1) r

-- name: retarget_runs
-- Of schedules whose kind of target has changed, runs that are not over are for workers that may perform the new one.
with open_runs as materialized (
  select r.key, r.nominal_at, coalesce(s.target_kind, n.errand::json #>> '{1,kind}') as target_kind
  from runs r left join schedules s on s.key = r.schedule_key left join notification_routes n on n.key = -r.schedule_key
  where r.schedule_key = any(:schedule_keys::bigint[])
    and r.state in ('buffered', 'held', 'queued', 'running', 'retrying')
  order by r.key
  for no key update of r)
update runs r set target_kind = x.target_kind
from open_runs x
where r.key = x.key and r.nominal_at = x.nominal_at
