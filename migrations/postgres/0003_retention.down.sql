DROP INDEX sessions_by_begin;
DROP INDEX sessions_by_end;
DROP INDEX refresh_tokens_by_expiry;
