-- name: repeat_by_id
-- What was answered to a request, if that is not too long ago.
select fingerprint, status, headers, body from repeats where id = :id::text and created_at > :since::bigint

-- name: claim_repeat
-- The first to come with this id, or the first since the last one's answer is no longer kept; waits for who is at it.
with held as materialized (select pg_advisory_xact_lock(hashtextextended(:id::text, 0)))
insert into repeats (id, fingerprint, created_at) select :id::text, :fingerprint::text, :now::bigint from held
on conflict (id) do update set fingerprint = excluded.fingerprint, created_at = excluded.created_at
where repeats.created_at <= :over::bigint
returning id

-- name: claim_free_repeats
-- The same of many, except those at which somebody is just now: their rows would be waited for, if nothing else told.
with free as materialized (
  select * from json_to_recordset(:tickets::json) as x (id text, fingerprint text)
  where pg_try_advisory_xact_lock(hashtextextended(x.id, 0)))
insert into repeats (id, fingerprint, created_at) select id, fingerprint, :now::bigint from free
on conflict (id) do update set fingerprint = excluded.fingerprint, created_at = excluded.created_at
where repeats.created_at <= :over::bigint
returning id

-- name: note_answers
-- What is answered, now and whenever the request comes again.
update repeats r set status = x.status, headers = x.headers, body = x.body
from json_to_recordset(:rows::json) as x (id text, status integer, headers text, body text)
where r.id = x.id

-- name: give_repeats_back
-- They have not been done after all.
delete from repeats where id = any(:ids::text[])

-- name: prune_repeats
-- Answers that are no longer kept, oldest first; whoever uses one again meanwhile is left alone.
delete from repeats where id in (select id from repeats where created_at <= :before::bigint
                                 order by created_at limit :limit::bigint for update skip locked)
returning id
