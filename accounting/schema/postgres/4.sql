-- Version 4: gateways are told which keys have changed, not all of them every time; attempts are read in pages.

-- Writers take turns, so the numbers of changes are in the order in which they are seen.
ALTER TABLE api_key ADD COLUMN changed_seq BIGINT NOT NULL DEFAULT 0;   -- of its last change, among the changes of all keys
UPDATE api_key SET changed_seq = numbered.seq
  FROM (SELECT id, row_number() OVER (ORDER BY created_at_ms, id) AS seq FROM api_key) AS numbered
  WHERE numbered.id = api_key.id;
CREATE INDEX api_key_changed ON api_key (changed_seq);
CREATE FUNCTION number_key_change() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.changed_seq := (SELECT coalesce(max(changed_seq), 0) + 1 FROM api_key); RETURN NEW; END $$;
CREATE TRIGGER api_key_changes BEFORE INSERT OR UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION number_key_change();

-- In the order of pages: many may end in one millisecond.
DROP INDEX attempt_slot;
CREATE INDEX attempt_slot ON attempt (slot_to_ms, request_id, attempt);
