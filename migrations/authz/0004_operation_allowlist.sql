-- Operations for which a partner's clients may issue user tokens. A partner without rows has the configured defaults.
CREATE TABLE operation_allowlist (
    partner_id     TEXT NOT NULL,
    method         TEXT NOT NULL,  -- upper case
    path_template  TEXT NOT NULL,  -- as in /v1/things/{id}
    scope          TEXT NOT NULL,  -- the scope that the issuing client's policy must hold
    PRIMARY KEY (partner_id, method, path_template)
);
