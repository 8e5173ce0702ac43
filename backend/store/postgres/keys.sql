-- fragment: key_columns
id, namespace, name, hash, scopes, source, created_at, created_by, expires_at, last_used_at, revoked_at, successor

-- name: key_candidates
-- The keys that texts could be: by the ids that stand in them, or by their hashes if they came from files.
select {{key_columns}} from api_keys
where id = any(:ids::text[]) or (hash = any(:hashes::text[]) and source is not null)

-- lock: adopt_key
-- Two servers that start at once are not both the first.
lock table api_keys in share row exclusive mode

-- name: adopt_key
-- Let a file's key in as an admin; each data directory on this database has one of its own, or shares one.
insert into api_keys (id, namespace, hash, scopes, source, created_at, created_by)
select case when exists (select 1 from api_keys where id = 'admin') then 'admin-' || substr(:hash::text, 1, 8)
            else 'admin' end,
       null, :hash::text, 'admin', :source::text, :now::bigint, 'file'
on conflict (hash) do update set source = excluded.source

-- name: revoke_replaced_keys
-- A file that holds another key now: the one it held before lets nobody in any more.
update api_keys set revoked_at = :now::bigint
where source = :source::text and hash <> :hash::text and revoked_at is null
returning id

-- name: insert_key
-- A key that somebody has asked for.
insert into api_keys ({{key_columns}})
values (:id::text, :namespace::text, :name::text, :hash::text, :scopes::text, :source::text, :created_at::bigint, :created_by::text, :expires_at::bigint, :last_used_at::bigint, :revoked_at::bigint, :successor::text)

-- name: key_by_id
-- One key of a namespace, or of all.
select {{key_columns}} from api_keys
where id = :id::text and (:namespace::text is null or namespace = :namespace::text)

-- name: list_keys
-- One page of keys of a namespace, or of all, by id.
select {{key_columns}} from api_keys
where (:namespace::text is null or namespace = :namespace::text) and id > :after::text
order by id
limit :limit::bigint

-- name: count_keys
-- How many keys of a namespace, or of none, are in force.
select count(*) from api_keys
where namespace is not distinct from :namespace::text
  and revoked_at is null and (expires_at is null or expires_at > :now::bigint)

-- name: revoke_key
-- Let a key in no more; one that was revoked before stays so from then.
update api_keys set revoked_at = :now::bigint where id = :id::text and revoked_at is null

-- name: replace_key
-- Let a key in force expire, since another takes its place; none when it already has a successor.
update api_keys
set successor = :successor::text,
    expires_at = case when expires_at is null or expires_at > :at::bigint then :at::bigint else expires_at end
where id = :id::text and successor is null and revoked_at is null and (expires_at is null or expires_at > :now::bigint)
returning id

-- name: note_keys_used
-- When these keys were last used.
update api_keys set last_used_at = :now::bigint
where id = any(:ids::text[]) and (last_used_at is null or last_used_at < :now::bigint)

-- name: forget_old_keys
-- Keys that have not been in force for long; not those of files: without its row, a revoked one would be let in anew.
delete from api_keys where source is null and (revoked_at < :before::bigint or expires_at < :before::bigint)

-- name: delete_keys_of
-- What is left of a namespace's keys when it is deleted.
delete from api_keys where namespace = :namespace::text
