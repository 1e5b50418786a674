#!/usr/bin/env python3
"""Uploads a file, encodes it with a preset, and keeps the result; nothing but Python is needed:
submit.py http://127.0.0.1:8000 holiday.mov holiday.mp4
A hub with users wants an API key (kinora keys new), which is taken from KINORA_KEY.
"""
import base64
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request

hub, source, result = sys.argv[1:]


def ask(path, body=None, **headers):
    """An answer of the hub; its reason where it refuses."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if key := os.environ.get("KINORA_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    try:
        return urllib.request.urlopen(urllib.request.Request(hub + path, body, headers))
    except urllib.error.HTTPError as error:
        sys.exit(json.load(error)["detail"])


# One request of tus 1.0. A client of that protocol (tuspy, for one) goes on with an upload that was broken off.
name = base64.b64encode(os.path.basename(source).encode()).decode()
with open(source, "rb") as file:
    length = str(os.path.getsize(source))
    upload = ask("/api/v1/uploads", file, Tus_Resumable="1.0.0", Upload_Length=length, Upload_Metadata=f"filename {name}",
                 Content_Type="application/offset+octet-stream", Content_Length=length)
media = upload.headers["X-Kinora-Media"]

new = {"source": {"media": media}, "preset": "web", "name": os.path.basename(result)}
job = json.load(ask("/api/v1/jobs", json.dumps(new).encode(), Content_Type="application/json"))
while job["phase"] not in ("Completed", "Failed", "Cancelled"):
    time.sleep(0.5)
    job = json.load(ask(f"/api/v1/jobs/{job['id']}"))
if job["phase"] != "Completed":
    sys.exit(job["failure"]["message"] if job["failure"] else job["phase"])
with ask(f"/api/v1/jobs/{job['id']}/output") as output, open(result, "wb") as file:
    shutil.copyfileobj(output, file)
