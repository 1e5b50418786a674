"""Uploads a file with tuspy, through whatever breaks; prints the address of the upload.

tuspy.py ENDPOINT FILE
"""

import sys

from tusclient import client

endpoint, path = sys.argv[1:]
uploader = client.TusClient(endpoint).uploader(
    path,
    chunk_size=8 << 20,
    retries=200,
    retry_delay=0.2,
    metadata={"filename": "from tuspy.bin"},
)
uploader.upload()
print(uploader.url)
