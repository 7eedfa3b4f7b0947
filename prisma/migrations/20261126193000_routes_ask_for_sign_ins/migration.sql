-- A route may ask for a stronger or a more recent sign-in (RFC 9470).
SET lock_timeout = '2s';

ALTER TABLE "route" ADD COLUMN "acr_values" TEXT[], ADD COLUMN "max_age" INTEGER;
