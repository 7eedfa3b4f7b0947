-- Runs of scheduled work that somebody asked for (src/jobs/requests.ts). At most one of a job waits, and what ended an hour ago goes with the next
-- request, so there is nothing to look up by an index.
SET lock_timeout = '2s';

CREATE TABLE "job_request" (
    "id" UUID NOT NULL,
    "job" TEXT NOT NULL,
    "asked_at" TIMESTAMPTZ(3) NOT NULL,
    "seen_at" TIMESTAMPTZ(3),
    "began_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "seconds" DOUBLE PRECISION,
    "outcome" TEXT,
    "ran_by" TEXT,

    CONSTRAINT "job_request_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "job_request_job_fkey" FOREIGN KEY ("job") REFERENCES "job" ("name") ON DELETE CASCADE ON UPDATE CASCADE
);
