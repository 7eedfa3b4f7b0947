-- How scheduled work went, a row a job, for the person who looks whether it is done at all (src/jobs/records.ts).
SET lock_timeout = '2s';

CREATE TABLE "job" (
    "name" TEXT NOT NULL,
    "every_seconds" DOUBLE PRECISION NOT NULL,
    "when_needed" BOOLEAN NOT NULL,
    "looked_at" TIMESTAMPTZ(3) NOT NULL,
    "began_at" TIMESTAMPTZ(3),
    "seconds" DOUBLE PRECISION,
    "outcome" TEXT,
    "failed_at" TIMESTAMPTZ(3),
    "ran_by" TEXT,

    CONSTRAINT "job_pkey" PRIMARY KEY ("name")
);
