-- name: insert_use
-- A new namespace has used nothing.
insert into namespace_use (namespace) values (:namespace) on conflict (namespace) do nothing

-- name: limits_of
-- The limits of these namespaces, where there are any.
select id, limits from namespaces where id = any(:namespaces::text[]) and limits <> '{}'

-- name: hold_use
-- What these namespaces have started lately; nobody else decides about that until we are done.
select namespace, minute, starts from namespace_use where namespace = any(:namespaces::text[])
order by namespace
for no key update

-- name: hold_use_if_free
-- Which of these namespaces nobody else decides about just now; nobody will until we are done.
select namespace from namespace_use where namespace = any(:namespaces::text[])
order by namespace
for no key update skip locked

-- name: note_starts
-- Note how many runs have been started in a minute.
update namespace_use u set minute = x.minute, starts = x.starts
from json_to_recordset(:rows::json) as x (namespace text, minute bigint, starts bigint)
where u.namespace = x.namespace

-- name: count_running
-- How many runs of these namespaces are at work.
select n.id, (select count(*) from runs r where r.namespace = n.id and r.state = 'running' and r.lane < 2)
from unnest(:namespaces::text[]) n (id)

-- name: count_schedules_of_namespace
-- How many schedules there are.
select count(*) from schedules where namespace = :namespace and deleted_at is null

-- name: count_schedules_of_owners
-- How many schedules these owners have.
select o.id, (select count(*) from schedules s
              where s.namespace = :namespace and s.owner = o.id and s.deleted_at is null)
from unnest(:owners::text[]) o (id)
