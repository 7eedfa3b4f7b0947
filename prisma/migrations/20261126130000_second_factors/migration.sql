-- TOTP, passkeys and recovery codes beside passwords, and the challenges of passkeys.
SET lock_timeout = '2s';

ALTER TABLE "credential"
    ADD COLUMN "key_id" TEXT,
    ADD COLUMN "counter" BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN "details" JSONB NOT NULL DEFAULT '{}';

CREATE UNIQUE INDEX "credential_key_id_key" ON "credential"("key_id");

CREATE TABLE "passkey_challenge" (
    "id" BYTEA NOT NULL,
    "purpose" TEXT NOT NULL,
    "flow" BYTEA NOT NULL,
    "user_id" UUID,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "passkey_challenge_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "passkey_challenge_expires_at_idx" ON "passkey_challenge"("expires_at");
