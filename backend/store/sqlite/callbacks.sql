-- fragment: awaited_columns
r.key, r.id, r.schedule_key, r.namespace, r.nominal_at, r.scheduled_at, r.attempt_started_at, r.attempt, r.losses,
r.released, r.retry_until_at, r.trigger_type, r.missed_count, r.missed_first_at, r.missed_last_at, r.input,
r.declined, r.unable_since_at, r.available_at,
r.state, r.lease_token, r.callback_hash, r.callback_until, r.cancel_requested

-- name: expect_callbacks
-- Note what the callee will be told, before it is; only the holder of the lease may.
update runs set callback_hash = :hash, callback_until = :until, callback_silence = :silence
where key = :key and lease_token = :token and state = 'running'
returning key

-- name: hand_over_runs
-- The lease becomes the callee's; only the holder of the lease may give it.
update runs
set lease_token = callback_hash, worker = 'callback',
    lease_until = min(callback_until, :now + coalesce(callback_silence, callback_until))
where key = :key and lease_token = :token and state = 'running' and callback_hash is not null
returning key, attempt, state

-- name: prolong_callback
-- The callee is alive; its lease lasts no longer than the attempt may.
update runs set lease_until = min(callback_until, :now + coalesce(callback_silence, callback_until))
where key = :key and state = 'running' and lease_token = callback_hash
returning lease_until

-- name: awaited_run
-- A run as its callee's word concerns it.
select {{awaited_columns}} from runs r where r.namespace = :namespace and r.id = :id

-- name: run_of_callback
-- To whom a callback token belongs.
select r.namespace, r.id, r.callback_hash from runs r where r.key = :key

-- name: silent_callees
-- Awaited runs whose callee has been silent for too long, or has used up its time.
select {{awaited_columns}} from runs r
where r.state = 'running' and r.lease_until < :now and r.lease_token = r.callback_hash
order by r.lease_until
limit :limit

-- name: forgive_silence
-- Nobody could hear the callees while no server was up: their silence counts from now on.
update runs set lease_until = min(callback_until, :now + callback_silence)
where state = 'running' and lease_token = callback_hash and callback_silence is not null
  and lease_until < min(callback_until, :now + callback_silence)
