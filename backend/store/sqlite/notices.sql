-- fragment: route_columns
n.key, n.namespace, n.id, n.origin, n.events, n.tag, n.owner, n.after_failures, n.late_by, n.every, n.definition,
n.errand, n.created_at, n.created_by, n.updated_at

-- name: insert_route
-- A route for notifications, unless there is one of this id.
insert into notification_routes (namespace, id, origin, events, tag, owner, after_failures, late_by, every, definition, errand, created_at,
                                 created_by, updated_at)
values (:namespace, :id, :origin, :events, :tag, :owner, :after_failures, :late_by, :every, :definition, :errand, :created_at,
        :created_by, :updated_at)
on conflict (namespace, id) do nothing
returning key

-- name: update_route
-- Who is told what from now on.
update notification_routes
set events = :events, tag = :tag, owner = :owner, after_failures = :after_failures, late_by = :late_by, every = :every,
    definition = :definition, errand = :errand, updated_at = :updated_at
where key = :key

-- name: delete_route
-- Tell nobody any more.
delete from notification_routes where key = :key

-- name: drop_notifications
-- Those of a deleted route that have not begun, or wait for another attempt, are not sent.
update runs set state = 'skipped', reason = 'deleted', finished_at = :now
where schedule_key = :schedule_key and state in ('queued', 'retrying')

-- name: route_errands_in
-- What the routes of a namespace carry out, for a secret that is to go.
select id, errand from notification_routes where namespace = :namespace order by id

-- name: route_by_id
-- One route.
select {{route_columns}} from notification_routes n where n.namespace = :namespace and n.id = :id

-- name: list_routes
-- One page of a namespace's routes, by id.
select {{route_columns}} from notification_routes n
where n.namespace = :namespace and n.id > :after
order by n.id
limit :limit

-- name: count_routes
-- How many routes a namespace has.
select count(*) from notification_routes where namespace = :namespace

-- name: routes_about
-- The routes that these schedules concern.
select n.key, n.id, n.origin, n.events, n.after_failures, n.late_by, n.every, s.key, s.namespace, s.id, s.name, s.owner
from notification_routes n join schedules s on s.namespace = n.namespace
where s.key in (select value from json_each(:schedule_keys))
  and (n.owner is null or n.owner = s.owner)
  and (n.tag is null or exists (select 1 from schedule_tags t
                                where t.namespace = n.namespace and t.tag = n.tag and t.schedule_key = s.key))
order by n.key, s.key

-- name: marks_of
-- When the routes were last told of these schedules.
select m.route_key, m.schedule_key, m.event, m.sent_at, m.is_open from notification_marks m
where m.schedule_key in (select value from json_each(:schedule_keys))

-- name: put_marks
-- Remember when the routes were told.
insert into notification_marks (schedule_key, route_key, event, sent_at, is_open)
values (:schedule_key, :route_key, :event, :sent_at, :is_open)
on conflict (schedule_key, route_key, event) do update
  set sent_at = excluded.sent_at, is_open = excluded.is_open

-- name: route_errands_of
-- What the notifications of these routes have to carry out, and which hosts they may call.
select n.key, n.id, n.errand, n.namespace,
       (select x.egress from namespaces x where x.id = n.namespace)
from notification_routes n where n.key in (select value from json_each(:route_keys))

-- name: latest_wanted
-- In which namespaces somebody is to hear of late runs, and of how late ones at least.
select namespace, min(late_by) from notification_routes where late_by is not null group by namespace

-- name: late_runs
-- Runs of schedules that should have begun by now and still wait.
with recursive {{queued_kinds}}
select r.schedule_key, r.id, r.nominal_at, r.scheduled_at
from queued_kinds k cross join runs r cross join schedules s on s.key = r.schedule_key
where r.lane = :lane and r.target_kind = k.kind and r.namespace = :namespace and r.state = 'queued' and r.chained = 0
  and r.available_at < :before and r.scheduled_at < :before
order by r.available_at
limit :limit

-- name: list_route_runs
-- One page of a route's notifications, newest first.
select {{run_columns}} from runs r join notification_routes s on s.key = -r.schedule_key
where (:state is null or r.state = :state) and {{page_of_schedule}}
