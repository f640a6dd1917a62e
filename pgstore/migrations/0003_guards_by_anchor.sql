-- Where an index can't be told from another by what it costs, as while the table is empty, the server takes the one that was made last. Statements
-- that are planned then, and kept, must take this one. Issues read guards, and go on while it is made.
CREATE INDEX guards_by_anchor_again ON tokenstore.guards (tenant, anchor_kind, anchor);
DROP INDEX tokenstore.guards_by_anchor;
ALTER INDEX tokenstore.guards_by_anchor_again RENAME TO guards_by_anchor;
