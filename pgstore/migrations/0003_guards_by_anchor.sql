-- Where an index can't be told from another by what it costs, as while the table is empty, the server takes the one that was made last. Statements
-- that are planned then, and kept, must take this one.
DROP INDEX tokenstore.guards_by_anchor;
CREATE INDEX guards_by_anchor ON tokenstore.guards (tenant, anchor_kind, anchor);
