-- Policies of APIs, what they may speak of, and what each said before (docs/decisions/036).
SET lock_timeout = '2s';

CREATE TABLE "policy_schema" (
    "api_identifier" TEXT NOT NULL,
    "declared" JSONB NOT NULL DEFAULT '{}',
    "version" INTEGER NOT NULL DEFAULT 1,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "policy_schema_pkey" PRIMARY KEY ("api_identifier"),
    CONSTRAINT "policy_schema_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE "policy" (
    "id" UUID NOT NULL,
    "api_identifier" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT NOT NULL DEFAULT '',
    "text" TEXT NOT NULL,
    "effect" TEXT NOT NULL,
    "scope" JSONB NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'draft',
    "version" INTEGER NOT NULL DEFAULT 1,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "policy_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "policy_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX "policy_api_identifier_name_key" ON "policy"("api_identifier", "name");

CREATE TABLE "policy_version" (
    "policy_id" UUID NOT NULL,
    "version" INTEGER NOT NULL,
    "api_identifier" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT NOT NULL,
    "text" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "changed_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "actor_kind" TEXT NOT NULL,
    "actor_id" TEXT,

    CONSTRAINT "policy_version_pkey" PRIMARY KEY ("policy_id", "version"),
    CONSTRAINT "policy_version_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX "policy_version_api_identifier_idx" ON "policy_version"("api_identifier");
