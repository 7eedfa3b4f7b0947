-- Which keys of SECRET_KEY have been seen here, and how far sealed values have moved to the newest (docs/decisions/043).
SET lock_timeout = '2s';

CREATE TABLE "secret_key" (
    "fingerprint" TEXT NOT NULL,
    "seen_at" TIMESTAMPTZ(3) NOT NULL,
    "first_at" TIMESTAMPTZ(3),
    "gone_at" TIMESTAMPTZ(3),
    "counted_at" TIMESTAMPTZ(3),
    "pending" JSONB,

    CONSTRAINT "secret_key_pkey" PRIMARY KEY ("fingerprint")
);
