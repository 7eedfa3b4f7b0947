-- Requests that name an Idempotency-Key: what was answered, for whoever sends the same again.
SET lock_timeout = '2s';

CREATE TABLE "idempotent_request" (
  "id" BYTEA NOT NULL,
  "request" BYTEA NOT NULL,
  "answer" TEXT,
  "expires_at" TIMESTAMPTZ(3) NOT NULL,
  CONSTRAINT "idempotent_request_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "idempotent_request_expires_at_idx" ON "idempotent_request" ("expires_at");
