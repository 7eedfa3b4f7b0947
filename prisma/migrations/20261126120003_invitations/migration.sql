-- Invitations to create an account, each for one address.
SET lock_timeout = '2s';

CREATE TABLE "invitation" (
    "id" UUID NOT NULL,
    "token_hash" BYTEA NOT NULL,
    "email" TEXT NOT NULL,
    "email_key" TEXT NOT NULL,
    "roles" TEXT[],
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "invitation_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "invitation_token_hash_key" ON "invitation"("token_hash");
-- A new invitation takes the place of the one before.
CREATE UNIQUE INDEX "invitation_email_key_key" ON "invitation"("email_key");
CREATE INDEX "invitation_expires_at_idx" ON "invitation"("expires_at");
