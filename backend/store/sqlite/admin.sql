-- name: read_info
-- A fact about this store.
select value from store_info where key = :key

-- name: put_info
-- Remember a fact about this store unless it is known.
insert into store_info (key, value) values (:key, :value) on conflict (key) do nothing

-- name: key_by_hash
-- Whose key this is.
select id, namespace, scopes from api_keys where hash = :hash

-- name: replace_admin_key
-- Let the admin key have this hash.
insert into api_keys (id, namespace, hash, scopes, created_at) values ('admin', null, :hash, 'admin', :now)
on conflict (id) do update set hash = excluded.hash, created_at = excluded.created_at
