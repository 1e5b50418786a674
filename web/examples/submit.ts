// Uploads a file, encodes it with a preset, and keeps the result.
// node submit.js http://127.0.0.1:8000 holiday.mov holiday.mp4
// A hub with users wants an API key (kinora keys new), which is taken from KINORA_KEY.
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, reason, type Schema } from "../src/api/client.js";

const [hub, input, output] = process.argv.slice(2);
if (!hub || !input || !output) throw new Error("submit HUB INPUT OUTPUT");
const api = connect(hub, process.env["KINORA_KEY"]);

const form = new FormData();
form.append("file", new Blob([await readFile(input)]), basename(input));
const upload = await api.POST("/api/v1/media", {
  body: { file: basename(input) },
  bodySerializer: () => form,
});
if (!upload.data) throw new Error(reason(upload.error));

const submitted = await api.POST("/api/v1/jobs", {
  body: { source: { media: upload.data.id }, preset: "web", name: basename(input) },
});
if (!submitted.data) throw new Error(reason(submitted.error));

let job: Schema<"JobView"> = submitted.data;
while (!["Completed", "Failed", "Cancelled"].includes(job.phase)) {
  await sleep(500);
  const seen = await api.GET("/api/v1/jobs/{job}", { params: { path: { job: job.id } } });
  if (!seen.data) throw new Error(reason(seen.error));
  job = seen.data;
}
if (job.phase !== "Completed") throw new Error(job.failure?.message ?? job.phase);

const result = await api.GET("/api/v1/jobs/{job}/output", {
  params: { path: { job: job.id } },
  parseAs: "arrayBuffer",
});
if (!result.data) throw new Error(reason(result.error));
await writeFile(output, new Uint8Array(result.data));
