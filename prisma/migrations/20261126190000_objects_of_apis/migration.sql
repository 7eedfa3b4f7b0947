-- Which relation to an object of an API is enough for which actions.
SET lock_timeout = '2s';

ALTER TABLE "api" ADD COLUMN "objects" JSONB NOT NULL DEFAULT '{}';
