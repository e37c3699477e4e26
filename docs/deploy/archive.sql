-- The database into which the destination `archive` of config.yaml writes.
CREATE DATABASE archive;
