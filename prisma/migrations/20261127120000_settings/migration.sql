-- What an operator changed of the configuration while the server runs (docs/decisions/052). A name that is not here has its default.
SET lock_timeout = '2s';

CREATE TABLE "setting" (
    "name" TEXT NOT NULL,
    "value" TEXT NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "setting_pkey" PRIMARY KEY ("name")
);
