-- Scopes that a person has only while a role of theirs carries them. Those of Sallyport's own API always were.
SET lock_timeout = '2s';

ALTER TABLE "scope" ADD COLUMN "by_role" BOOLEAN NOT NULL DEFAULT false;
UPDATE "scope" s SET "by_role" = true FROM "api" a WHERE a."identifier" = s."api_identifier" AND a."built_in";
