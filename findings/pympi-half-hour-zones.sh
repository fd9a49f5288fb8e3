#!/usr/bin/env bash
# Which date pympi writes into a new ELAN document.
#
# Guess:     `Eaf()` stamps a new document with the local time and its zone as ISO 8601 has it: +05:30 in Kolkata.
# Behaviour: The minutes of the zone are its seconds past the hour: +05:1800 in Kolkata, +05:2700 in Kathmandu. Only zones
#            of whole hours come out right. Whoever writes ELAN files for others sets the date of the document himself.
# Versions:  pympi-ling 1.71, Python 3.11.
# Seen:      Asia/Kolkata +05:1800
#            Asia/Kathmandu +05:2700
#            a zone of one hour +01:00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pympi-ling==1.71
cd "$folder"
zone() { TZ="$1" venv/bin/python -c 'import pympi; print(pympi.Elan.Eaf().adocument["DATE"][19:])'; }
{
    echo "Asia/Kolkata $(zone Asia/Kolkata)"
    echo "Asia/Kathmandu $(zone Asia/Kathmandu)"
    echo "a zone of one hour $(zone XXX-1)"
} | tee output.txt
diff output.txt - <<'SEEN'
Asia/Kolkata +05:1800
Asia/Kathmandu +05:2700
a zone of one hour +01:00
SEEN
echo "as seen"
