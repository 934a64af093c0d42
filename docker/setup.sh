#!/usr/bin/env bash
# Makes once, in the folder $SECRETS, everything that compose.yaml must not bring along: master keys, passwords, the key
# of the client resource-api, an authority and its certificate, and the configuration files that name them.
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd)
secrets=${SECRETS:-/secrets}
[ ! -e "$secrets/done" ] || exit 0
mkdir -p "$secrets"
cd "$secrets"

b64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
for service in authz resource-api; do
  openssl rand 32 | b64url >"$service.master"
  openssl rand -hex 24 >"$service.password"
done
openssl rand -hex 24 >postgres.password

# An EC key: in DER (RFC 5915) the private number stands at 7, the public point's two numbers at 57 and 89.
openssl ecparam -name prime256v1 -genkey -noout -outform DER >client.der 2>/dev/null
number() { tail -c +$(($1 + 1)) client.der | head -c 32 | b64url; }
public=$(printf '"kty":"EC","crv":"P-256","x":"%s","y":"%s"' "$(number 57)" "$(number 89)")
printf '{%s,"d":"%s"}\n' "$public" "$(number 7)" >client.jwk
rm client.der

# An authority of our own; a real installation has certificates of a public one.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=Countersign compose authority" \
  -keyout ca.key -out ca.pem 2>/dev/null
names=DNS:auth.countersign.test,DNS:api.countersign.test,DNS:door.countersign.test,DNS:gateway.countersign.test
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=countersign.test" -keyout lb.key -out lb.csr 2>/dev/null
openssl x509 -req -in lb.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -extfile <(printf 'subjectAltName=%s\n' "$names") \
  -out lb.crt 2>/dev/null
cat lb.crt lb.key >lb.pem
rm lb.csr lb.crt lb.key ca.srl

fill() { sed -e "s|@AUTHZ_PASSWORD@|$(cat authz.password)|" -e "s|@RESOURCE_API_PASSWORD@|$(cat resource-api.password)|" \
  -e "s|@SECRETS@|$secrets|" -e "s|@X@|$(tail -n1 client.jwk | sed 's/.*"x":"\([^"]*\)".*/\1/')|" \
  -e "s|@Y@|$(tail -n1 client.jwk | sed 's/.*"y":"\([^"]*\)".*/\1/')|" "$1"; }
for file in authz.toml resource-api.toml platform.toml; do fill "$here/config/$file" >"$file"; done

# The services run as 10001, the load balancer as 99, the database as 999.
if [ "$(id -u)" = 0 ]; then
  chmod 755 .
  chmod 644 ca.pem
  chown 10001:10001 authz.* resource-api.* client.jwk platform.toml
  chown 99:99 lb.pem
  chown 999:999 ./*.password
fi
touch done
