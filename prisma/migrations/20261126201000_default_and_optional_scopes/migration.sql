-- What a client gets where its request names no scope (RFC 6749 3.3), and what a person cannot leave out at the consent page.
SET lock_timeout = '2s';
ALTER TABLE client ADD COLUMN default_scopes text[] NOT NULL DEFAULT '{}';
ALTER TABLE client ADD COLUMN required_scopes text[] NOT NULL DEFAULT '{}';
ALTER TABLE client_scope ADD COLUMN by_default boolean NOT NULL DEFAULT false;
ALTER TABLE client_scope ADD COLUMN required boolean NOT NULL DEFAULT false;
