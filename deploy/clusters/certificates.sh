#!/usr/bin/env bash
# Make an authority and certificates signed by it, for a Dask cluster behind TLS:
#   deploy/clusters/certificates.sh FOLDER scheduler worker client
# FOLDER then has ca.pem, and NAME.pem and NAME.key of each. An authority that is there is
# used again, so names can be added. Keep ca.key away from the machines of the cluster:
# who has it lets anyone in.
set -euo pipefail
umask 077

folder=${1:?the folder to write into}
shift
mkdir -p "$folder"
cd "$folder"
new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

if [[ ! -e ca.key ]]; then
    openssl req -x509 "${new[@]}" -keyout ca.key -out ca.pem -days 1825 -subj "/CN=segpipe cluster CA" 2>/dev/null
fi
for name in "$@"; do
    openssl req "${new[@]}" -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" 2>/dev/null
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -out "$name.pem" 2>/dev/null
    rm "$name.csr"
done
