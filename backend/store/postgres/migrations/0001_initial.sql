-- Instants and lengths are int64 microseconds (instants: UTC since 1970); ids are text that sorts by byte; JSON is text.

create table store_info (
  key text primary key,
  value text not null
);

create table namespaces (
  id text primary key,
  created_at bigint not null,
  timezone text not null default 'UTC', -- of triggers that name none
  limits text not null default '{}', -- JSON
  egress text -- JSON list of hosts that may be called; null: every public one
);

create table api_keys (
  id text collate "C" primary key,
  namespace text references namespaces (id), -- null: every namespace
  name text not null default '',
  hash text not null unique,
  scopes text not null, -- words, with spaces between
  source text, -- host and file that it was adopted from; null: made by us
  created_at bigint not null,
  created_by text not null,
  expires_at bigint,
  last_used_at bigint,
  revoked_at bigint,
  successor text -- the key that was made in its place
);
create index api_keys_listed on api_keys (namespace, id);

create table schedules (
  key bigint generated always as identity primary key, -- never reused
  namespace text not null references namespaces (id),
  id text collate "C" not null,
  name text not null,
  owner text,
  target_kind text not null,
  state text not null check (state in ('active', 'paused', 'completed', 'error')),
  note text not null default '',
  note_by text,
  note_at bigint,
  definition text not null,
  triggers text not null,
  revision integer not null,
  source text,
  created_at bigint not null,
  created_by text not null,
  updated_at bigint not null,
  effective_at bigint not null,
  cursor_at bigint not null,
  next_nominal_at bigint,
  next_scheduled_at bigint,
  misfire_policy text not null,
  misfire_threshold bigint not null,
  catchup_window bigint not null,
  overlap_policy text not null,
  delivery text not null,
  pause_after_failures integer not null,
  jitter bigint not null default 0,
  max_runs bigint,
  runs_made bigint not null default 0,
  paused_cursor_at bigint,
  missed_count bigint not null default 0,
  missed_first_at bigint,
  missed_last_at bigint,
  skip_reason text,
  skip_count bigint not null default 0,
  skip_range_at bigint,
  failure_streak bigint not null default 0,
  permanent_streak bigint not null default 0,
  streak_since_at bigint,
  error text,
  error_count bigint not null default 0,
  deleted_at bigint
) with (fillfactor = 80);

-- The public id is unique among what is not deleted; a deleted row keeps its key for the ledger.
create unique index schedules_id on schedules (namespace, id) where deleted_at is null;
create index schedules_due on schedules (next_scheduled_at, key) where next_scheduled_at is not null;
create index schedules_listed on schedules (namespace, key) where deleted_at is null;
create index schedules_owner on schedules (namespace, owner, key) where deleted_at is null;
create index schedules_name on schedules (namespace, name, key) where deleted_at is null;
create index schedules_at_rest on schedules (namespace, state, key) where deleted_at is null and state <> 'active';
create index schedules_counted on schedules (namespace, deleted_at, state);
create index schedules_id_deleted on schedules (namespace, id, key) where deleted_at is not null;
create index schedules_deleted on schedules (deleted_at) where deleted_at is not null;
-- Rows that stand for occurrences in a row and may still be extended: partitions with such stay.
create index schedules_skip_range on schedules (skip_range_at) where skip_range_at is not null and deleted_at is null;

-- For a calendar that changes: those that use any, found without reading all the others.
create index schedules_with_calendar on schedules (namespace, key)
  where deleted_at is null and strpos(definition, '"kind":"calendar"') > 0;

-- Dates kept once, such as holidays, which schedules name among their exclusions.
create table calendars (
  namespace text not null references namespaces (id),
  id text collate "C" not null,
  days text not null, -- JSON list of dates, in order
  updated_at bigint not null,
  updated_by text not null,
  primary key (namespace, id)
);

create table schedule_tags (
  namespace text not null,
  tag text not null, -- 'name:value'
  schedule_key bigint not null references schedules (key) on delete cascade,
  primary key (namespace, tag, schedule_key)
);
create index schedule_tags_by_schedule on schedule_tags (schedule_key);

-- What has been done to a schedule, in order: from this the ledger can be recomputed and explained.
create table schedule_revisions (
  key bigint generated always as identity primary key,
  schedule_key bigint not null references schedules (key) on delete cascade,
  revision integer not null,
  verb text not null, -- created, updated, paused, resumed, deleted
  definition text, -- null where it stayed as it was
  triggers text not null,
  state text not null,
  note text not null,
  effective_at bigint not null,
  cursor_at bigint not null, -- planning went on after this nominal time
  planned_to_at bigint not null, -- occurrences up to here were planned by what was in force before
  changed_at bigint not null,
  changed_by text not null
);
create index schedule_revisions_of on schedule_revisions (schedule_key, changed_at);
create index schedule_revisions_in_order on schedule_revisions (schedule_key, key);

-- Where pruning has deleted from a schedule's ledger: it is complete from this nominal time on.
create table ledger_floors (
  schedule_key bigint primary key references schedules (key) on delete cascade,
  complete_from bigint not null
);

-- A run's key begins with the number of its range of nominal times, so that whoever knows the key knows the partition.
create sequence run_numbers;

create function range_of(instant bigint) returns bigint
  language sql immutable parallel safe
  return greatest(instant, 0) / 2419200000000; -- four weeks

create function range_from(run_key bigint) returns bigint
  language sql immutable parallel safe
  return case when (run_key >> 40) = 0 then -9223372036854775808 else (run_key >> 40) * 2419200000000 end;

create function range_until(run_key bigint) returns bigint
  language sql immutable parallel safe
  return ((run_key >> 40) + 1) * 2419200000000;

-- The ledger: one row per occurrence, also those that did not run, with their reason.
create table runs (
  key bigint not null,
  id text collate "C" not null,
  schedule_key bigint not null, -- negative: a notification
  namespace text not null,
  nominal_at bigint not null,
  backfill_id text not null,
  trigger_type text not null check (trigger_type in ('schedule', 'manual', 'backfill', 'retry', 'notification')),
  state text not null check (state in ('buffered', 'held', 'queued', 'running', 'retrying', 'succeeded', 'failed',
                                       'timed_out', 'cancelled', 'dead', 'skipped', 'missed')),
  reason text,
  scheduled_at bigint not null,
  queued_at bigint not null,
  available_at bigint not null, -- not claimed before
  started_at bigint,
  finished_at bigint,
  retry_until_at bigint not null, -- no retry is planned at or after
  chained integer not null, -- 0: alone; n: one of a chain of which n are at work at a time
  lane integer not null default 0, -- 0: live; 1: backfill, claimed after the live ones, and nothing waits for it; 2: notification, which no limit of runs at work holds up
  attempt integer not null default 0,
  losses integer not null default 0, -- attempts whose worker fell silent
  released integer not null default 0, -- attempts that a draining worker gave back
  target_kind text not null default 'http', -- of its schedule, or narrower once given back: workers claim what they may do
  declined integer not null default 0, -- times in a row that a worker gave it back because it may not do it
  unable_since_at bigint, -- since when no worker there could do it
  attempt_started_at bigint,
  lease_token text,
  lease_until bigint,
  worker text,
  cancel_requested integer not null default 0, -- 1: its worker is asked to stop, for a later occurrence
  delivery text, -- under which the latest attempt was dispatched
  callback_hash text, -- of the token by which the latest attempt's callee may complete it; while it is awaited, the lease is the callee's
  callback_until bigint, -- when that attempt times out
  callback_silence bigint, -- how long its callee may be silent; null: as long as it likes
  missed_count bigint not null default 0,
  missed_first_at bigint,
  missed_last_at bigint,
  input text,
  revision integer not null,
  error text,
  check ((state = 'running') = (lease_token is not null)),
  primary key (key, nominal_at)
) partition by range (nominal_at);

-- Nothing refers to runs by a foreign key, nor do runs: a partition is dropped without looking through other tables.
create table runs_default partition of runs default;

-- The referee: whatever crashes, however many plan, an occurrence is recorded once.
create unique index runs_ledger on runs (schedule_key, nominal_at, backfill_id);
-- Ids begin with their nominal time, so this index also lists a namespace by time.
create unique index runs_id on runs (namespace, id, nominal_at);
create index runs_open on runs (schedule_key, lane, state, nominal_at)
  where state in ('buffered', 'held', 'queued', 'running', 'retrying');
create index runs_waiting on runs (schedule_key, state) where state in ('buffered', 'held');
-- Claims take, of each kind of target that a worker may perform, from each namespace in turn, and walk from namespace
-- to namespace.
create index runs_queued on runs (lane, target_kind, namespace, available_at)
  where state = 'queued' and chained = 0;
create index runs_delayed on runs (lane, target_kind, namespace, available_at)
  where state = 'retrying' or (state = 'queued' and chained > 0);
create index runs_delayed_next on runs (lane, target_kind, available_at)
  where state = 'retrying' or (state = 'queued' and chained > 0);
-- For the pruner: it looks every minute, and must not read the whole ledger for that.
create index runs_ended on runs (finished_at) where state in ('succeeded', 'cancelled', 'skipped', 'missed');
create index runs_failed on runs (finished_at) where state in ('failed', 'timed_out', 'dead');
create index runs_leased on runs (lease_until) where state = 'running';
-- How many wait, or are at work, in a namespace.
create index runs_waiting_in on runs (namespace, state) where state in ('buffered', 'held');
create index runs_running on runs (namespace, lane) where state = 'running';
-- For lists of one state, which may be rare among very many runs. A run that succeeds never enters them.
create index runs_unsuccessful on runs (namespace, state, id)
  where state in ('failed', 'timed_out', 'dead', 'cancelled', 'skipped', 'missed');
create index runs_unsuccessful_of_schedule on runs (schedule_key, state, nominal_at)
  where state in ('failed', 'timed_out', 'dead', 'cancelled', 'skipped', 'missed');

-- Who is at work on this database, and what each may do. For who holds what, the leases count.
create table workers (
  name text collate "C" primary key,
  host text not null,
  pid bigint not null,
  version text not null,
  concurrency integer not null,
  lease bigint not null,
  started_at bigint not null,
  seen_at bigint not null,
  draining integer not null default 0,
  abilities text not null default '{}' -- JSON: which targets it may perform
) with (fillfactor = 50);

create table attempts (
  run_key bigint not null,
  number integer not null,
  state text not null,
  started_at bigint not null,
  finished_at bigint not null,
  worker text not null,
  error text,
  status_code integer,
  output text not null default '',
  output_truncated boolean not null default false,
  primary key (run_key, number)
) partition by range (run_key);
create table attempts_default partition of attempts default;

-- Reads JSON that may be none; null then.
create function readable_json(content text) returns json
  language plpgsql immutable parallel safe as $$
begin
  return content::json;
exception when others then
  return null;
end $$;

-- Make the partitions of a time and of the two ranges after it; what lies in the default partition already stays there.
create function make_ranges(instant bigint) returns integer language plpgsql as $$
declare
  -- Has the default partition rows of this range? Then none can be made: such rows are pruned where they are.
  -- Their keys begin with its number, by which the primary index finds them.
  taken constant text := 'select exists (select 1 from runs_default where key >= $1 and key < $2)';
  found boolean;
  width constant bigint := 2419200000000;
  made integer := 0;
  span bigint;
begin
  for span in select generate_series(range_of(instant), range_of(instant) + 2) loop
    continue when to_regclass(format('runs_%s', span)) is not null;
    execute taken into found using span << 40, (span + 1) << 40;
    continue when found;
    -- Whoever has written there meanwhile is waited for and seen; nobody else can until we commit.
    lock table runs_default, attempts_default in access exclusive mode;
    execute taken into found using span << 40, (span + 1) << 40;
    continue when found;
    execute format('create table runs_%s (like runs including defaults including constraints)', span);
    execute format('alter table runs_%s set (fillfactor = 70)', span);
    execute format('create table attempts_%s (like attempts including defaults)', span);
    execute format('alter table runs attach partition runs_%s for values from (%s) to (%s)',
                   span, case when span = 0 then 'minvalue' else (span * width)::text end, (span + 1) * width);
    execute format('alter table attempts attach partition attempts_%s for values from (%s) to (%s)',
                   span, span << 40, (span + 1) << 40);
    made := made + 1;
  end loop;
  return made;
end $$;

-- Is anything in a partition open, young, or the row of a range that may still be extended? Only indexes are read, and
-- of each one row; the planner must not guess from old statistics that a whole partition is read sooner.
create function range_is_needed(part text, ended_before bigint) returns boolean
  language plpgsql set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  needed boolean;
  span constant bigint := substr(part, 6)::bigint;
  -- Nulls come first: what has ended without an instant counts as young.
  youngest constant text :=
    '(select 1 from (select finished_at from %1$I where state in (%2$s) order by finished_at desc limit 1) n
      where n.finished_at is null or n.finished_at >= $1)';
begin
  execute format(
    'select exists (select 1 from %1$I where state in (''buffered'', ''held'', ''queued'', ''running'', ''retrying''))
       or exists ' || youngest,
    part, '''succeeded'', ''cancelled'', ''skipped'', ''missed''') into needed using ended_before;
  if not needed then
    execute format('select exists ' || youngest, part, '''failed'', ''timed_out'', ''dead''')
      into needed using ended_before;
  end if;
  return needed or exists (
    select 1 from schedules s
    where s.skip_range_at is not null and s.deleted_at is null
      and s.skip_range_at >= range_from(span << 40) and s.skip_range_at < range_until(span << 40));
end $$;

-- Drop the oldest partition in which everything ended before a time, if there is one, and keep from when on the ledgers
-- are complete then. Its rows are read once, for that, while others go on writing.
create function drop_range(ended_before bigint) returns integer language plpgsql as $$
declare
  part text;
begin
  select c.relname into part
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'runs'::regclass and c.relname ~ '^runs_[0-9]+$'
    and (substr(c.relname, 6)::bigint + 1) * 2419200000000 <= ended_before
    and not range_is_needed(c.relname, ended_before)
  order by substr(c.relname, 6)::bigint
  limit 1;
  if part is null then
    return 0;
  end if;
  execute format('insert into ledger_floors (schedule_key, complete_from)
    select r.schedule_key, max(case when r.missed_first_at = r.nominal_at then r.missed_last_at else r.nominal_at end) + 1
    from %I r join schedules s on s.key = r.schedule_key where r.backfill_id = '''' group by r.schedule_key
    on conflict (schedule_key) do update
      set complete_from = greatest(ledger_floors.complete_from, excluded.complete_from)', part);
  lock table runs, attempts in access exclusive mode;
  if range_is_needed(part, ended_before) then
    -- Somebody has written there meanwhile: undo the floors as well.
    raise exception 'partition % is in use again', part using errcode = 'lock_not_available';
  end if;
  execute format('drop table %I', part);
  execute format('drop table %I', 'attempts_' || substr(part, 6));
  return 1;
end $$;

-- Both, if nobody is in the way; else at another time. Drops one at the most, so that nobody waits long.
create function keep_ranges(instant bigint, ended_before bigint) returns integer
  language plpgsql set lock_timeout = '200ms' as $$
begin
  perform pg_advisory_xact_lock(hashtext('scheduler ranges'), hashtext(current_schema()));
  return make_ranges(instant) + drop_range(ended_before);
exception when lock_not_available then
  return 0;
end $$;

-- For a secret that is to go: those that use any, found without reading all the others.
create index schedules_with_secret on schedules (namespace, key)
  where deleted_at is null and strpos(definition, '{"secret":"') > 0;

-- Values are encrypted before they come here, each for its row alone.
create table secrets (
  namespace text collate "C" not null references namespaces (id),
  name text collate "C" not null,
  sealed text not null, -- base64 of version, key id, nonce, ciphertext
  key_id text not null,
  created_at bigint not null,
  created_by text not null,
  updated_at bigint not null,
  updated_by text not null,
  primary key (namespace, name)
);

-- What a namespace has used of its limits, and what is locked while that is decided.
create table namespace_use (
  namespace text primary key references namespaces (id) on delete cascade,
  minute bigint not null default 0, -- since 1970
  starts bigint not null default 0 -- runs that were started in that minute
) with (fillfactor = 50);

-- Requests that may come again, and what was answered to them.
create table repeats (
  id text collate "C" primary key, -- hash of namespace, key, method, path and Idempotency-Key
  fingerprint text not null, -- hash of what was sent
  created_at bigint not null,
  status integer not null default 0,
  headers text not null default '{}',
  body text not null default ''
);
create index repeats_old on repeats (created_at);

-- Who changed what, when, and by which request. Lines are added, and deleted when they are old; none is ever changed.
create table audit (
  key bigint generated always as identity primary key,
  changed_at bigint not null,
  namespace text, -- null: it belongs to none
  changed_by text not null,
  request_id text not null,
  verb text not null,
  kind text not null,
  object_id text not null,
  was text, -- JSON
  became text -- JSON
);
create index audit_listed on audit (namespace, changed_at, key);
create index audit_of on audit (object_id, changed_at, key);
create index audit_at on audit (changed_at, key);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is only ever added to';
end $$;
create trigger audit_stays before update on audit execute function refuse_change();

-- Who is told what. A notification is a run whose schedule_key is the key of its route, negated.
create table notification_routes (
  key bigint generated always as identity primary key, -- never reused
  namespace text not null references namespaces (id),
  id text collate "C" not null,
  origin text not null, -- random: names the route beyond this database
  events text not null, -- words
  tag text, -- 'name:value'; null: every schedule
  owner text,
  after_failures integer not null,
  late_by bigint,
  every bigint not null,
  definition text not null, -- JSON, as it is shown
  errand text not null, -- JSON, as workers read it
  created_at bigint not null,
  created_by text not null,
  updated_at bigint not null,
  unique (namespace, id)
);

-- When a route was last told of an event of a schedule, and whether it is to hear of a recovery.
create table notification_marks (
  schedule_key bigint not null references schedules (key) on delete cascade,
  route_key bigint not null references notification_routes (key) on delete cascade,
  event text not null,
  sent_at bigint not null,
  is_open integer not null,
  primary key (schedule_key, route_key, event)
);
create index notification_marks_of_route on notification_marks (route_key);

insert into namespaces (id, created_at) values ('default', 0);
insert into namespace_use (namespace) values ('default');
