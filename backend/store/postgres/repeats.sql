-- name: repeat_by_id
-- What was answered to a request, if that is not too long ago.
select fingerprint, status, headers, body from repeats where id = :id::text and created_at > :since::bigint

-- name: claim_repeats
-- The first to come with each of these ids, or the first since the last one's answer is no longer kept.
insert into repeats (id, fingerprint, created_at)
select x.id, x.fingerprint, :now::bigint from json_to_recordset(:tickets::json) as x (id text, fingerprint text)
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
