-- Decisions and why they were made.
SET lock_timeout = '2s';

CREATE TABLE "decision_receipt" (
  "id" UUID NOT NULL,
  "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "expires_at" TIMESTAMPTZ(3) NOT NULL,
  "endpoint" TEXT NOT NULL,
  "allowed" BOOLEAN NOT NULL,
  "gate" TEXT,
  "reason" TEXT NOT NULL,
  "needs" TEXT[],
  "policies" TEXT[],
  "subject_kind" TEXT,
  "subject_id" TEXT,
  "method" TEXT,
  "client_id" TEXT,
  "api" TEXT,
  "action" TEXT,
  "object_type" TEXT,
  "object_id" TEXT,
  "address" TEXT,
  "user_agent" TEXT,
  CONSTRAINT "decision_receipt_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "decision_receipt_expires_at_idx" ON "decision_receipt" ("expires_at");
CREATE INDEX "decision_receipt_client_id_at_idx" ON "decision_receipt" ("client_id", "at" DESC);
CREATE INDEX "decision_receipt_subject_id_at_idx" ON "decision_receipt" ("subject_id", "at" DESC);
