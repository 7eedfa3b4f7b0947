-- Codes that a person types once, within minutes, where they asked for them.
SET lock_timeout = '2s';

-- One row for a purpose in a flow: a new code takes the place of the one before.
CREATE TABLE "one_time_code" (
    "purpose" TEXT NOT NULL,
    "flow" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "tries" SMALLINT NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "consumed_at" TIMESTAMPTZ(3),

    CONSTRAINT "one_time_code_pkey" PRIMARY KEY ("purpose", "flow")
);
CREATE INDEX "one_time_code_expires_at_idx" ON "one_time_code"("expires_at");
