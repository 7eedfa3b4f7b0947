-- A client's picture, served from our own origin (docs/decisions/032). Beside the client, which every request reads, stands its name only.
SET lock_timeout = '2s';

ALTER TABLE "client" ADD COLUMN "logo" TEXT;

CREATE TABLE "client_logo" (
    "client_id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "body" BYTEA NOT NULL,

    CONSTRAINT "client_logo_pkey" PRIMARY KEY ("client_id"),
    CONSTRAINT "client_logo_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "client"("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX "client_logo_name_idx" ON "client_logo"("name");
