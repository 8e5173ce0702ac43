-- name: read_info
-- A fact about this store.
select value from store_info where key = :key

-- name: put_info
-- Remember a fact about this store unless it is known.
insert into store_info (key, value) values (:key, :value) on conflict (key) do nothing

-- name: key_by_hash
-- Whose key this is.
select id, namespace, scopes from api_keys where hash = :hash

-- lock: add_admin_key
-- Two servers that start at once are not both the first.
lock table api_keys in share row exclusive mode

-- name: add_admin_key
-- Let the key with this hash in as an admin; each data directory on this database has one of its own.
insert into api_keys (id, namespace, hash, scopes, created_at)
select case when exists (select 1 from api_keys where id = 'admin') then 'admin-' || substr(:hash::text, 1, 8)
            else 'admin' end,
       null, :hash::text, 'admin', :now::bigint
on conflict (hash) do nothing
