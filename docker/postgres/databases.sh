#!/usr/bin/env bash
# Runs once, when the database is made: a role and a database for each service.
set -euo pipefail
for service in authz resource_api; do
  password=$(cat "/secrets/${service/_/-}.password")
  psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres <<SQL
CREATE ROLE $service LOGIN PASSWORD '$password';
CREATE DATABASE $service OWNER $service;
SQL
done
