#!/bin/sh
# Uploads a file, encodes it with a preset, and keeps the result, with curl:
# submit.sh http://127.0.0.1:8000 holiday.mov holiday.mp4
# A hub with users wants an API key (kinora keys new), which is taken from KINORA_KEY.
set -eu
hub=$1 input=$2 output=$3
ask() { curl -sS --fail-with-body ${KINORA_KEY:+-H "authorization: Bearer $KINORA_KEY"} "$@"; }
# The first value of a member of a JSON object.
member() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

media=$(ask -F "file=@$input" "$hub/api/v1/media" | member id)
job=$(ask -H 'content-type: application/json' "$hub/api/v1/jobs" \
    -d "{\"source\": {\"media\": \"$media\"}, \"preset\": \"web\"}" | member id)
while :; do
    phase=$(ask "$hub/api/v1/jobs/$job" | member phase)
    case $phase in
        Completed) break ;;
        Failed | Cancelled) echo "$phase" >&2; exit 1 ;;
    esac
    sleep 1
done
ask -o "$output" "$hub/api/v1/jobs/$job/output"
