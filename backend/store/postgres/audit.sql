-- fragment: audit_columns
a.key, a.changed_at, a.namespace, a.changed_by, a.request_id, a.verb, a.kind, a.object_id, a.was, a.became

-- fragment: audit_page
a.changed_at >= :from::bigint and (a.changed_at, a.key) < (:before_at::bigint, :before_key::bigint)
  and (:kind::text is null or a.kind = :kind::text)
  and (:by::text is null or a.changed_by = :by::text)
  and (:verb::text is null or a.verb = :verb::text)
order by a.changed_at desc, a.key desc
limit :limit

-- name: list_audit
-- One page of a namespace's log, newest first.
select {{audit_columns}} from audit a
where a.namespace = :namespace and {{audit_page}}

-- name: list_audit_of
-- The same of what has one id.
select {{audit_columns}} from audit a
where a.object_id = :id and (:namespace::text is null or a.namespace = :namespace::text) and {{audit_page}}

-- name: list_whole_audit
-- The same of all namespaces, and of what belongs to none.
select {{audit_columns}} from audit a
where {{audit_page}}

-- name: insert_audit
-- Add lines to the log; where nobody is named, the server did it by itself.
insert into audit (changed_at, namespace, changed_by, request_id, verb, kind, object_id, was, became)
select x.changed_at, x.namespace, coalesce(x.changed_by, 'scheduler'), x.request_id, x.verb, x.kind, x.object_id,
       x.was, x.became
from json_to_recordset(:rows::json) as x (
  changed_at bigint, namespace text, changed_by text, request_id text, verb text, kind text, object_id text, was text,
  became text)

-- name: prune_audit
-- Delete a batch of lines that are older than anybody asked to keep.
delete from audit where key in (
  select key from audit where changed_at < :before::bigint order by changed_at, key limit :limit::bigint
  for update skip locked)
