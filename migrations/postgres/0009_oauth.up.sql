-- Subjects with whom people log in: the address that was said last, when the account's owner has agreed to the link (NULL: the account
-- was made for the subject, or is an issuer's or an old system's), and when somebody last logged in so.
ALTER TABLE external_identities ADD COLUMN email text;
ALTER TABLE external_identities ADD COLUMN consented_at timestamptz;
ALTER TABLE external_identities ADD COLUMN last_used_at timestamptz;
