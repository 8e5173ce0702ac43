-- name: stats_schedules
-- How many schedules of a namespace are in each state.
select state, count(*) from schedules where namespace = :namespace and deleted_at is null group by state

-- name: stats_open
-- How many runs of a namespace are open, by state, each counted no further than `most`.
select 'queued', (select count(*) from (
  select 1 from unnest(:kinds::text[]) k (kind) cross join lateral (
    select 1 from runs
    where state = 'queued' and chained = 0 and lane in (0, 1) and target_kind = k.kind and namespace = :namespace
    limit :most::bigint) r
  limit :most::bigint) x)
union all
select x.state, count(*) from (
  select r.state from unnest(:kinds::text[]) k (kind) cross join lateral (
    select state from runs
    where {{delayed}} and lane in (0, 1) and target_kind = k.kind and namespace = :namespace
    limit :most::bigint) r
  limit :most::bigint) x
group by x.state
union all
select 'running', (select count(*) from (
  select 1 from runs where state = 'running' and lane <> 2 and namespace = :namespace limit :most::bigint) x)
union all
select x.state, count(*) from (
  select state from runs where state in ('buffered', 'held') and namespace = :namespace limit :most::bigint) x
group by x.state

-- name: stats_recent
-- The newest runs of a namespace since a time: how they ended, and how late they began.
select state, case when lane = 0 and started_at is not null then started_at - scheduled_at end
from runs where namespace = :namespace and id >= :floor and lane <> 2
order by id desc limit :most::bigint

-- name: stats_backlog
-- Schedules of a namespace that are due and not planned, and since when; and since when the oldest run waits for a worker.
select count(*), min(d.next_scheduled_at),
       (select min((select available_at from runs
                    where state = 'queued' and chained = 0 and lane = 0 and target_kind = k.kind
                      and namespace = :namespace
                    order by available_at limit 1))
        from unnest(:kinds::text[]) k (kind))
from (select namespace, next_scheduled_at from schedules where next_scheduled_at <= :now::bigint
      order by next_scheduled_at limit :most::bigint) d
where d.namespace = :namespace

-- name: stats_use
-- What a namespace has started lately.
select minute, starts from namespace_use where namespace = :namespace
