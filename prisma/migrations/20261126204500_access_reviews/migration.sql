-- Access reviews: who could do what at one moment, line by line, and what somebody decided about each line.
SET lock_timeout = '2s';

CREATE TABLE "access_review" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "completed_at" TIMESTAMPTZ(3),
    "digest" TEXT NOT NULL,
    "lines" INTEGER NOT NULL,
    "approved" INTEGER NOT NULL DEFAULT 0,
    "revoked" INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT "access_review_pkey" PRIMARY KEY ("id")
);
-- serves: the newest reviews
CREATE INDEX "access_review_created_at_id_idx" ON "access_review"("created_at" DESC, "id" DESC);

CREATE TABLE "access_review_line" (
    "review_id" UUID NOT NULL,
    "number" INTEGER NOT NULL,
    "kind" TEXT NOT NULL,
    "subject_kind" TEXT NOT NULL,
    "subject_id" TEXT NOT NULL,
    "target" TEXT NOT NULL,
    "administrator" BOOLEAN NOT NULL,
    "detail" JSONB NOT NULL,
    "decision" TEXT,
    "effect" TEXT,
    "note" TEXT,
    "decided_at" TIMESTAMPTZ(3),
    "decided_by_kind" TEXT,
    "decided_by_id" TEXT,

    CONSTRAINT "access_review_line_pkey" PRIMARY KEY ("review_id", "number"),
    CONSTRAINT "access_review_line_review_id_fkey" FOREIGN KEY ("review_id") REFERENCES "access_review"("id") ON DELETE RESTRICT ON UPDATE RESTRICT
);
-- serves: the lines of one kind
CREATE INDEX "access_review_line_review_id_kind_number_idx" ON "access_review_line"("review_id", "kind", "number");
-- serves: the lines of one person or client
CREATE INDEX "access_review_line_subject_idx" ON "access_review_line"("review_id", "subject_kind", "subject_id", "number");
-- serves: what is still to be decided
CREATE INDEX "access_review_line_open_idx" ON "access_review_line"("review_id", "number") WHERE "decision" IS NULL;
-- serves: what was decided so
CREATE INDEX "access_review_line_review_id_decision_number_idx" ON "access_review_line"("review_id", "decision", "number") WHERE "decision" IS NOT NULL;
-- serves: who administers this server
CREATE INDEX "access_review_line_administrator_idx" ON "access_review_line"("review_id", "number") WHERE "administrator";
