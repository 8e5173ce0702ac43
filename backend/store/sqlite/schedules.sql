-- name: schedules_by_id
-- The live schedules of these ids; whether each has an open run, and how many wait for that.
-- A cross join keeps its order in SQLite: left to itself, the planner reads the whole namespace for one id.
select {{schedule_columns}}, {{has_open_run}}, {{buffered_runs}}
from json_each(:ids) i cross join schedules s on s.namespace = :namespace and s.id = i.value and s.deleted_at is null

-- name: schedule_by_id
-- The live schedule of this id, for who only looks at it.
select {{schedule_columns}}
from schedules s where s.namespace = :namespace and s.id = :id and s.deleted_at is null

-- name: schedules_taken
-- Which of these (namespace, id) there are.
select s.namespace, s.id from json_each(:places) p
cross join schedules s on s.namespace = p.value ->> 'namespace' and s.id = p.value ->> 'id' and s.deleted_at is null

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
values (:namespace, :id, :name, :owner, :target_kind, :state, :note, :note_by, :note_at, :definition, :triggers,
        :revision, :source, :created_at, :created_by, :updated_at, :effective_at, :cursor_at,
        :next_nominal_at, :next_scheduled_at, :misfire_policy, :misfire_threshold, :catchup_window,
        :overlap_policy, :delivery, :pause_after_failures, :jitter, :max_runs)
returning key, namespace, id

-- name: update_schedules
-- Write every column that a person, or planning on a person's behalf, may change.
update schedules
set name = :name, owner = :owner, target_kind = :target_kind, state = :state, note = :note, note_by = :note_by,
    note_at = :note_at, definition = :definition, triggers = :triggers, revision = :revision, source = :source,
    updated_at = :updated_at, effective_at = :effective_at, cursor_at = :cursor_at,
    next_nominal_at = :next_nominal_at, next_scheduled_at = :next_scheduled_at, misfire_policy = :misfire_policy,
    misfire_threshold = :misfire_threshold, catchup_window = :catchup_window, overlap_policy = :overlap_policy,
    delivery = :delivery, pause_after_failures = :pause_after_failures, jitter = :jitter,
    max_runs = :max_runs, runs_made = :runs_made, paused_cursor_at = :paused_cursor_at,
    missed_count = :missed_count, missed_first_at = :missed_first_at, missed_last_at = :missed_last_at,
    skip_reason = :skip_reason,
    skip_count = :skip_count, skip_range_at = :skip_range_at, failure_streak = :failure_streak,
    permanent_streak = :permanent_streak, streak_since_at = :streak_since_at, error = :error,
    error_count = :error_count, deleted_at = :deleted_at
where key = :key

-- name: insert_revisions
-- Keep every definition a schedule has had and every pause, and from when it counted.
insert into schedule_revisions (schedule_key, revision, verb, definition, triggers, state, note, effective_at,
                                cursor_at, planned_to_at, changed_at, changed_by)
values (:schedule_key, :revision, :verb, :definition, :triggers, :state, :note, :effective_at, :cursor_at,
        :planned_to_at, :changed_at, :changed_by)

-- name: delete_tags
-- Forget the tags of these schedules.
delete from schedule_tags where schedule_key in (select value from json_each(:schedule_keys))

-- name: insert_tags
-- Tag schedules.
insert into schedule_tags (namespace, tag, schedule_key) values (:namespace, :tag, :schedule_key)

-- name: forget_paused
-- Drop the record of occurrences that were skipped while paused, to plan them again.
delete from runs
where schedule_key = :schedule_key and nominal_at > :after and reason = 'paused' and backfill_id = ''

-- name: drop_waiting_runs
-- Runs of deleted schedules that wait, for a first or another attempt, wait no more.
update runs set state = 'skipped', reason = 'deleted', finished_at = :now,
                missed_count = 0, missed_first_at = null, missed_last_at = null -- or it would read as a range
where schedule_key in (select s.key from json_each(:schedule_keys) k cross join schedules s on s.key = k.value
                       where s.deleted_at is not null)
  and state in ('buffered', 'held', 'queued', 'running', 'retrying') and state <> 'running' -- as in the index
returning key

-- name: ids_from_source
-- The schedules that an apply of this file made.
select id from schedules where namespace = :namespace and source = :source and deleted_at is null order by key

-- fragment: wanted
s.namespace = :namespace and s.deleted_at is null and s.key > :after
  and (:state is null or s.state = :state)
  and (:name is null or s.name = :name)
  and (:target is null or s.target_kind = :target)
  and (:due_before is null or (s.state = 'active' and s.next_scheduled_at < :due_before))
  and (:q is null or instr(lower(s.id || ' ' || s.name), lower(:q)) > 0)
  and (:tag is null or exists (select 1 from schedule_tags t where t.namespace = s.namespace and t.tag = :tag
                               and t.schedule_key = s.key))

-- name: list_schedules
-- One page in order of creation; a filter that is null does not count.
select {{schedule_columns}}, 0
from schedules s
where {{wanted}}
order by s.key
limit :limit

-- name: list_schedules_within
-- The same as far as a key, for filters that no index serves.
select {{schedule_columns}}, 0
from schedules s
where s.key <= :until and {{wanted}}
order by s.key
limit :limit

-- name: schedules_bound
-- The key at which such a walk ends; none if it reaches the last one.
select key from schedules where namespace = :namespace and deleted_at is null and key > :after
order by key limit 1 offset :walk

-- name: list_schedules_of_owner
-- The same of one owner, by the index of owners.
select {{schedule_columns}}, 0
from schedules s
where s.owner = :owner and {{wanted}}
order by s.key
limit :limit

-- name: list_schedules_named
-- The same of one name, by the index of names.
select {{schedule_columns}}, 0
from schedules s
where s.name = :name and {{wanted}}
order by s.key
limit :limit

-- name: list_schedules_of_tag
-- The same with one tag, by the index of tags.
select {{schedule_columns}}, 0
from schedule_tags g cross join schedules s on s.key = g.schedule_key
where g.namespace = :namespace and g.tag = :tag and g.schedule_key > :after and {{wanted}}
order by g.schedule_key
limit :limit

-- name: list_schedules_at_rest
-- The same of one state that few are in, by the index of those.
select {{schedule_columns}}, 0
from schedules s
where s.state = :state and s.state <> 'active' and {{wanted}}
order by s.key
limit :limit

-- name: last_runs
-- The newest occurrence of each schedule that became a run.
select k.value, r.id, r.state, r.nominal_at
from json_each(:schedule_keys) k join runs r on r.key = (
  select n.key from runs n where n.schedule_key = k.value and n.state not in ('skipped', 'missed')
  order by n.nominal_at desc limit 1)

-- name: retarget_runs
-- Of schedules whose kind of target has changed, runs that are not over are for workers that may perform the new one.
update runs set target_kind = coalesce((select s.target_kind from schedules s where s.key = runs.schedule_key),
                                  (select n.errand ->> '$[1].kind' from notification_routes n where n.key = -runs.schedule_key))
where schedule_key in (select value from json_each(:schedule_keys))
  and state in ('buffered', 'held', 'queued', 'running', 'retrying')
