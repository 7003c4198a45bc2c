-- From where a key may be shown: a list of networks. NULL: from anywhere.
ALTER TABLE api_keys ADD COLUMN allowed_networks jsonb;
