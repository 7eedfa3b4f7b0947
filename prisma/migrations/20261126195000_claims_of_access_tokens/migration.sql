-- An API may ask for roles and permissions in its access tokens.
SET lock_timeout = '2s';

ALTER TABLE "api" ADD COLUMN "token_claims" TEXT[] NOT NULL DEFAULT '{}';
