-- Version 3: a project's budget is of one organisation, `project:<organisation>/<project>`.

-- What the budget's accounts are named by, where that is not its scope: they were made when a scope did not name the organisation.
ALTER TABLE budget ADD COLUMN account_scope TEXT;
-- The project has keys of one organisation only, so it is that one's. Any other budget stays as it is, and bounds whom it bounded,
-- until an operator says whose it is.
UPDATE budget SET account_scope = scope, scope =
    'project:' || (SELECT min(org_id) FROM api_key WHERE project_id = substr(scope, 9)) || '/' || substr(scope, 9)
  WHERE scope LIKE 'project:%' AND (SELECT count(DISTINCT org_id) FROM api_key WHERE project_id = substr(scope, 9)) = 1;
