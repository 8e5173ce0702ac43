-- name: secret_by_name
-- What is told of one secret.
select name, key_id, created_at, created_by, updated_at, updated_by from secrets
where namespace = :namespace and name = :name

-- name: list_secrets
-- One page of secrets, by name.
select name, key_id, created_at, created_by, updated_at, updated_by from secrets
where namespace = :namespace and name > :after
order by name
limit :limit

-- name: count_secrets
-- How many secrets a namespace has.
select count(*) from secrets where namespace = :namespace

-- name: put_secret
-- Make or replace a secret, whose value is encrypted.
insert into secrets (namespace, name, sealed, key_id, created_at, created_by, updated_at, updated_by)
values (:namespace, :name, :sealed, :key_id, :now, :by, :now, :by)
on conflict (namespace, name) do update
set sealed = excluded.sealed, key_id = excluded.key_id, updated_at = excluded.updated_at,
    updated_by = excluded.updated_by

-- name: delete_secret
-- Forget a secret.
delete from secrets where namespace = :namespace and name = :name

-- name: schedules_that_mention
-- The live schedules whose definition holds a reference to a secret, by the index of those that hold any.
select id, definition from schedules
where namespace = :namespace and deleted_at is null and strpos(definition, '{"secret":"') > 0
  and strpos(definition, :reference::text) > 0
order by key
limit :limit

-- name: known_secrets
-- Which of these secrets there are; without names, all of the namespace.
select name from secrets
where namespace = :namespace and (:names::text[] is null or name = any(:names::text[]))

-- name: sealed_secrets
-- The encrypted values of secrets, of a few namespaces at once.
select namespace, name, sealed from secrets
where namespace = any(:namespaces::text[]) and name = any(:names::text[])

-- name: stale_secrets
-- One batch of those that are not encrypted with this key.
select namespace, name, sealed from secrets
where (namespace, name) > (:namespace::text collate "C", :name::text collate "C") and key_id <> :key_id
order by namespace, name
limit :limit

-- name: reseal_secret
-- Encrypted anew, unless somebody has put another value meanwhile.
update secrets set sealed = :sealed, key_id = :key_id
where namespace = :namespace and name = :name and sealed = :old

-- name: egress_of
-- Which hosts a namespace may call: a JSON list, or null for every public one.
select egress from namespaces where id = :namespace

-- name: put_egress
-- Replace the list.
update namespaces set egress = :egress where id = :namespace
