// Uploads a file with tus-js-client, through whatever breaks; prints the address of the upload.
//
// node tus.mjs ENDPOINT FILE
import { createReadStream, statSync } from "node:fs";
import { Upload } from "tus-js-client";

const [endpoint, path] = process.argv.slice(2);
const upload = new Upload(createReadStream(path), {
  endpoint,
  uploadSize: statSync(path).size,
  retryDelays: Array(200).fill(200),
  metadata: { filename: "from tus-js-client.bin" },
  onError(error) {
    console.error(`${error}`);
    process.exit(1);
  },
  onSuccess() {
    console.log(upload.url);
  },
});
upload.start();
