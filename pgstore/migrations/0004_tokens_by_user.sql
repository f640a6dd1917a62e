-- What looks a token up by its id must find its key, and nothing else that begins with the tenant and has the id: not even while the table is so
-- small that one index is as good as another. No token lacks a user, but only what asks for one may take this index. Calls that write wait
-- while it is made; those that read go on.
CREATE INDEX tokens_by_user_again ON tokenstore.tokens (tenant, user_id, id) WHERE user_id IS NOT NULL;
