-- Who must prove a second factor: optional | required, per role and per client. Owners must (ASVS 6.3.3).
SET lock_timeout = '2s';

ALTER TABLE "role" ADD COLUMN "second_factor" TEXT NOT NULL DEFAULT 'optional';
ALTER TABLE "client" ADD COLUMN "second_factor" TEXT NOT NULL DEFAULT 'optional';

UPDATE "role" SET "second_factor" = 'required' WHERE "name" = 'owner';
