-- fragment: key_columns
id, namespace, name, hash, scopes, source, created_at, created_by, expires_at, last_used_at, revoked_at, successor

-- name: key_candidates
-- The keys that texts could be: by the ids that stand in them, or by their hashes if they came from files.
select {{key_columns}} from api_keys
where id in (select value from json_each(:ids))
   or (hash in (select value from json_each(:hashes)) and source is not null)

-- name: adopt_key
-- Let a file's key in as an admin; each data directory on this database has one of its own, or shares one.
insert into api_keys (id, namespace, hash, scopes, source, created_at, created_by)
select case when exists (select 1 from api_keys where id = 'admin') then 'admin-' || substr(:hash, 1, 8)
            else 'admin' end,
       null, :hash, 'admin', :source, :now, 'file'
where true -- or `on` would be read as part of the select
on conflict (hash) do update set source = excluded.source

-- name: revoke_replaced_keys
-- A file that holds another key now: the one it held before lets nobody in any more.
update api_keys set revoked_at = :now
where source = :source and hash <> :hash and revoked_at is null
returning id

-- name: insert_key
-- A key that somebody has asked for.
insert into api_keys ({{key_columns}})
values (:id, :namespace, :name, :hash, :scopes, :source, :created_at, :created_by, :expires_at, :last_used_at, :revoked_at, :successor)

-- name: key_by_id
-- One key of a namespace, or of all.
select {{key_columns}} from api_keys
where id = :id and (:namespace is null or namespace = :namespace)

-- name: list_keys
-- One page of keys of a namespace, or of all, by id.
select {{key_columns}} from api_keys
where (:namespace is null or namespace = :namespace) and id > :after
order by id
limit :limit

-- name: count_keys
-- How many keys of a namespace, or of none, are in force.
select count(*) from api_keys
where namespace is :namespace
  and revoked_at is null and (expires_at is null or expires_at > :now)

-- name: revoke_key
-- Let a key in no more; one that was revoked before stays so from then.
update api_keys set revoked_at = :now where id = :id and revoked_at is null

-- name: replace_key
-- Let a key in force expire, since another takes its place; none when it already has a successor.
update api_keys
set successor = :successor,
    expires_at = case when expires_at is null or expires_at > :at then :at else expires_at end
where id = :id and successor is null and revoked_at is null and (expires_at is null or expires_at > :now)
returning id

-- name: note_keys_used
-- When these keys were last used.
update api_keys set last_used_at = :now
where id in (select value from json_each(:ids)) and (last_used_at is null or last_used_at < :now)

-- name: forget_old_keys
-- Keys that have not been in force for long; not those of files: without its row, a revoked one would be let in anew.
delete from api_keys where source is null and (revoked_at < :before or expires_at < :before)

-- name: delete_keys_of
-- What is left of a namespace's keys when it is deleted.
delete from api_keys where namespace = :namespace
