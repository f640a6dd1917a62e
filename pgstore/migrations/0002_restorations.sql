-- The records of restorations, as a JSON list.
ALTER TABLE tokenstore.tenants ADD COLUMN restorations jsonb;
