-- Where a pending request stands that asks for an address to be proven: sign-up, recovery, verification.
SET lock_timeout = '2s';

CREATE TABLE "address_proof" (
    "id" BYTEA NOT NULL,
    "purpose" TEXT NOT NULL,
    "user_id" UUID,
    "sealed" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "proven_at" TIMESTAMPTZ(3),
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "address_proof_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "address_proof_expires_at_idx" ON "address_proof"("expires_at");
