-- fragment: revision_columns
v.key, v.revision, v.verb, v.triggers, v.state, v.note, v.effective_at, v.cursor_at, v.planned_to_at, v.changed_at,
v.changed_by

-- fragment: ledger_columns
r.id, r.nominal_at, r.state, r.reason, r.missed_count, r.missed_first_at, r.missed_last_at

-- fragment: last_of_row
case when missed_first_at = nominal_at then missed_last_at else nominal_at end

-- name: insert_pause_revisions
-- Keep that these schedules paused themselves.
insert into schedule_revisions (schedule_key, revision, verb, triggers, state, note, effective_at, cursor_at,
                                planned_to_at, changed_at, changed_by)
select s.key, s.revision, 'paused', s.triggers, s.state, s.note, s.effective_at, s.cursor_at,
       case when s.next_nominal_at is null then s.cursor_at else max(s.cursor_at, :now) end, :now, 'scheduler'
from json_each(:schedule_keys) k cross join schedules s on s.key = k.value

-- name: raise_floors
-- Keep from when on the ledgers of schedules are complete, since older rows were deleted.
insert into ledger_floors (schedule_key, complete_from) values (:schedule_key, :complete_from)
on conflict (schedule_key) do update set complete_from = max(complete_from, excluded.complete_from)

-- name: audit_facts
-- From when on this store has a ledger, and which time zone database its times follow since when.
select key, value from store_info where key in ('ledger_from', 'tzdata_version', 'tzdata_since')

-- name: change_info
-- Remember a fact about this store instead of an older one.
insert into store_info (key, value) values (:key, :value) on conflict (key) do update set value = excluded.value

-- name: schedules_to_audit
-- The next schedules by key that planned something since an instant, deleted ones included.
select s.key, s.id, s.namespace, s.cursor_at, f.complete_from
from schedules s left join ledger_floors f on f.schedule_key = s.key
where s.key > :after_key and s.cursor_at >= :from and (:namespace is null or s.namespace = :namespace)
order by s.key
limit :limit

-- name: schedule_to_audit
-- One schedule by its key.
select s.key, s.id, s.namespace, s.cursor_at, f.complete_from
from schedules s left join ledger_floors f on f.schedule_key = s.key
where s.key = :schedule_key and (:namespace is null or s.namespace = :namespace)

-- name: revisions_from
-- The last change before an instant, and all that follow; by a clock that went back, one may bear an earlier time.
select {{revision_columns}}
from schedule_revisions v
where v.schedule_key = :schedule_key
  and v.key >= coalesce((select max(b.key) from schedule_revisions b
                         where b.schedule_key = :schedule_key and b.changed_at < :from and b.cursor_at < :from
                           and b.key <= coalesce((select min(e.key) from schedule_revisions e
                                                  where e.schedule_key = :schedule_key
                                                    and e.changed_at >= :from), b.key)), 0)
order by v.key

-- name: last_revision_of
-- The last change of a schedule before an instant that was made by one of these verbs.
select {{revision_columns}}
from schedule_revisions v
where v.schedule_key = :schedule_key and v.changed_at < :before
  and v.verb in (select value from json_each(:verbs))
order by v.key desc
limit 1

-- name: ledger_from
-- What the ledger says of a schedule's occurrences in a range, in order.
select {{ledger_columns}}
from runs r
where r.schedule_key = :schedule_key and r.nominal_at >= :from and r.nominal_at <= :until and r.backfill_id = ''
order by r.nominal_at
limit :limit

-- name: ledger_before
-- The newest of a schedule's rows before an instant.
select {{ledger_columns}}
from runs r
where r.schedule_key = :schedule_key and r.nominal_at < :before and r.backfill_id = ''
order by r.nominal_at desc
limit 1

-- name: deleted_schedules_of_id
-- Schedules that had this id until they were deleted, newest first.
select {{schedule_columns}}, 0
from schedules s
where s.namespace = :namespace and s.id = :id and s.deleted_at is not null
order by s.key desc
limit :limit

-- name: definition_of
-- The definition that a schedule had at a revision.
select v.definition
from schedule_revisions v
where v.schedule_key = :schedule_key and v.revision = :revision and v.definition is not null
order by v.key desc
limit 1

-- name: runs_beside
-- Runs of a schedule in a range that are no occurrences: of backfills, of retries, started by hand.
select {{run_columns}} from runs r join schedules s on s.key = r.schedule_key
where r.schedule_key = :schedule_key and r.nominal_at >= :from and r.nominal_at < :until and r.backfill_id <> ''
order by r.nominal_at, r.key desc
limit :limit

-- name: run_open_at
-- The run of a schedule that was open at an instant; of several, the one with the newest nominal time.
select {{run_columns}} from runs r join schedules s on s.key = r.schedule_key
where r.schedule_key = :schedule_key and r.nominal_at < :before and r.state not in ('skipped', 'missed')
  and r.queued_at <= :at and (r.finished_at is null or r.finished_at >= :at)
order by r.nominal_at desc
limit 1
