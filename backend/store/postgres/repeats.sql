-- name: repeat_by_id
-- What was answered to a request, if that is not too long ago.
select fingerprint, status, headers, body from repeats where id = :id::text and created_at > :since::bigint

-- name: claim_repeat
-- The first to come with this id, or the first since the last one's answer is no longer kept.
insert into repeats (id, fingerprint, created_at) values (:id::text, :fingerprint::text, :now::bigint)
on conflict (id) do update set fingerprint = excluded.fingerprint, created_at = excluded.created_at
where repeats.created_at <= :over::bigint
returning id

-- name: note_answer
-- What is answered, now and whenever the request comes again.
update repeats set status = :status::integer, headers = :headers::text, body = :body::text where id = :id::text

-- name: prune_repeats
-- Answers that are no longer kept, oldest first; whoever uses one again meanwhile is left alone.
delete from repeats where id in (select id from repeats where created_at <= :before::bigint
                                 order by created_at limit :limit::bigint for update skip locked)
returning id
