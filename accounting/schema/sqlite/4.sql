-- Version 4: gateways are told which keys have changed, not all of them every time; attempts are read in pages.

ALTER TABLE api_key ADD COLUMN changed_seq INTEGER NOT NULL DEFAULT 0;  -- of its last change, among the changes of all keys
UPDATE api_key SET changed_seq = numbered.seq
  FROM (SELECT id, row_number() OVER (ORDER BY created_at_ms, id) AS seq FROM api_key) AS numbered
  WHERE numbered.id = api_key.id;
CREATE INDEX api_key_changed ON api_key (changed_seq);
CREATE TRIGGER api_key_made AFTER INSERT ON api_key BEGIN
  UPDATE api_key SET changed_seq = (SELECT max(changed_seq) + 1 FROM api_key) WHERE id = NEW.id;
END;
CREATE TRIGGER api_key_changes AFTER UPDATE OF id, sha256, org_id, project_id, name, scopes, created_at_ms, expires_at_ms,
  revoked_at_ms, models, limits, root_id, rotated_to ON api_key BEGIN
  UPDATE api_key SET changed_seq = (SELECT max(changed_seq) + 1 FROM api_key) WHERE id = NEW.id;
END;

-- In the order of pages: many may end in one millisecond.
DROP INDEX attempt_slot;
CREATE INDEX attempt_slot ON attempt (slot_to_ms, request_id, attempt);
