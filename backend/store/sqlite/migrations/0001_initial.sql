-- Instants and lengths are int64 microseconds (instants: UTC since 1970); ids are text; JSON is text.

create table store_info (
  key text primary key,
  value text not null
) strict, without rowid;

create table namespaces (
  id text primary key,
  created_at integer not null,
  timezone text not null default 'UTC', -- of triggers that name none
  limits text not null default '{}', -- JSON
  egress text -- JSON list of hosts that may be called; null: every public one
) strict, without rowid;

create table api_keys (
  id text primary key,
  namespace text references namespaces (id), -- null: every namespace
  name text not null default '',
  hash text not null unique,
  scopes text not null, -- words, with spaces between
  source text, -- host and file that it was adopted from; null: made by us
  created_at integer not null,
  created_by text not null,
  expires_at integer,
  last_used_at integer,
  revoked_at integer,
  successor text -- the key that was made in its place
) strict, without rowid;
create index api_keys_listed on api_keys (namespace, id);

create table schedules (
  key integer primary key autoincrement, -- never reused
  namespace text not null references namespaces (id),
  id text not null,
  name text not null,
  owner text,
  target_kind text not null,
  state text not null check (state in ('active', 'paused', 'completed', 'error')),
  note text not null default '',
  note_by text,
  note_at integer,
  definition text not null,
  triggers text not null,
  revision integer not null,
  source text,
  created_at integer not null,
  created_by text not null,
  updated_at integer not null,
  effective_at integer not null,
  cursor_at integer not null,
  next_nominal_at integer,
  next_scheduled_at integer,
  misfire_policy text not null,
  misfire_threshold integer not null,
  catchup_window integer not null,
  overlap_policy text not null,
  delivery text not null,
  pause_after_failures integer not null,
  jitter integer not null default 0,
  max_runs integer,
  runs_made integer not null default 0,
  paused_cursor_at integer,
  missed_count integer not null default 0,
  missed_first_at integer,
  missed_last_at integer,
  skip_reason text,
  skip_count integer not null default 0,
  skip_range_at integer,
  failure_streak integer not null default 0,
  permanent_streak integer not null default 0,
  streak_since_at integer,
  error text,
  error_count integer not null default 0,
  deleted_at integer
) strict;

-- The public id is unique among what is not deleted; a deleted row keeps its key for the ledger.
create unique index schedules_id on schedules (namespace, id) where deleted_at is null;
create index schedules_due on schedules (next_scheduled_at) where next_scheduled_at is not null;
create index schedules_listed on schedules (namespace, key) where deleted_at is null;
create index schedules_owner on schedules (namespace, owner, key) where deleted_at is null;
create index schedules_name on schedules (namespace, name, key) where deleted_at is null;
create index schedules_at_rest on schedules (namespace, state, key) where deleted_at is null and state <> 'active';
create index schedules_counted on schedules (namespace, deleted_at, state);
create index schedules_id_deleted on schedules (namespace, id, key) where deleted_at is not null;
create index schedules_deleted on schedules (deleted_at) where deleted_at is not null;

-- For a calendar that changes: those that use any, found without reading all the others.
create index schedules_with_calendar on schedules (namespace, key)
  where deleted_at is null and instr(definition, '"kind":"calendar"') > 0;

-- Dates kept once, such as holidays, which schedules name among their exclusions.
create table calendars (
  namespace text not null references namespaces (id),
  id text not null,
  days text not null, -- JSON list of dates, in order
  updated_at integer not null,
  updated_by text not null,
  primary key (namespace, id)
) strict, without rowid;

create table schedule_tags (
  namespace text not null,
  tag text not null, -- 'name:value'
  schedule_key integer not null references schedules (key) on delete cascade,
  primary key (namespace, tag, schedule_key)
) strict, without rowid;
create index schedule_tags_by_schedule on schedule_tags (schedule_key);

-- What has been done to a schedule, in order: from this the ledger can be recomputed and explained.
create table schedule_revisions (
  key integer primary key autoincrement,
  schedule_key integer not null references schedules (key) on delete cascade,
  revision integer not null,
  verb text not null, -- created, updated, paused, resumed, deleted
  definition text, -- null where it stayed as it was
  triggers text not null,
  state text not null,
  note text not null,
  effective_at integer not null,
  cursor_at integer not null, -- planning went on after this nominal time
  planned_to_at integer not null, -- occurrences up to here were planned by what was in force before
  changed_at integer not null,
  changed_by text not null
) strict;
create index schedule_revisions_of on schedule_revisions (schedule_key, changed_at);

-- Where pruning has deleted from a schedule's ledger: it is complete from this nominal time on.
create table ledger_floors (
  schedule_key integer primary key references schedules (key) on delete cascade,
  complete_from integer not null
) strict;

-- The ledger: one row per occurrence, also those that did not run, with their reason.
create table runs (
  key integer primary key,
  id text not null,
  schedule_key integer not null, -- negative: a notification
  namespace text not null,
  nominal_at integer not null,
  backfill_id text not null,
  trigger_type text not null check (trigger_type in ('schedule', 'manual', 'backfill', 'retry', 'notification')),
  state text not null check (state in ('buffered', 'held', 'queued', 'running', 'retrying', 'succeeded', 'failed',
                                       'timed_out', 'cancelled', 'dead', 'skipped', 'missed')),
  reason text,
  scheduled_at integer not null,
  queued_at integer not null,
  available_at integer not null, -- not claimed before
  started_at integer,
  finished_at integer,
  retry_until_at integer not null, -- no retry is planned at or after
  chained integer not null, -- 0: alone; n: one of a chain of which n are at work at a time
  lane integer not null default 0, -- 0: live; 1: backfill, claimed after the live ones, and nothing waits for it; 2: notification, which no limit of runs at work holds up
  attempt integer not null default 0,
  losses integer not null default 0, -- attempts whose worker fell silent
  released integer not null default 0, -- attempts that a draining worker gave back
  target_kind text not null default 'http', -- of its schedule, or narrower once given back: workers claim what they may do
  declined integer not null default 0, -- times in a row that a worker gave it back because it may not do it
  unable_since_at integer, -- since when no worker there could do it
  attempt_started_at integer,
  lease_token text,
  lease_until integer,
  worker text,
  cancel_requested integer not null default 0, -- 1: its worker is asked to stop, for a later occurrence
  delivery text, -- under which the latest attempt was dispatched
  callback_hash text, -- of the token by which the latest attempt's callee may complete it; while it is awaited, the lease is the callee's
  callback_until integer, -- when that attempt times out
  callback_silence integer, -- how long its callee may be silent; null: as long as it likes
  missed_count integer not null default 0,
  missed_first_at integer,
  missed_last_at integer,
  input text,
  revision integer not null,
  error text,
  check ((state = 'running') = (lease_token is not null))
) strict;

-- The referee: whatever crashes, however many plan, an occurrence is recorded once.
create unique index runs_ledger on runs (schedule_key, nominal_at, backfill_id);
-- Ids begin with their nominal time, so this index also lists a namespace by time.
create unique index runs_id on runs (namespace, id);
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

create table attempts (
  run_key integer not null references runs (key) on delete cascade,
  number integer not null,
  state text not null,
  started_at integer not null,
  finished_at integer not null,
  worker text not null,
  error text,
  status_code integer,
  output text not null default '',
  output_truncated integer not null default 0,
  primary key (run_key, number)
) strict, without rowid;

-- Who is at work on this database, and what each may do. For who holds what, the leases count.
create table workers (
  name text primary key,
  host text not null,
  pid integer not null,
  version text not null,
  concurrency integer not null,
  lease integer not null,
  started_at integer not null,
  seen_at integer not null,
  draining integer not null default 0,
  abilities text not null default '{}' -- JSON: which targets it may perform
) strict, without rowid;

-- For a secret that is to go: those that use any, found without reading all the others.
create index schedules_with_secret on schedules (namespace, key)
  where deleted_at is null and instr(definition, '{"secret":"') > 0;

-- Values are encrypted before they come here, each for its row alone.
create table secrets (
  namespace text not null references namespaces (id),
  name text not null,
  sealed text not null, -- base64 of version, key id, nonce, ciphertext
  key_id text not null,
  created_at integer not null,
  created_by text not null,
  updated_at integer not null,
  updated_by text not null,
  primary key (namespace, name)
) strict, without rowid;

-- What a namespace has used of its limits, and what is locked while that is decided.
create table namespace_use (
  namespace text primary key references namespaces (id) on delete cascade,
  minute integer not null default 0, -- since 1970
  starts integer not null default 0 -- runs that were started in that minute
) strict, without rowid;

-- Requests that may come again, and what was answered to them.
create table repeats (
  id text primary key, -- hash of namespace, key, method, path and Idempotency-Key
  fingerprint text not null, -- hash of what was sent
  created_at integer not null,
  status integer not null default 0,
  headers text not null default '{}',
  body text not null default ''
) strict, without rowid;
create index repeats_old on repeats (created_at);

-- Who changed what, when, and by which request. Lines are added, and deleted when they are old; none is ever changed.
create table audit (
  key integer primary key autoincrement,
  changed_at integer not null,
  namespace text, -- null: it belongs to none
  changed_by text not null,
  request_id text not null,
  verb text not null,
  kind text not null,
  object_id text not null,
  was text, -- JSON
  became text -- JSON
) strict;
create index audit_listed on audit (namespace, changed_at, key);
create index audit_of on audit (object_id, changed_at, key);
create index audit_at on audit (changed_at, key);
create trigger audit_stays before update on audit begin
  select raise(abort, 'the audit log is only ever added to');
end;

-- Who is told what. A notification is a run whose schedule_key is the key of its route, negated.
create table notification_routes (
  key integer primary key autoincrement, -- never reused
  namespace text not null references namespaces (id),
  id text not null,
  origin text not null, -- random: names the route beyond this database
  events text not null, -- words
  tag text, -- 'name:value'; null: every schedule
  owner text,
  after_failures integer not null,
  late_by integer,
  every integer not null,
  definition text not null, -- JSON, as it is shown
  errand text not null, -- JSON, as workers read it
  created_at integer not null,
  created_by text not null,
  updated_at integer not null,
  unique (namespace, id)
) strict;

-- When a route was last told of an event of a schedule, and whether it is to hear of a recovery.
create table notification_marks (
  schedule_key integer not null references schedules (key) on delete cascade,
  route_key integer not null references notification_routes (key) on delete cascade,
  event text not null,
  sent_at integer not null,
  is_open integer not null,
  primary key (schedule_key, route_key, event)
) strict, without rowid;
create index notification_marks_of_route on notification_marks (route_key);

insert into namespaces (id, created_at) values ('default', 0);
insert into namespace_use (namespace) values ('default');
