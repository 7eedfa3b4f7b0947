-- A role may be for one API; clients hold roles, too.
SET lock_timeout = '2s';

ALTER TABLE "role" ADD COLUMN "api_identifier" TEXT,
  ADD CONSTRAINT "role_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "client" ADD COLUMN "roles" TEXT[] NOT NULL DEFAULT '{}';
