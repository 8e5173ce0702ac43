-- name: read_info
-- A fact about this store.
select value from store_info where key = :key

-- name: put_info
-- Remember a fact about this store unless it is known.
insert into store_info (key, value) values (:key, :value) on conflict (key) do nothing
