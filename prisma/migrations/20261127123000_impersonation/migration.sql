-- Administrators who act as somebody else for a while: who, as whom, why, from when to when. A session of it says so in its `acr`.
SET lock_timeout = '2s';

CREATE TABLE "impersonation" (
    "id" UUID NOT NULL,
    "user_id" UUID NOT NULL,
    "impersonator_id" UUID,
    "impersonator_generation" INTEGER NOT NULL,
    "reason" TEXT NOT NULL,
    "from_session_uid" TEXT NOT NULL,
    "asked_at" TIMESTAMPTZ(3) NOT NULL,
    "begun_at" TIMESTAMPTZ(3),
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "ended_at" TIMESTAMPTZ(3),
    "ended_because" TEXT,

    CONSTRAINT "impersonation_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "impersonation_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT "impersonation_impersonator_id_fkey" FOREIGN KEY ("impersonator_id") REFERENCES "users" ("id") ON DELETE SET NULL ON UPDATE CASCADE
);
CREATE INDEX "impersonation_user_id_asked_at_idx" ON "impersonation" ("user_id", "asked_at" DESC);
CREATE INDEX "impersonation_impersonator_id_idx" ON "impersonation" ("impersonator_id");
CREATE INDEX "impersonation_open_idx" ON "impersonation" ("asked_at") WHERE ended_at IS NULL;
