DROP TABLE account_domains;
DROP TABLE domains;
DROP TABLE team_memberships;
DROP TABLE teams;
