-- The index that version 4 has made takes the place of the one before. All calls wait for a moment. One transaction for both would have them wait
-- for the whole time that the index takes, or want the table for itself while a call that has read it waits to write.
DROP INDEX tokenstore.tokens_by_user;
ALTER INDEX tokenstore.tokens_by_user_again RENAME TO tokens_by_user;
