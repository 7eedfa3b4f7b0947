-- When an operator, or the script that makes them, said that a backup was made (docs/decisions/049). One row at most.
SET lock_timeout = '2s';

CREATE TABLE "last_backup" (
    "id" SMALLINT NOT NULL DEFAULT 1,
    "at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "last_backup_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "last_backup_one_row" CHECK ("id" = 1)
);
