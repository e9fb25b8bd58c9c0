-- Version 2. Secrets, encrypted before they get here. The time of leases is the database's.

CREATE TABLE bridge.secret (
    name    text PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    sealed  bytea NOT NULL
);

CREATE TABLE bridge.secret_lease (
    name  text PRIMARY KEY,
    owner text NOT NULL,
    until timestamptz NOT NULL
);
