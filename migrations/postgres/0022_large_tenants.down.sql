DROP TABLE usage_sums;
DO $$
DECLARE
    scope CONSTANT text := 'COALESCE(current_setting(''portcullis.tenant'', true), '''') IN ('''', tenant_id::text)';
    behind text;
BEGIN
    FOR behind IN
        SELECT c.relname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.relnamespace = current_schema()::regnamespace AND p.polname = 'of_tenant' AND c.relname <> 'integrations'
    LOOP
        EXECUTE format('ALTER POLICY of_tenant ON %I USING (%s)', behind, scope);
    END LOOP;
    ALTER POLICY of_tenant ON integrations
        USING (tenant_id IS NULL OR COALESCE(current_setting('portcullis.tenant', true), '') IN ('', tenant_id::text));
END
$$;
