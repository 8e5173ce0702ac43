-- name: insert_use
-- A new namespace has used nothing.
insert into namespace_use (namespace) values (:namespace) on conflict (namespace) do nothing

-- name: limits_of
-- The limits of these namespaces, where there are any.
select id, limits from namespaces where id in (select value from json_each(:namespaces)) and limits <> '{}'

-- name: hold_use
-- What these namespaces have started lately; writers take turns.
select namespace, minute, starts from namespace_use where namespace in (select value from json_each(:namespaces))

-- name: hold_use_if_free
-- Which of these namespaces nobody else decides about just now: all, since writers take turns.
select namespace from namespace_use where namespace in (select value from json_each(:namespaces))

-- name: note_starts
-- Note how many runs have been started in a minute.
update namespace_use set minute = :minute, starts = :starts where namespace = :namespace

-- name: count_running
-- How many runs of these namespaces are at work.
select wanted.value, (select count(*) from runs r where r.namespace = wanted.value and r.state = 'running' and r.lane < 2)
from json_each(:namespaces) wanted

-- name: count_schedules_of_namespace
-- How many schedules there are.
select count(*) from schedules where namespace = :namespace and deleted_at is null

-- name: count_schedules_of_owners
-- How many schedules these owners have.
select wanted.value, (select count(*) from schedules s
                      where s.namespace = :namespace and s.owner = wanted.value and s.deleted_at is null)
from json_each(:owners) wanted
