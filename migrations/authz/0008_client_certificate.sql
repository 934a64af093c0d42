-- The one name in a client's certificate, and whether its tokens are bound to it (RFC 8705 §2.1.2, §3).
ALTER TABLE client ADD COLUMN certificate_member TEXT;  -- tls_client_auth_subject_dn, _san_dns or _san_uri; NULL: none
ALTER TABLE client ADD COLUMN certificate_name TEXT;    -- the registered name
ALTER TABLE client ADD COLUMN certificate_bound BOOLEAN NOT NULL DEFAULT FALSE;
