-- Requests for approval that were sent to somebody's phone and wait for an answer: one for a pending request.
SET lock_timeout = '2s';

CREATE TABLE "push_approval" (
    "id" UUID NOT NULL,
    "flow" BYTEA NOT NULL,
    "credential_id" UUID NOT NULL,
    "number_hash" BYTEA NOT NULL,
    "address" TEXT,
    "device" BYTEA,
    "answered_at" TIMESTAMPTZ(3),
    "approved" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "push_approval_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "push_approval_credential_id_fkey" FOREIGN KEY ("credential_id") REFERENCES "credential"("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX "push_approval_flow_key" ON "push_approval"("flow");
CREATE INDEX "push_approval_credential_id_idx" ON "push_approval"("credential_id");
CREATE INDEX "push_approval_expires_at_idx" ON "push_approval"("expires_at");
