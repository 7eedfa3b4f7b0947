-- API keys with an identity of their own: several values (rotation), several APIs, and the generation of their owner (docs/decisions/037).
-- No release has written a key in the older form; those of developers move along.
SET lock_timeout = '2s';

CREATE TABLE "api_key_value" (
    "hash" BYTEA NOT NULL,
    "key_id" UUID NOT NULL,
    "version" INTEGER NOT NULL,
    "hint" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "last_used_at" TIMESTAMPTZ(3),

    CONSTRAINT "api_key_value_pkey" PRIMARY KEY ("hash")
);
CREATE TABLE "api_key_api" (
    "key_id" UUID NOT NULL,
    "api_identifier" TEXT NOT NULL,
    "api_generation" INTEGER NOT NULL,
    "scopes" TEXT[],

    CONSTRAINT "api_key_api_pkey" PRIMARY KEY ("key_id", "api_identifier")
);

ALTER TABLE "api_key" RENAME COLUMN "id" TO "hash";
ALTER TABLE "api_key" ADD COLUMN "id" UUID NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE "api_key" ADD COLUMN "owner_generation" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "api_key" ADD COLUMN "requests_per_minute" INTEGER;
UPDATE "api_key" k SET "owner_generation" = COALESCE(
    (SELECT u."generation" FROM "users" u WHERE u."id" = k."user_id"), (SELECT c."generation" FROM "client" c WHERE c."id" = k."client_id"), 0);

INSERT INTO "api_key_value" ("hash", "key_id", "version", "hint", "created_at", "expires_at", "last_used_at")
    SELECT "hash", "id", 1, "hint", "created_at", "expires_at", "last_used_at" FROM "api_key";
INSERT INTO "api_key_api" ("key_id", "api_identifier", "api_generation", "scopes")
    SELECT k."id", k."api_identifier", a."generation", k."scopes" FROM "api_key" k JOIN "api" a ON a."identifier" = k."api_identifier";

ALTER TABLE "api_key" DROP CONSTRAINT "api_key_pkey";
ALTER TABLE "api_key" DROP COLUMN "hash", DROP COLUMN "hint", DROP COLUMN "api_identifier", DROP COLUMN "scopes",
    DROP COLUMN "expires_at", DROP COLUMN "last_used_at";
ALTER TABLE "api_key" ALTER COLUMN "id" DROP DEFAULT;
ALTER TABLE "api_key" ALTER COLUMN "owner_generation" DROP DEFAULT;
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_pkey" PRIMARY KEY ("id");
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_one_owner" CHECK (num_nonnulls("user_id", "client_id") = 1);

ALTER TABLE "api_key_value" ADD CONSTRAINT "api_key_value_key_id_fkey" FOREIGN KEY ("key_id") REFERENCES "api_key"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "api_key_api" ADD CONSTRAINT "api_key_api_key_id_fkey" FOREIGN KEY ("key_id") REFERENCES "api_key"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "api_key_api" ADD CONSTRAINT "api_key_api_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE;
CREATE UNIQUE INDEX "api_key_value_key_id_version_key" ON "api_key_value"("key_id", "version");
CREATE INDEX "api_key_api_api_identifier_idx" ON "api_key_api"("api_identifier");
