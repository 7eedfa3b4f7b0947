-- What policies could look at when a decision was made, so that a draft can be tried against it (docs/decisions/046).
SET lock_timeout = '2s';

ALTER TABLE "decision_receipt" ADD COLUMN "facts" JSONB;
CREATE INDEX "decision_receipt_api_at_id_idx" ON "decision_receipt" ("api", "at" DESC, "id" DESC);
