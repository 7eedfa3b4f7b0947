-- API keys that are over, and values that were replaced, leave by the sweep (src/tokens/sweep.ts).
SET lock_timeout = '2s';

ALTER TABLE "api_key" ADD COLUMN "ends_at" TIMESTAMPTZ(3);
UPDATE "api_key" k SET "ends_at" = LEAST(k."revoked_at",
    (SELECT CASE WHEN bool_or(v."expires_at" IS NULL) THEN NULL ELSE max(v."expires_at") END FROM "api_key_value" v WHERE v."key_id" = k."id"));

CREATE INDEX "api_key_ends_at_idx" ON "api_key"("ends_at");
CREATE INDEX "api_key_value_expires_at_idx" ON "api_key_value"("expires_at");
