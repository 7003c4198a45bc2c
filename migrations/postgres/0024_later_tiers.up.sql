-- When a tenant's tier was last said, in Unix seconds: what a payment provider has said before that, and we hear after it, counts for nothing.
ALTER TABLE tenants ADD COLUMN tier_said_at bigint;
