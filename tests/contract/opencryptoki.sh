#!/bin/sh
# Runs a command on a machine of its own as far as openCryptoki sees one, with a daemon and an empty token there.
#
# Usage: unshare --mount --ipc --pid --fork --mount-proc opencryptoki.sh LABEL PIN COMMAND…
# openCryptoki has one daemon, one socket and one place for tokens a machine. They are hidden by empty ones here, and the
# shared memory is this namespace's own; when the command ends, the daemon ends with the namespace.
set -eu

label=$1 pin=$2
shift 2

mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
mkdir -p /run/lock
mount -t tmpfs none /var/lib/opencryptoki
mount -t tmpfs none /etc/opencryptoki
cp "$(dirname "$0")/../../hsm-config/opencryptoki/opencryptoki.conf" /etc/opencryptoki
for folder in /var/lock/opencryptoki/swtok /var/lib/opencryptoki/swtok/TOK_OBJ; do
    mkdir -p "$folder"
done
chgrp -R pkcs11 /var/lock/opencryptoki /var/lib/opencryptoki
chmod -R 770 /var/lock/opencryptoki /var/lib/opencryptoki

pkcsslotd
while [ ! -S /run/pkcsslotd.socket ]; do
    sleep 0.01
done
{
    printf '87654321\n%s\n' "$label" | pkcsconf -c 3 -I
    pkcsconf -c 3 -P -S 87654321 -n 12345678
    pkcsconf -c 3 -u -S 12345678 -n 11111111
    pkcsconf -c 3 -p -U 11111111 -n "$pin"
} >/dev/null
exec "$@"
