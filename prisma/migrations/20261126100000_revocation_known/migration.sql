-- When a revocation was first seen by a reader of the feed: an upper bound of the moment at which it took effect. Its commit ends
-- later than the trigger that wrote it, and what is issued in between is over too (docs/decisions/018).
SET lock_timeout = '2s';

ALTER TABLE "revocation" ADD COLUMN "known_at" TIMESTAMPTZ(3);
UPDATE "revocation" SET "known_at" = "issued_before";
-- serves: those that nobody has seen yet
CREATE INDEX "revocation_unknown_idx" ON "revocation"("known_at") WHERE "known_at" IS NULL;
