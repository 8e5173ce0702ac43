-- name: repeat_by_id
-- What was answered to a request, if that is not too long ago.
select fingerprint, status, headers, body from repeats where id = :id and created_at > :since

-- name: claim_repeat
-- The first to come with this id, or the first since the last one's answer is no longer kept.
insert into repeats (id, fingerprint, created_at) values (:id, :fingerprint, :now)
on conflict (id) do update set fingerprint = excluded.fingerprint, created_at = excluded.created_at
where repeats.created_at <= :over
returning id

-- name: claim_free_repeats
-- The same of many; writers take turns.
insert into repeats (id, fingerprint, created_at)
select x.value ->> 'id', x.value ->> 'fingerprint', :now from json_each(:tickets) x where true
on conflict (id) do update set fingerprint = excluded.fingerprint, created_at = excluded.created_at
where repeats.created_at <= :over
returning id

-- name: give_repeats_back
-- They have not been done after all.
delete from repeats where id in (select value from json_each(:ids))

-- name: note_answers
-- What is answered, now and whenever the request comes again.
update repeats set status = :status, headers = :headers, body = :body where id = :id

-- name: prune_repeats
-- Answers that are no longer kept, oldest first.
delete from repeats where id in (select id from repeats where created_at <= :before order by created_at limit :limit)
returning id
