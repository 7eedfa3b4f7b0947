-- Which declarative file was found to change nothing, and at which version: a start that finds both again has nothing to compare.
SET lock_timeout = '2s';

ALTER TABLE "configuration_version" ADD COLUMN "applied_digest" BYTEA, ADD COLUMN "applied_version" BIGINT;
