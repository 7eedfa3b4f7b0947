-- A webhook has a name, by which a declarative file knows it. Those that are there get the host they go to.
-- The default serves the release before this one, which writes none.
SET lock_timeout = '2s';

ALTER TABLE "webhook_endpoint" ADD COLUMN "name" TEXT NOT NULL DEFAULT 'webhook-' || gen_random_uuid();

WITH named AS (
  SELECT "id", "host", row_number() OVER (PARTITION BY "host" ORDER BY "created_at", "id") AS "nth"
  FROM (SELECT "id", "created_at", left(regexp_replace(lower(substring("url" FROM '^[a-z]+://([^/:?]+)')), '[^a-z0-9.-]', '', 'g'), 48) AS "host"
    FROM "webhook_endpoint") AS endpoint
)
UPDATE "webhook_endpoint" SET "name" = "host" || CASE WHEN "nth" = 1 THEN '' ELSE '.' || "nth" || '-' || left("webhook_endpoint"."id"::text, 8) END
FROM named WHERE named."id" = "webhook_endpoint"."id" AND "host" ~ '^[a-z0-9]';

-- For: the webhook of a name.
CREATE UNIQUE INDEX "webhook_endpoint_name_key" ON "webhook_endpoint" ("name");
