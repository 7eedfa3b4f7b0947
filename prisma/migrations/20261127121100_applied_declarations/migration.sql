-- What declarative files said when they were applied, so that it can be told what is different since.
SET lock_timeout = '2s';

CREATE TABLE "applied_declaration" (
    "file" TEXT NOT NULL,
    "declared" JSONB NOT NULL,
    "applied_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "applied_declaration_pkey" PRIMARY KEY ("file")
);
