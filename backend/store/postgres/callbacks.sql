-- fragment: awaited_columns
r.key, r.id, r.schedule_key, r.namespace, r.nominal_at, r.scheduled_at, r.attempt_started_at, r.attempt, r.losses,
r.released, r.retry_until_at, r.trigger_type, r.missed_count, r.missed_first_at, r.missed_last_at, r.input,
r.declined, r.unable_since_at, r.available_at,
r.state, r.lease_token, r.callback_hash, r.callback_until, r.cancel_requested

-- name: expect_callbacks
-- Note what the callee will be told, before it is; only the holder of the lease may.
update runs r set callback_hash = x.hash, callback_until = x.until, callback_silence = x.silence
from json_to_recordset(:rows::json) as x (key bigint, token text, hash text, until bigint, silence bigint)
where {{in_range}} and r.lease_token = x.token and r.state = 'running'
returning r.key

-- name: hand_over_runs
-- The lease becomes the callee's; only the holder of the lease may give it.
with held as materialized (
  select r.key, r.nominal_at, x.now
  from json_to_recordset(:rows::json) as x (key bigint, token text, now bigint) join runs r on {{in_range}}
  where r.lease_token = x.token and r.state = 'running' and r.callback_hash is not null
  order by r.key
  for no key update of r)
update runs r
set lease_token = r.callback_hash, worker = 'callback',
    lease_until = least(r.callback_until, x.now + coalesce(r.callback_silence, r.callback_until))
from held x
where r.key = x.key and r.nominal_at = x.nominal_at
returning r.key, r.attempt, r.state

-- name: prolong_callback
-- The callee is alive; its lease lasts no longer than the attempt may.
update runs r
set lease_until = least(r.callback_until, x.now + coalesce(r.callback_silence, r.callback_until))
from json_to_recordset(:rows::json) as x (key bigint, now bigint)
where {{in_range}} and r.state = 'running' and r.lease_token = r.callback_hash
returning r.lease_until

-- name: awaited_run
-- A run as its callee's word concerns it.
select {{awaited_columns}} from runs r where r.namespace = :namespace and r.id = :id

-- name: run_of_callback
-- To whom a callback token belongs.
select r.namespace, r.id, r.callback_hash
from (select :key::bigint as key) x join runs r on {{in_range}}

-- lock: silent_callees
-- Their schedules, but none that somebody is at: the next look finds what is left.
select s.key from schedules s
where s.key in (select r.schedule_key from runs r
                where r.state = 'running' and r.lease_until < :now::bigint and r.lease_token = r.callback_hash
                order by r.lease_until limit :limit::bigint)
order by s.key
for no key update skip locked

-- name: silent_callees
-- Awaited runs whose callee has been silent for too long, or has used up its time.
select {{awaited_columns}} from runs r
where r.state = 'running' and r.lease_until < :now::bigint and r.lease_token = r.callback_hash
  and r.schedule_key = any(:locked::bigint[])
order by r.lease_until
limit :limit::bigint
for no key update of r skip locked

-- name: forgive_silence
-- Nobody could hear the callees while no server was up: their silence counts from now on.
with silent as materialized (
  select r.key, r.nominal_at, least(r.callback_until, :now::bigint + r.callback_silence) as until from runs r
  where r.state = 'running' and r.lease_token = r.callback_hash and r.callback_silence is not null
    and r.lease_until < least(r.callback_until, :now::bigint + r.callback_silence)
  order by r.key
  for no key update of r skip locked)
update runs r set lease_until = x.until
from silent x
where r.key = x.key and r.nominal_at = x.nominal_at
