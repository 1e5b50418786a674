#!/bin/sh
# Uploads a file, encodes it with a preset, and keeps the result, with curl:
# submit.sh http://127.0.0.1:8000 holiday.mov holiday.mp4
set -eu
hub=$1 input=$2 output=$3
# The first value of a member of a JSON object.
member() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

media=$(curl -sS --fail-with-body -F "file=@$input" "$hub/api/v1/media" | member id)
job=$(curl -sS --fail-with-body -H 'content-type: application/json' "$hub/api/v1/jobs" \
    -d "{\"source\": {\"media\": \"$media\"}, \"preset\": \"web\"}" | member id)
while :; do
    phase=$(curl -sS --fail-with-body "$hub/api/v1/jobs/$job" | member phase)
    case $phase in
        Completed) break ;;
        Failed | Cancelled) echo "$phase" >&2; exit 1 ;;
    esac
    sleep 1
done
curl -sS --fail-with-body -o "$output" "$hub/api/v1/jobs/$job/output"
