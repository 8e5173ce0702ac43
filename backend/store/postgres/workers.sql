-- name: see_worker
-- Note that a worker is alive, and that it has come if it is new.
insert into workers (name, host, pid, version, concurrency, lease, started_at, seen_at, draining,
                     abilities)
values (:name, :host, :pid, :version, :concurrency, :lease, :now::bigint, :now::bigint, :draining, :abilities)
on conflict (name) do update set seen_at = excluded.seen_at, draining = excluded.draining,
                                 abilities = excluded.abilities

-- name: forget_worker
-- A worker has left, having given back what it held.
delete from workers where name = :name

-- name: prune_workers
-- Forget workers whose lease was over long ago.
delete from workers where seen_at + lease < :silent_before

-- name: list_workers
-- One page of workers by name, with the runs that each holds.
select w.name, w.host, w.pid, w.version, w.concurrency, w.lease, w.started_at, w.seen_at, w.draining,
       coalesce(h.runs, 0)
from (select * from workers where name > :after::text order by name limit :limit::bigint) w
left join (select worker, count(*) as runs from runs where state = 'running' group by worker) h on h.worker = w.name
order by w.name

-- name: count_workers
-- Workers by what they are doing.
select case when seen_at + lease < :now::bigint then 'silent' when draining = 1 then 'draining' else 'working' end as doing,
       count(*)
from workers group by 1

-- name: able_workers
-- What the workers may do, and whether they are there.
select name, abilities, seen_at + lease >= :now::bigint from workers order by name
