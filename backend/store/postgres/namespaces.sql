-- fragment: namespace_columns
id, created_at, timezone, limits

-- name: insert_namespace
-- A namespace, unless it exists.
insert into namespaces ({{namespace_columns}})
values (:id::text, :created_at::bigint, :timezone::text, :limits::text)
on conflict (id) do nothing
returning id

-- name: namespace_by_id
-- One namespace.
select {{namespace_columns}} from namespaces where id = :namespace::text

-- name: list_namespaces
-- One page of namespaces, by id.
select {{namespace_columns}} from namespaces where id collate "C" > :after::text order by id collate "C" limit :limit::bigint

-- name: count_namespaces
-- How many namespaces there are.
select count(*) from namespaces

-- name: update_namespace
-- What holds for all that is in a namespace.
update namespaces set timezone = :timezone::text, limits = :limits::text where id = :namespace::text

-- name: namespace_contents
-- What keeps a namespace from being deleted.
select kind from (
  select 'schedules' as kind, exists (
    select 1 from schedules where namespace = :namespace::text and deleted_at is null) as found
  union all
  select 'the history of deleted schedules', exists (
    select 1 from schedules where namespace = :namespace::text and deleted_at is not null)
  union all
  select 'notification routes', exists (select 1 from notification_routes where namespace = :namespace)
  union all
  select 'calendars', exists (select 1 from calendars where namespace = :namespace::text)
  union all
  select 'secrets', exists (select 1 from secrets where namespace = :namespace::text)
  union all
  select 'keys', exists (
    select 1 from api_keys where namespace = :namespace::text
      and revoked_at is null and (expires_at is null or expires_at > :now::bigint))
) as contents
where found

-- name: delete_namespace
-- Forget an empty namespace.
delete from namespaces where id = :namespace::text

-- name: terms_of
-- What holds for all that is in these namespaces.
select id, timezone, limits, egress from namespaces where id = any(:namespaces::text[])
