-- Browsers in which a person is not asked for the second factor that only their own factors ask for (docs/decisions/030).
SET lock_timeout = '2s';

CREATE TABLE "remembered_device" (
    "id" BYTEA NOT NULL,
    "user_id" UUID NOT NULL,
    "user_generation" INTEGER NOT NULL,
    "factors" BYTEA NOT NULL,
    "address" TEXT,
    "user_agent" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "last_used_at" TIMESTAMPTZ(3),
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "remembered_device_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "remembered_device_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX "remembered_device_user_id_idx" ON "remembered_device"("user_id");
CREATE INDEX "remembered_device_expires_at_idx" ON "remembered_device"("expires_at");
