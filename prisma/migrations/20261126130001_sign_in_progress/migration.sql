-- How far a sign-in has come, kept with the request that waits for it.
SET lock_timeout = '2s';

ALTER TABLE "interaction"
    ADD COLUMN "progress" JSONB,
    ADD COLUMN "progress_version" INTEGER NOT NULL DEFAULT 0;
